"""The engine program: `python -m whisper_router_engines.whispercpp.worker`.

It loads a model and serves it on a Unix socket. On the CPU of a Linux machine it forks its workers,
which share the weights; with a GPU, or elsewhere, a process that is to run several starts copies of
itself. It ends when its stdin does. With `--probe` it prints the devices it sees as JSON.
"""

import argparse
import json
import os
import socket
import sys
import threading
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import Any, NoReturn

from whisper_router.domain import DecodingOptions
from whisper_router_engines.whispercpp.audio_context import MARGIN
from whisper_router_engines.whispercpp.cores import physical_cores
from whisper_router_engines.whispercpp.crew import Crew
from whisper_router_engines.whispercpp.ends import Ends
from whisper_router_engines.whispercpp.ggml import ModelFileError, check_model_file
from whisper_router_engines.whispercpp.inference import ComputationError, Model, Setup
from whisper_router_engines.whispercpp.native import Device, Library
from whisper_router_engines.whispercpp.notes import described
from whisper_router_engines.whispercpp.prefork import (
    Accepted,
    CrashLoopError,
    Keeper,
    StartError,
    die_with_parent,
    fork_worker,
)
from whisper_router_engines.whispercpp.server import Server

BACKLOG = 128
MODULE = "whisper_router_engines.whispercpp.worker"


CANNOT_SERVE = 1
"""The exit code of a process that could not start; it has said why."""
BROKEN = 70
"""The exit code of a process that has served (`EX_SOFTWARE` of sysexits.h)."""


class Mode(Enum):
    """How one process runs its workers."""

    FORKS = "forks"
    COPIES = "copies"
    ALONE = "alone"


class DeviceError(Exception):
    """The acceleration that was asked for is not to be had here."""


def main(arguments: list[str] | None = None) -> int:
    """Run the program; return its exit code. Failures are one `error: ` line on stderr."""
    args = _parse(sys.argv[1:] if arguments is None else arguments)
    if args.probe:
        print(json.dumps(probe()))  # noqa: T201 the output of --probe
        return 0
    die_with_parent()
    try:
        _serve(args, json.loads(args.options))
    except (ModelFileError, DeviceError, CrashLoopError, OSError, MemoryError) as error:
        print(f"error: {error}", file=sys.stderr, flush=True)  # noqa: T201
        return CANNOT_SERVE
    except StartError:
        return CANNOT_SERVE
    return 0


def probe() -> dict[str, Any]:
    """Return what this build of whisper.cpp can use: version, features, GPUs, cores."""
    import _pywhispercpp as pw  # noqa: PLC0415

    library = Library()
    return {
        "whisper_cpp": library.version(),
        "system_info": pw.whisper_print_system_info().strip(" |"),
        "gpus": [asdict(device) for device in library.gpus()],
        "physical_cores": physical_cores(),
    }


def choose_device(devices: list[Device], *, acceleration: str, number: int) -> Device | None:
    """Return the GPU to compute on, or None for the CPU.

    Raises:
        DeviceError: a kind was asked for by name and is not here.
    """
    if acceleration == "none":
        return None
    wanted = [d for d in devices if acceleration in ("auto", d.kind)]
    if number < len(wanted):
        return wanted[number]
    if acceleration == "auto" and number == 0:
        return None
    seen = ", ".join(f"{d.kind} ({d.name}: {d.description})" for d in devices) or "only the CPU"
    raise DeviceError(
        f"acceleration = '{acceleration}' with gpu_device = {number} is not available: "
        f"this build of whisper.cpp sees {seen}"
    )


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--socket", type=Path)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--options", default="{}")
    parser.add_argument("--listen-fd", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--probe", action="store_true")
    args = parser.parse_args(arguments)
    if not args.probe and (args.model is None or args.socket is None):
        parser.error("--model and --socket are needed")
    return args


def _serve(args: argparse.Namespace, options: dict[str, Any]) -> None:
    check_model_file(args.model)  # first: this is what goes wrong most, and it takes no driver
    library = Library()
    gpus = library.gpus() if library.has_gpu_backend() else []
    device = choose_device(gpus, acceleration=options["acceleration"], number=options["gpu_device"])
    is_copy = args.listen_fd is not None
    match choose_mode(args.workers, device, platform=sys.platform, is_copy=is_copy):
        case Mode.COPIES:
            _keep_copies(args)
        case Mode.FORKS:
            _keep_forks(args, options)
        case Mode.ALONE:
            _serve_alone(args, options, device)


def choose_mode(workers: int, device: Device | None, *, platform: str, is_copy: bool) -> Mode:
    """Return how to run `workers`. A GPU's driver does not survive a fork, nor do macOS's own."""
    if is_copy:
        return Mode.ALONE
    if device is None and platform == "linux":
        return Mode.FORKS
    return Mode.COPIES if workers > 1 else Mode.ALONE


def _keep_forks(args: argparse.Namespace, options: dict[str, Any]) -> None:
    """Load once, then fork workers that share the weights."""
    is_shared = options["threads"] == 0 and args.workers > 1
    crew = Crew(cores=physical_cores()) if is_shared else None
    model = Model(args.model, _setup(options, None), crew)
    accepted = Accepted()
    with _listen(args.socket) as listener:
        server = Server(
            listener=listener,
            model=model,
            health=_health(model, options),
            on_accept=accepted.note,
            expendable=True,
        )
        start = lambda: fork_worker(server.serve)  # noqa: E731
        ends = Ends(args.socket)
        Keeper(count=args.workers, start=start, accepted=accepted, ends=ends).run()


def _keep_copies(args: argparse.Namespace) -> None:
    """Start one process for each worker: a GPU's driver does not survive a fork."""
    with _listen(args.socket) as listener:
        fd = listener.fileno()
        os.set_inheritable(fd, True)
        command = [sys.executable, "-P", "-m", MODULE, "--model", str(args.model)]
        command += ["--socket", str(args.socket), "--options", args.options]
        command += ["--listen-fd", str(fd)]
        stdin = (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)

        def start() -> int:
            return os.posix_spawn(command[0], command, os.environ, file_actions=[stdin])

        fatal, ends = frozenset({CANNOT_SERVE}), Ends(args.socket)
        Keeper(count=args.workers, start=start, accepted=Accepted(), ends=ends, fatal=fatal).run()


def _serve_alone(args: argparse.Namespace, options: dict[str, Any], device: Device | None) -> None:
    """Serve in this process; a thread ends it when stdin ends."""
    if args.listen_fd is None:
        threading.Thread(target=_exit_with_stdin, daemon=True).start()
    model = Model(args.model, _setup(options, device))
    if options["acceleration"] not in ("auto", "none", model.accelerator):
        raise DeviceError(f"acceleration = '{options['acceleration']}' could not be initialised")
    listener = (
        _listen(args.socket) if args.listen_fd is None else socket.socket(fileno=args.listen_fd)
    )
    with listener:
        server = Server(
            listener=listener,
            model=model,
            health=_health(model, options),
            on_accept=lambda: None,
            expendable=False,
        )
        _serve_until_broken(server)


def _serve_until_broken(server: Server) -> NoReturn:
    """End as a forked worker does, and not as a process that could not start."""
    try:
        server.serve()
    except (ComputationError, MemoryError) as error:
        print(f"worker: {described(error)}", file=sys.stderr, flush=True)  # noqa: T201
    os._exit(BROKEN)


def _setup(options: dict[str, Any], device: Device | None) -> Setup:
    defaults = {name: options[name] for name in DecodingOptions.__dataclass_fields__}
    return Setup(
        threads=options["threads"] or max(1, physical_cores() // options["workers"]),
        gpu_index=None if device is None else device.index,
        flash_attn=options["flash_attn"],
        dtw=options["dtw"],
        audio_ctx=options["audio_ctx"],
        live_margin=MARGIN if options["live_audio_ctx"] == "fitted" else None,
        max_context_tokens=options["max_context_tokens"],
        decoding=DecodingOptions(**defaults),
    )


def _health(model: Model, options: dict[str, Any]) -> dict[str, Any]:
    return {
        "accelerator": model.accelerator,
        "languages": list(model.languages),
        "details": {"acceleration_requested": options["acceleration"], **model.details},
    }


def _listen(path: Path) -> socket.socket:
    """Listen on a socket that only this user can connect to."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o077)
    try:
        listener.bind(str(path))
    finally:
        os.umask(before)
    listener.listen(BACKLOG)
    return listener


def _exit_with_stdin() -> None:
    while os.read(0, 4096):
        pass
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
