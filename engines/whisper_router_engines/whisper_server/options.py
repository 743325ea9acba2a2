"""What an alias may set for the whisper_server engine."""

from pydantic import Field, field_validator

from whisper_router_engines.whispercpp.options import DecodingDefaults

OWN_FLAGS = frozenset(
    [
        "-m",
        "--model",
        "--host",
        "--port",
        "--public",
        "--request-path",
        "--inference-path",
        "--convert",
        "--tmp-dir",
        "-l",
        "--language",
        "-dl",
        "--detect-language",
        "-tr",
        "--translate",
        "-nt",
        "--no-timestamps",
        "-ml",
        "--max-len",
        "-sow",
        "--split-on-word",
        "-di",
        "--diarize",
        "-tdrz",
        "--tinydiarize",
        "-p",
        "--processors",
        "-ot",
        "--offset-t",
        "-on",
        "--offset-n",
        "-d",
        "--duration",
        "-pr",
        "--print-realtime",
        "-ps",
        "--print-special",
        "-pc",
        "--print-colors",
        "--vad",
        "-t",
        "--threads",
        "-bs",
        "--beam-size",
        "-bo",
        "--best-of",
        "-ac",
        "--audio-ctx",
        "-mc",
        "--max-context",
        "-et",
        "--entropy-thold",
        "-lpt",
        "--logprob-thold",
        "-nth",
        "--no-speech-thold",
        "-sns",
        "--suppress-nst",
        "-ng",
        "--no-gpu",
        "-dev",
        "--device",
        "-fa",
        "--flash-attn",
        "-nfa",
        "--no-flash-attn",
        "-h",
        "--help",
    ]
)
"""Flags that we set ourselves, or that would change what the answers mean."""


class WhisperServerOptions(DecodingDefaults):
    """Per-alias options."""

    binary: str = Field(
        "whisper-server", min_length=1, description="The program: a name on PATH, or a path."
    )
    workers: int = Field(
        1, ge=1, le=64, description="How many processes to run, each with weights of its own."
    )
    threads: int = Field(
        0,
        ge=0,
        le=256,
        description="Threads of one process; 0: the physical cores divided by `workers`.",
    )
    gpu: bool = Field(True, description="Compute on a GPU if the program is built for one.")
    extra_args: tuple[str, ...] = Field(
        (), description="More arguments for the program, in its own spelling."
    )

    @field_validator("extra_args")
    @classmethod
    def _none_of_ours(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if taken := [argument for argument in value if argument in OWN_FLAGS]:
            raise ValueError(f"{', '.join(taken)}: set by the engine itself, or by its options")
        return value
