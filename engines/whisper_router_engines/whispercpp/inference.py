"""One loaded model and the run of one order on it. Blocking; speaks to whisper.cpp only."""

import os
import re
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import _pywhispercpp as pw
import numpy as np
from numpy.typing import NDArray

from whisper_router.domain import (
    SAMPLE_RATE_HZ,
    DecodingOptions,
    LanguageDetected,
    Segment,
    TokenLogprob,
)
from whisper_router.languages import LANGUAGES
from whisper_router_engines.whispercpp.audio_context import fitted, positions
from whisper_router_engines.whispercpp.crew import Crew
from whisper_router_engines.whispercpp.decoding import decoding_for
from whisper_router_engines.whispercpp.dtw import preset_for
from whisper_router_engines.whispercpp.ggml import ModelFileError, check_model_file
from whisper_router_engines.whispercpp.inputs import samples_of
from whisper_router_engines.whispercpp.native import Library, LogTap
from whisper_router_engines.whispercpp.numbers import compression_ratio, finite, logprob
from whisper_router_engines.whispercpp.protocol import (
    Order,
    OrderError,
    language_json,
    segment_json,
)
from whisper_router_engines.whispercpp.words import TimedToken, words_of

_FATAL = re.compile("failed to (?!initialize .* backend)|not all tensors|failed for")
"""Error lines after which whisper.cpp returns no context; a lost GPU is not among them."""
NUMERALS = ".*[0-9%$].*"
"""Tokens that are not chosen with `suppress_numerals`, as a regular expression of ECMAScript."""

Emit = Callable[[dict[str, Any]], None]


class ComputationError(Exception):
    """whisper.cpp gave up; its state must not be used again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """How to load a model and what to decode with when an order does not say.

    `live_margin` is how many positions are encoded after a window of a live session; None: all.
    """

    threads: int
    gpu_index: int | None
    flash_attn: bool
    dtw: str
    audio_ctx: int
    live_margin: int | None
    max_context_tokens: int
    decoding: DecodingOptions


class Model:
    """A loaded model. Loading prints nothing; `accelerator` is the one in effect.

    With a `crew` each run asks it for its threads; otherwise `setup.threads` are used.

    Raises:
        ModelFileError: the file cannot be loaded.
    """

    def __init__(self, path: Path, setup: Setup, crew: Crew | None = None) -> None:
        hparams = check_model_file(path)
        preset = preset_for(path, hparams, wanted=setup.dtw)
        self.setup = setup
        self._crew = crew
        self.log = LogTap()
        self.log.listen()
        self.context = pw.whisper_init_from_file_with_params(
            os.fspath(path), _context_params(setup, preset)
        )
        if any(_FATAL.search(line) for line in self.log.errors):
            raise ModelFileError(
                f"{path}: whisper.cpp cannot load it: {'; '.join(self.log.errors)}"
            )
        library = Library()
        self.no_speech_prob = library.no_speech_getter(self.context)
        self.clear_logits = library.logits_clearer(self.context)
        self.dtw_preset = preset
        self.multilingual = hparams.multilingual
        self.languages = tuple(LANGUAGES)[: hparams.n_languages]
        self.accelerator = self.log.backend or "cpu"
        self._n_audio_ctx = hparams.n_audio_ctx
        self.eot: int = pw.whisper_token_eot(self.context)
        self.first_timestamp: int = pw.whisper_token_beg(self.context)
        self.details = {
            "model_type": pw.whisper_model_type_readable(self.context),
            "multilingual": str(self.multilingual).lower(),
            "whisper_cpp": library.version(),
            "system_info": pw.whisper_print_system_info().strip(" |"),
            "threads": str(setup.threads),
            "dtw": preset or "off",
        }

    def close(self) -> None:
        """Give the memory back. A process that ends need not."""
        pw.whisper_free(self.context)
        self.log.close()

    def run(self, order: Order, emit: Emit, gone: list[bool]) -> None:
        """Carry out `order`; returns early, without an error, once `gone` has an item.

        Raises:
            OrderError: the order cannot be carried out with this model.
            ComputationError: whisper.cpp failed; see there.
            MemoryError: there was no memory.
        """
        language = self._checked_language(order)
        samples = samples_of(order)
        decoding = decoding_for(self.setup.decoding, order.decoding)
        run = Run(model=self, order=order, emit=emit, language=language, decoding=decoding)
        self.log.listen()
        self.log.errors = []
        with self._crew.at_work() if self._crew else nullcontext(self.setup.threads) as threads:
            code = run.compute(samples, gone, threads=threads)
        if run.error is not None:
            raise run.error
        if code != 0 and not gone:
            reasons = "; ".join(self.log.errors) or f"code {code}"
            if "alloc" in reasons:
                raise MemoryError(reasons)
            raise ComputationError(f"whisper.cpp failed: {reasons}")

    def audio_ctx(self, samples: int, *, live: bool) -> int:
        """Return how many positions to encode for so many samples; 0: all.

        With DTW all audio is encoded: whisper.cpp 1.8.5 ends the process where words lie beyond.
        """
        count, margin = self.setup.audio_ctx, self.setup.live_margin
        if live and margin is not None:
            most = count or self._n_audio_ctx
            count = fitted(samples, margin=margin, most=most) or count
        if count and self.dtw_preset is not None:
            count = min(max(count, positions(samples) + 1), self._n_audio_ctx)
        return count

    def _checked_language(self, order: Order) -> str | None:
        """Return the language to decode with; None: detect it."""
        if not self.multilingual:
            if order.language not in (None, "en"):
                raise _not_heard(order.language, "hears English only")
            if order.task == "translate":
                raise OrderError(
                    "this model hears English only and cannot translate",
                    param="model",
                )
            return "en"
        if order.language is not None and order.language not in self.languages:
            raise _not_heard(order.language, f"knows {len(self.languages)} languages")
        return order.language


@dataclass(slots=True, kw_only=True)
class Run:
    """The run of one order: what whisper.cpp's callbacks find and leave."""

    model: Model
    order: Order
    emit: Emit
    language: str | None
    decoding: DecodingOptions
    error: BaseException | None = None
    _announced: bool = False
    _sent: int = 0
    _was_detected: bool = False
    """The language was detected, and no window has been decoded since."""
    _is_first_of_window: bool = True
    _window_fallbacks: int = 0
    _seek_s: float = 0.0
    _last_end_s: float = 0.0
    _duration_s: float = field(default=0.0)

    def compute(self, samples: NDArray[np.float32], gone: list[bool], *, threads: int) -> int:
        """Run whisper.cpp over `samples`, emitting events; return its result code."""
        self._duration_s = (self.order.end - self.order.start) / SAMPLE_RATE_HZ
        self._was_detected = self.language is None
        if self.language is not None:
            self._announce(self.language, 1.0)
        self.model.log.on_language = self._announce
        audio_ctx = self.model.audio_ctx(len(samples), live=self.order.live)
        params = self._params(threads, audio_ctx)
        if self.language is None:
            self._set_audio_ctx(threads, audio_ctx)
        # A built-in called with a list costs no Python frame for each of the graph's nodes.
        params.set_abort_callback(bool)
        params.abort_callback_user_data = gone
        params.set_encoder_begin_callback(self._guarded(gone, self._begin_window))
        params.set_new_segment_callback(self._guarded(gone, self._flush))
        code: int = pw.whisper_full(self.model.context, params, samples, len(samples))
        if not gone and code == 0:
            self._flush()
        return code

    def _set_audio_ctx(self, threads: int, audio_ctx: int) -> None:
        """Have the language be found in as many positions as the words.

        whisper.cpp 1.8.5 takes a call's `audio_ctx` over only after that, so the language would be
        looked for in what the call before had. A call for 0.1 s of no audio computes nothing else.
        """
        params = self._params(threads, audio_ctx)
        params.language, params.duration_ms = "en", 100
        pw.whisper_full(self.model.context, params, np.zeros(0, np.float32), 0)

    def _params(self, threads: int, audio_ctx: int) -> Any:
        setup, decoding = self.model.setup, self.decoding
        beams = decoding.beam_size or 1
        strategy = pw.whisper_sampling_strategy(1 if beams > 1 else 0)
        params = pw.whisper_full_default_params(strategy)
        params.n_threads = threads
        params.n_max_text_ctx = setup.max_context_tokens
        params.audio_ctx = audio_ctx
        params.print_progress = False
        params.language = self.language or ""
        params.translate = self.order.task == "translate"
        params.token_timestamps = self.order.word_timestamps
        params.initial_prompt = self.order.prompt
        params.temperature = decoding.temperature
        params.temperature_inc = decoding.temperature_increment
        params.entropy_thold = decoding.entropy_threshold
        params.logprob_thold = decoding.logprob_threshold
        params.no_speech_thold = decoding.no_speech_threshold
        params.suppress_nst = decoding.suppress_nst
        if decoding.suppress_numerals:
            params.suppress_regex = NUMERALS
        params.greedy = {"best_of": decoding.best_of}
        params.beam_search = {"beam_size": beams, "patience": -1.0}
        return params

    def _guarded(self, gone: list[bool], act: Callable[[], None]) -> Callable[..., bool]:
        """Keep exceptions out of whisper.cpp's frames: note the first one and stop the run."""

        def callback(*_: object) -> bool:
            try:
                act()
            except BaseException as error:  # noqa: BLE001 raised again by Model.run
                self.error = self.error or error
                gone.append(True)
            return not gone

        return callback

    def _announce(self, code: str, probability: float) -> None:
        if not self._announced:
            self._announced = True
            self.language = code
            found = LanguageDetected(code=code, probability=finite(probability))
            self.emit(language_json(found))

    def _begin_window(self) -> None:
        """Before each window: send what the last one left, and count fallbacks from here."""
        self._flush()
        self._forget_logits()
        self._is_first_of_window = True
        self._window_fallbacks = self.model.log.fallbacks(self.model.context)

    def _forget_logits(self) -> None:
        """Have the no-speech probability depend on this run alone.

        Detecting the language leaves the logits that it is meant to come from: those after the
        first token. Otherwise there are none, and it says nothing.
        """
        was_detected, self._was_detected = self._was_detected, False
        if not was_detected and self.model.clear_logits is not None:
            self.model.clear_logits()

    def _flush(self) -> None:
        """Send the segments that are ready. The callback's own count is wrong with DTW."""
        context = self.model.context
        if not self._announced:
            code = pw.whisper_lang_str(pw.whisper_full_lang_id(context))
            self._announce(code, 0.0)
        for index in range(self._sent, pw.whisper_full_n_segments(context)):
            self._sent = index + 1
            segment = self._segment(index)
            if segment.text.strip():
                self.emit(segment_json(segment))

    def _segment(self, index: int) -> Segment:
        context = self.model.context
        raw: bytes = pw.whisper_full_get_segment_text(context, index)
        count = pw.whisper_full_n_tokens(context, index)
        tokens = [pw.whisper_full_get_token_data(context, index, at) for at in range(count)]
        start_s, end_s = self._span(index, tokens)
        text_tokens = [token for token in tokens if token.id < self.model.eot]
        plogs = [logprob(token.plog) for token in text_tokens]
        no_speech = self.model.no_speech_prob
        return Segment(
            start_s=start_s,
            end_s=end_s,
            text=raw.decode(errors="replace").rstrip(),
            tokens=tuple(token.id for token in tokens),
            words=self._words(text_tokens, start_s, end_s) if self.order.word_timestamps else (),
            logprobs=self._logprobs(text_tokens) if self.order.logprobs else (),
            seek_s=self._seek_s,
            temperature=self._temperature(),
            avg_logprob=sum(plogs) / len(plogs) if plogs else 0.0,
            compression_ratio=compression_ratio(raw),
            no_speech_prob=finite(no_speech(index)) if no_speech else 0.0,
        )

    def _span(self, index: int, tokens: list[Any]) -> tuple[float, float]:
        """Return (start, end) in the chunk, in order after the last segment; note `seek`."""
        context = self.model.context
        start_s = pw.whisper_full_get_segment_t0(context, index) / 100
        end_s = pw.whisper_full_get_segment_t1(context, index) / 100
        # Time stamp tokens count from the window's begin in steps of 20 ms.
        if tokens and tokens[-1].id >= self.model.first_timestamp:
            ticks = tokens[-1].id - self.model.first_timestamp
            self._seek_s = max(0.0, round(end_s - 0.02 * ticks, 2))
        elif self._is_first_of_window:
            self._seek_s = start_s
        self._is_first_of_window = False
        start_s = min(max(start_s, self._last_end_s), self._duration_s)
        end_s = min(max(end_s, start_s), self._duration_s)
        self._last_end_s = end_s
        return start_s, end_s

    def _temperature(self) -> float:
        """Return what the window was decoded with: one step up for each fallback in it."""
        begin, step = self.decoding.temperature or 0.0, self.decoding.temperature_increment or 0.0
        if step == 0.0:
            return begin
        steps = self.model.log.fallbacks(self.model.context) - self._window_fallbacks
        return round(begin + steps * step, 4)

    def _words(self, tokens: list[Any], start_s: float, end_s: float) -> Any:
        starts = [_token_start(token) for token in tokens]
        timed = [
            TimedToken(
                data=pw.whisper_token_to_bytes(self.model.context, token.id),
                start_s=starts[at],
                # With DTW a token lasts until the next one is spoken.
                end_s=token.t1 / 100 if token.t_dtw < 0 else [*starts, end_s][at + 1],
                logprob=logprob(token.plog),
            )
            for at, token in enumerate(tokens)
        ]
        return words_of(timed, language=self.language or "en", start_s=start_s, end_s=end_s)

    def _logprobs(self, tokens: list[Any]) -> tuple[TokenLogprob, ...]:
        data = [pw.whisper_token_to_bytes(self.model.context, token.id) for token in tokens]
        return tuple(
            TokenLogprob(token=raw.decode(errors="replace"), logprob=logprob(token.plog), data=raw)
            for token, raw in zip(tokens, data, strict=True)
        )


def _context_params(setup: Setup, preset: str | None) -> Any:
    params = pw.whisper_context_default_params()
    params.use_gpu = setup.gpu_index is not None
    params.gpu_device = setup.gpu_index or 0
    # Its rows are padded to 256, and nobody clears the padding: with an encoder of changing size
    # that is what somebody else has said.
    params.flash_attn = setup.flash_attn and preset is None and setup.live_margin is None
    if preset is not None:
        name = "WHISPER_AHEADS_" + preset.upper().replace(".", "_").replace("-", "_")
        params.dtw_token_timestamps = True
        params.dtw_aheads_preset = getattr(pw, name)
    return params


def _not_heard(language: str | None, instead: str) -> OrderError:
    return OrderError(f"this model {instead}, not '{language}'", param="language")


def _token_start(token: Any) -> float:
    ticks = token.t_dtw if token.t_dtw >= 0 else token.t0
    return float(ticks) / 100
