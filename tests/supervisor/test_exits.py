"""Ends of programs in words."""

import signal
from pathlib import Path

import pytest

from whisper_router.supervisor.exits import (
    describe_exit,
    missing_cpu_features,
    says_that_memory_ran_out,
)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (0, "exit code 0"),
        (3, "exit code 3"),
        (-signal.SIGSEGV, "killed by SIGSEGV"),
        (-signal.SIGBUS, "killed by SIGBUS"),
        (128 + signal.SIGABRT, "exit code 134 (SIGABRT in a wrapper)"),
        (255, "exit code 255"),
        (128, "exit code 128"),
    ],
)
def test_exits_are_named(code, text):
    """Codes, signals, and signals behind a shell."""
    assert describe_exit(code) == text


def test_an_illegal_instruction_names_what_the_cpu_lacks():
    """The reader learns which build to take instead."""
    text = describe_exit(-signal.SIGILL, missing={"fma", "avx2"})
    assert text.endswith("built for a CPU with more features (this one lacks avx2, fma)")
    assert describe_exit(-signal.SIGILL).endswith("with more features")


def test_missing_features_are_read_from_cpuinfo(tmp_path: Path):
    """Of the first processor's flags; nothing where there are none (ARM, macOS)."""
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nflags\t\t: fpu avx f16c\n\nprocessor\t: 1\nflags\t: avx2\n")
    assert missing_cpu_features(cpuinfo) == {"avx2", "fma", "bmi2"}
    cpuinfo.write_text("processor\t: 0\nFeatures\t: fp asimd\n")
    assert missing_cpu_features(cpuinfo) == frozenset()
    assert missing_cpu_features(tmp_path / "none") == frozenset()


@pytest.mark.parametrize(
    "line",
    [
        "ggml_aligned_malloc: insufficient memory (attempted to allocate  514.00 MB)",
        "ggml_backend_cuda_buffer_type_alloc_buffer: allocating 1000.00 MiB on device 0: "
        "cudaMalloc failed: out of memory",
        "ggml_vulkan: Device memory allocation failed: ErrorOutOfDeviceMemory",
        "whisper_model_load: failed to allocate memory for the model",
        "terminate called after throwing an instance of 'std::bad_alloc'",
        "MemoryError",
        "OSError: [Errno 12] Cannot allocate memory",
    ],
)
def test_want_of_memory_is_told_from_other_failures(line):
    """Whoever says it."""
    assert says_that_memory_ran_out(["something else", line])
    assert not says_that_memory_ran_out(["error: the model's file is broken", "memory: 5 GiB"])
