"""What is read beside pywhispercpp."""

import _pywhispercpp as pw
import pytest

from support.speech import DEMO_MODEL, floats, sample
from whisper_router_engines.whispercpp.native import Library, LogTap, device_kind


@pytest.mark.parametrize(
    ("name", "kind"),
    [("CUDA0", "cuda"), ("Vulkan1", "vulkan"), ("Metal", "metal"), ("MTL0", "metal")],
)
def test_devices_are_named_by_kind(name, kind):
    """ggml numbers them, and Metal has had two names."""
    assert device_kind(name) == kind


def test_the_cpu_is_no_gpu():
    """This machine's build has none."""
    library = Library()
    assert library.gpus() == []
    assert library.version().startswith("1.8")


def test_what_no_function_returns_is_read():
    """No-speech probability and fallbacks, from the same run."""
    tap = LogTap()
    tap.listen()
    try:
        context = pw.whisper_init_from_file_with_params(
            str(DEMO_MODEL), pw.whisper_context_default_params()
        )
        languages = []
        tap.on_language = lambda code, probability: languages.append((code, probability))
        params = pw.whisper_full_default_params(pw.whisper_sampling_strategy(0))
        params.print_progress = False
        params.language = ""
        samples = floats(sample("de_digits").path)
        assert pw.whisper_full(context, params, samples, len(samples)) == 0
        assert tap.fallbacks(context) == 0
        getter = Library().no_speech_getter(context)
        assert getter is not None
        assert 0.0 <= getter(0) < 0.01
        ((code, probability),) = languages
        assert code == "de"
        assert 0.9 < probability <= 1.0
        pw.whisper_free(context)
    finally:
        tap.close()


def test_a_failed_fallback_is_counted():
    """An impossible threshold makes every temperature but the last fail."""
    tap = LogTap()
    tap.listen()
    try:
        context = pw.whisper_init_from_file_with_params(
            str(DEMO_MODEL), pw.whisper_context_default_params()
        )
        params = pw.whisper_full_default_params(pw.whisper_sampling_strategy(0))
        params.print_progress = False
        params.logprob_thold = 1.0
        params.temperature_inc = 0.5
        samples = floats(sample("en_hello_gb").path)
        assert pw.whisper_full(context, params, samples, len(samples)) == 0
        assert tap.fallbacks(context) == 2
        pw.whisper_free(context)
    finally:
        tap.close()
