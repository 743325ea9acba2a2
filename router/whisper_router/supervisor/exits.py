"""Says in words how a program ended."""

import re
import signal
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Final

from whisper_router.engine_api import SHELL_SIGNAL_BASE

CPUINFO: Final = Path("/proc/cpuinfo")
BUILT_FOR: Final = ("avx", "avx2", "fma", "f16c", "bmi2")
"""What x86-64 builds of ggml use unless told otherwise (its GGML_AVX… build options)."""


WANT_OF_MEMORY: Final = re.compile(
    r"out.?of.?(device|host|video)?.?memory|(insufficient|not enough|cannot allocate) memory"
    r"|failed to (re)?allocate|bad_?alloc|MemoryError",
    re.IGNORECASE,
)
"""As ggml's back ends, CUDA (`CUDA error: out of memory`), Vulkan (`ErrorOutOfDeviceMemory`), C++
and Python say it."""


def describe_exit(code: int, *, missing: AbstractSet[str] = frozenset()) -> str:
    """Return `exit code 3`, `killed by SIGSEGV` and the like.

    Args:
        code: as of `subprocess`: negative when a signal ended the program.
        missing: CPU features that this machine lacks, told when the end was an illegal instruction.
    """
    number = -code if code < 0 else code - SHELL_SIGNAL_BASE
    name = signal_name(number)
    if name is None:
        return f"exit code {abs(code)}"
    text = f"killed by {name}" if code < 0 else f"exit code {code} ({name} in a wrapper)"
    if name == "SIGILL":
        lacks = ", ".join(sorted(missing))
        return f"{text}: it was built for a CPU with more features" + (
            f" (this one lacks {lacks})" if lacks else ""
        )
    return text


def signal_name(number: int) -> str | None:
    """Return `SIGSEGV` for 11, None when there is no such signal."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return None


def missing_cpu_features(cpuinfo: Path = CPUINFO) -> frozenset[str]:
    """Return which of `BUILT_FOR` this x86 CPU lacks; nothing where that cannot be read."""
    try:
        text = cpuinfo.read_text(errors="replace")
    except OSError:
        return frozenset()
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "flags":
            return frozenset(BUILT_FOR) - frozenset(value.split())
    return frozenset()


def says_that_memory_ran_out(lines: Iterable[str]) -> bool:
    """Tell whether a program's last words are about want of memory, here or on a GPU."""
    return any(WANT_OF_MEMORY.search(line) for line in lines)
