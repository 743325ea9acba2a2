"""What pywhispercpp does not pass on, read from the libraries that it loads.

Functions are found through the extension module itself: its symbols include those of the libraries
it is linked with. Only functions with plain arguments are called, so no structure layout of
whisper.cpp is repeated here.
"""

import ctypes
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import _pywhispercpp as pw

LOG_ERROR = 4
"""`GGML_LOG_LEVEL_ERROR`."""

_CONTEXT_BASICSIZE = 56
"""Bytes of a pybind11 object with a simple holder on a 64-bit machine: header, value pointer, two
words of holder, weak references, flags. Another size means another layout."""

_KINDS = (("cuda", "CUDA"), ("vulkan", "Vulkan"), ("metal", "Metal"), ("metal", "MTL"))
_LOG_CALLBACK = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)

_GPU_TYPES = (1, 2)  # GGML_BACKEND_DEVICE_TYPE_GPU, _IGPU

_LANGUAGE = re.compile(r"auto-detected language: (\w+) \(p = ([0-9.]+)\)")
_FALLBACKS = re.compile(r"fallbacks = +(\d+) p")
_BACKEND = re.compile(r"whisper_backend_init_gpu: using (\S+) backend")
_NO_BACKEND = "whisper_backend_init_gpu: failed to initialize"


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A GPU that ggml sees. `index` counts GPUs of any kind, as whisper.cpp does."""

    index: int
    name: str
    description: str
    kind: str


def device_kind(name: str) -> str:
    """Return `cuda`, `vulkan`, `metal`, or ggml's own name in lower case."""
    return next((kind for kind, prefix in _KINDS if name.startswith(prefix)), name.lower())


class Library:
    """The C functions we call beside pywhispercpp's."""

    def __init__(self) -> None:
        self._lib = ctypes.CDLL(pw.__file__)

    def gpus(self) -> list[Device]:
        """Return the GPUs that this build of ggml can use. Loads their drivers."""
        count = self._function("ggml_backend_dev_count", ctypes.c_size_t)
        get = self._function("ggml_backend_dev_get", ctypes.c_void_p, ctypes.c_size_t)
        kind = self._function("ggml_backend_dev_type", ctypes.c_int, ctypes.c_void_p)
        name = self._function("ggml_backend_dev_name", ctypes.c_char_p, ctypes.c_void_p)
        about = self._function("ggml_backend_dev_description", ctypes.c_char_p, ctypes.c_void_p)
        found = [dev for dev in map(get, range(count())) if kind(dev) in _GPU_TYPES]
        return [
            Device(
                index=index,
                name=name(dev).decode(),
                description=about(dev).decode(errors="replace"),
                kind=device_kind(name(dev).decode()),
            )
            for index, dev in enumerate(found)
        ]

    def has_gpu_backend(self) -> bool:
        """Whether this build could use a GPU at all. Loads no driver."""
        names = ("ggml_backend_cuda_reg", "ggml_backend_vk_reg", "ggml_backend_metal_reg")
        return any(hasattr(self._lib, name) for name in names)

    def version(self) -> str:
        """Return whisper.cpp's version."""
        version: bytes = self._function("whisper_version", ctypes.c_char_p)()
        return version.decode()

    def no_speech_getter(self, context: Any) -> Callable[[int], float] | None:
        """Return a function segment index → no-speech probability of its window, or None.

        pywhispercpp 1.5 does not wrap `whisper_full_get_segment_no_speech_prob`.
        """
        pointer = _pointer(context)
        getter = self._function(
            "whisper_full_get_segment_no_speech_prob",
            ctypes.c_float,
            ctypes.c_void_p,
            ctypes.c_int,
        )
        return (lambda index: float(getter(pointer, index))) if pointer else None

    def logits_clearer(self, context: Any) -> Callable[[], None] | None:
        """Return a function that sets the first row of the decoder's logits to 0, or None.

        whisper.cpp 1.8.5 takes the no-speech probability from the first row after it has decoded
        the prompt (`whisper_full_with_state`), of which only the last row is written: what is there
        is left from what was decoded before, also for another request.
        """
        pointer = _pointer(context)
        get = self._function("whisper_get_logits", ctypes.c_void_p, ctypes.c_void_p)
        row_bytes = ctypes.sizeof(ctypes.c_float) * pw.whisper_n_vocab(context)
        if not pointer or not get(pointer):
            return None

        def clear() -> None:  # the memory of all rows is reserved when the state is made
            ctypes.memset(get(pointer), 0, row_bytes)

        return clear

    def _function(self, name: str, result: Any, *arguments: Any) -> Any:
        function = self._lib[name]  # indexing makes a new object: no shared prototype is changed
        function.restype, function.argtypes = result, arguments
        return function


def _pointer(context: Any) -> int | None:
    """Return the `whisper_context *` in a wrapper: the first word of the value that it holds."""
    if type(context).__basicsize__ != _CONTEXT_BASICSIZE:
        return None
    holder = ctypes.c_void_p.from_address(id(context) + object.__basicsize__).value
    return ctypes.c_void_p.from_address(holder).value if holder else None


class LogTap:
    """Listens to whisper.cpp's log, where it says some things that no function returns."""

    def __init__(self) -> None:
        self.errors: list[str] = []
        """The last lines of level error."""
        self.backend: str | None = None
        self.on_language: Callable[[str, float], None] = lambda _code, _probability: None
        self._fallbacks = 0
        # pywhispercpp keeps its callback in a C++ static, whose destructor crashes at exit.
        self._callback = _LOG_CALLBACK(self._line)
        self._set = ctypes.CDLL(pw.__file__)["whisper_log_set"]
        self._set.argtypes = (ctypes.c_void_p, ctypes.c_void_p)

    def listen(self) -> None:
        """Become the one listener of this process's whisper.cpp."""
        self._set(ctypes.cast(self._callback, ctypes.c_void_p), None)

    def close(self) -> None:
        """Let whisper.cpp log to stderr again."""
        self._set(None, None)

    def fallbacks(self, context: Any) -> int:
        """Return how often decoding has fallen back to a higher temperature in this context."""
        pw.whisper_print_timings(context)
        return self._fallbacks

    def _line(self, level: int, data: bytes, _user_data: object) -> None:
        text = data.decode(errors="replace")
        if level == LOG_ERROR:
            self.errors = [*self.errors[-19:], text.strip()]
            if text.startswith(_NO_BACKEND):
                self.backend = None
        elif found := _FALLBACKS.search(text):
            self._fallbacks = int(found[1])
        elif found := _LANGUAGE.search(text):
            self.on_language(found[1], float(found[2]))
        elif found := _BACKEND.search(text):
            self.backend = device_kind(found[1])
