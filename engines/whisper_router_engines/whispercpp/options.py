"""What an alias may set for the whispercpp engine."""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field, field_validator

from whisper_router_engines.whispercpp.protocol import MAX_DECODERS, MIN_INCREMENT


class Acceleration(StrEnum):
    """Which kind of device computes. A named one that is not there is a start error."""

    AUTO = "auto"
    METAL = "metal"
    CUDA = "cuda"
    VULKAN = "vulkan"
    NONE = "none"


class DtwPreset(StrEnum):
    """Which attention heads time the words; `auto` goes by the model's file name."""

    OFF = "off"
    AUTO = "auto"
    TINY_EN = "tiny.en"
    TINY = "tiny"
    BASE_EN = "base.en"
    BASE = "base"
    SMALL_EN = "small.en"
    SMALL = "small"
    MEDIUM_EN = "medium.en"
    MEDIUM = "medium"
    LARGE_V1 = "large-v1"
    LARGE_V2 = "large-v2"
    LARGE_V3 = "large-v3"
    LARGE_V3_TURBO = "large-v3-turbo"


class LiveAudioContext(StrEnum):
    """How much the encoder computes for a window of a live session."""

    FULL = "full"
    FITTED = "fitted"


class DecodingDefaults(BaseModel):
    """What any whisper.cpp may be set to. The defaults are those of whisper.cpp 1.8.5."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    gpu_device: int = Field(
        0, ge=0, le=63, description="Which device of that kind, counted from 0."
    )
    flash_attn: bool = Field(True, description="Flash attention.")
    audio_ctx: int = Field(
        0,
        ge=0,
        le=1500,
        description="Encoder frames of 20 ms to compute; 0: all. Fewer is faster and less exact.",
    )
    beam_size: int = Field(
        1, ge=1, le=MAX_DECODERS, description="Beams at temperature 0; 1: greedy."
    )
    best_of: int = Field(
        5, ge=1, le=MAX_DECODERS, description="Candidates at temperatures above 0."
    )
    entropy_threshold: float = Field(
        2.4, description="A decode with less entropy than this repeats itself and has failed."
    )
    logprob_threshold: float = Field(
        -1.0, description="A decode with a lower mean log probability has failed."
    )
    no_speech_threshold: float = Field(
        0.6,
        ge=0.0,
        le=1.0,
        description="A failed window with a higher no-speech probability is silence.",
    )
    suppress_nst: bool = Field(False, description="Never emit non-speech tokens (♪, brackets).")
    suppress_numerals: bool = Field(
        False,
        description="Write numbers as words: tokens with digits are not chosen. Takes time for "
        "each token.",
    )
    max_context_tokens: int = Field(
        224,
        ge=0,
        le=224,
        description="Tokens of prompt and earlier text before each window; 0: neither is used.",
    )


class WhisperCppOptions(DecodingDefaults):
    """Per-alias options."""

    workers: int = Field(
        1, ge=1, le=64, description="How many chunks are decoded at the same time."
    )
    threads: int = Field(
        0,
        ge=0,
        le=256,
        description="Threads of one worker; 0: the physical cores, shared by workers that compute.",
    )
    acceleration: Acceleration = Field(
        Acceleration.AUTO,
        description="The device that computes; `auto` falls back to the CPU, `none` is the CPU.",
    )
    dtw: DtwPreset = Field(
        DtwPreset.OFF,
        description="Time words by dynamic time warping with this preset of attention heads; turns "
        "flash attention off.",
    )
    live_audio_ctx: LiveAudioContext = Field(
        LiveAudioContext.FULL,
        description="Encoder frames for a window of a live session: `full` is `audio_ctx`; "
        "`fitted` is the window's length and a margin: faster. It turns flash attention off.",
    )
    temperature: float = Field(0.0, ge=0.0, le=1.0, description="Sampling temperature to begin at.")
    temperature_increment: float = Field(
        0.2,
        ge=0.0,
        le=1.0,
        description="Step to the next temperature when a decode fails; 0: no fallback.",
    )

    @field_validator("temperature_increment")
    @classmethod
    def _no_tiny_step(cls, value: float) -> float:
        if 0.0 < value < MIN_INCREMENT:
            raise ValueError(f"must be 0 or at least {MIN_INCREMENT}")
        return value
