"""Arguments → settings → one command. Exit codes: 0 done, 1 failed, 2 wrong usage or configuration.

130 interrupted, 141 nobody reads the output (as a shell reports SIGINT and SIGPIPE).

Commands import what they need when they run: `serve` must listen within a second, and a Ctrl-C
must find `main` at work.
"""

from __future__ import annotations

import argparse
import errno
import os
import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from whisper_router.errors import ConfigurationError, RouterError
from whisper_router.init import fork_server

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from whisper_router.settings import Settings

FAILED, WRONG_USAGE, INTERRUPTED, UNREAD = 1, 2, 130, 141


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    _open_standard_streams()
    arguments = _parser().parse_args(argv)
    try:
        code = int(arguments.run(arguments))
        sys.stdout.flush()
        _give_up_unread_log()
    except BrokenPipeError:
        _send_to_nowhere(1)
        return UNREAD
    except KeyboardInterrupt:
        return INTERRUPTED
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        print(f"whisper-router: {error.strerror}", file=sys.stderr)
        _send_to_nowhere(1)
        return FAILED
    except ConfigurationError as error:
        print(f"whisper-router: {error}", file=sys.stderr)
        return WRONG_USAGE
    except RouterError as error:
        print(f"whisper-router: {error}", file=sys.stderr)
        return FAILED
    return code


def _give_up_unread_log() -> None:
    """Lose what stderr does not take: the interpreter would end with 120 for it."""
    try:
        sys.stderr.flush()
    except OSError:
        _send_to_nowhere(2)


def _send_to_nowhere(number: int) -> None:
    """Let the stream take what it still holds: the interpreter will flush it once more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), number)


def _open_standard_streams() -> None:
    """Open what the caller has closed: no socket of ours may get the number of stdout."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
            if number:
                setattr(sys, name, os.fdopen(number, "w", encoding="utf-8", closefd=False))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="whisper-router",
        description="Speech recognition on your own machines, through the OpenAI audio API.",
    )
    parser.add_argument("--version", action="version", version=version("whisper-router"))
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_serve(commands)
    _add_transcribe(commands)
    _add_listen(commands)
    _add_bench(commands)
    _add_models(commands)
    _add_keys(commands)
    _add_config(commands)
    for name, text, run in (
        ("doctor", "check this machine and the configuration, with a self-test", _doctor),
        ("demo", "recognise the bundled samples through the whole stack", _demo),
    ):
        command = _command(commands, name, text)
        command.set_defaults(run=run)
    return parser


Subparsers = Any  # argparse names this type only privately


def _command(commands: Subparsers, name: str, text: str) -> argparse.ArgumentParser:
    command = cast(argparse.ArgumentParser, commands.add_parser(name, help=text, description=text))
    command.add_argument("--config", type=Path, metavar="FILE", help="configuration file (TOML)")
    return command


def _add_serve(commands: Subparsers) -> None:
    serve = _command(commands, "serve", "run the server")
    serve.add_argument("--host", help="address to listen on (server.host)")
    serve.add_argument("--port", type=int, help="TCP port, 0 for a free one (server.port)")
    serve.add_argument("--log-level", choices=("debug", "info", "warning", "error"))
    serve.set_defaults(run=_serve)


def _add_transcribe(commands: Subparsers) -> None:
    transcribe = _command(commands, "transcribe", "transcribe files and directories")
    add = transcribe.add_argument
    add("paths", nargs="+", type=Path, metavar="FILE", help="audio or video file, or directory")
    add("--model", default="whisper-1", help="model alias (default: whisper-1)")
    add("--language", help="language code or name (default: detected)")
    add("--prompt", default="", help="text that sets style and spelling")
    add("--translate", action="store_true", help="translate to English")
    add("--words", action="store_true", help="time stamps per word (verbose_json)")
    add(
        "--format",
        default="text",
        choices=("text", "json", "verbose_json", "srt", "vtt", "tsv", "lrc"),
        help="format of the result (default: text)",
    )
    add("--output-dir", type=Path, help="write one file per input here instead of printing")
    add("--url", help="use this server (http://HOST:8000/v1) instead of engines of our own")
    add("--api-key", help="key for --url (default: $API_KEY or $OPENAI_API_KEY)")
    transcribe.set_defaults(run=_transcribe)


def _add_listen(commands: Subparsers) -> None:
    listen = _command(commands, "listen", "send audio to a server as it is spoken, print the text")
    add = listen.add_argument
    add("path", metavar="FILE", help="WAV or raw 16 kHz mono s16le; - is standard input")
    add("--url", help="the server (default: the one of the configuration, on this machine)")
    add("--api-key", help="key for the server (default: $API_KEY or $OPENAI_API_KEY)")
    add("--model", default="whisper-1", help="model alias (default: whisper-1)")
    add("--language", help="language code or name (default: detected)")
    add("--prompt", default="", help="text that sets style and spelling")
    add("--json", action="store_true", help="print what the server sends, a line each")
    listen.set_defaults(run=_listen)


def _add_bench(commands: Subparsers) -> None:
    from whisper_router.commands.bench_order import add_arguments

    bench = _command(commands, "bench", "measure a server under load: latencies, speed, errors")
    add_arguments(bench)
    bench.set_defaults(run=_bench)


def _add_models(commands: Subparsers) -> None:
    models = _command(commands, "models", "list, fetch and remove model files")
    actions = models.add_subparsers(required=True, metavar="ACTION")
    for action, text in (
        ("list", "show every model and whether it is here"),
        ("pull", "fetch models"),
        ("rm", "delete the files of models"),
    ):
        command = _command(actions, action, text)
        if action != "list":
            command.add_argument("names", nargs="+", metavar="NAME")
        command.set_defaults(run=_models, action=action)


def _add_keys(commands: Subparsers) -> None:
    keys = _command(commands, "keys", "make, list, change and revoke API keys")
    actions = keys.add_subparsers(required=True, metavar="ACTION")
    for action, text in (
        ("new", "make a key and print it once"),
        ("list", "show all keys and what they may do"),
        ("set", "change what a key may do"),
        ("revoke", "delete a key"),
    ):
        command = _command(actions, action, text)
        if action == "list":
            command.add_argument("--json", action="store_true", help="as JSON, for programs")
        else:
            command.add_argument("name", metavar="NAME")
        if action in {"new", "set"}:
            _add_rights(command)
        if action == "set":
            is_disabled = command.add_mutually_exclusive_group()
            for flag, constant in (("--disable", True), ("--enable", False)):
                is_disabled.add_argument(
                    flag, dest="disabled", action="store_const", const=constant, default=None
                )
        command.add_argument("--keys-file", type=Path, help="instead of auth.keys_file")
        command.set_defaults(run=_keys, action=action)


def _add_rights(command: argparse.ArgumentParser) -> None:
    for flag, metavar, text in (
        ("scopes", "A,B", "transcribe, live, jobs, admin, metrics (none: the first three)"),
        ("models", "A,B", "the only models that it may use (none: all)"),
        ("requests-per-minute", "N", "most requests in any minute (none: any number)"),
        ("concurrent-requests", "N", "most requests and live sessions at a time (none)"),
        ("audio-minutes-per-day", "N", "most audio in a day of UTC (none)"),
        (
            "expires",
            "WHEN",
            "2027-01-01, 2027-01-01T12:00Z, or from now: 30d, 12h, 8w (none: never)",
        ),
        ("weight", "N", "its share of busy workers, against 1 of others"),
    ):
        command.add_argument(f"--{flag}", metavar=metavar, help=text)
    command.add_argument(
        "--admin", action=argparse.BooleanOptionalAction, help="it may do everything"
    )


def _add_config(commands: Subparsers) -> None:
    config = _command(commands, "config", "check or show the configuration")
    actions = config.add_subparsers(required=True, metavar="ACTION")
    for action, text in (
        ("check", "say what is wrong with the configuration"),
        ("show", "print what is in effect, secrets hidden"),
    ):
        command = _command(actions, action, text)
        command.set_defaults(run=_config, action=action)


def _settings(arguments: argparse.Namespace, flags: dict[str, Any] | None = None) -> Settings:
    from whisper_router.settings_sources import find_config, load_settings

    return load_settings(find_config(arguments.config, os.environ), flags)


def _run(command: Coroutine[Any, Any, int]) -> int:
    import uvloop

    return uvloop.run(command)


def _serve(arguments: argparse.Namespace) -> int:
    if os.getpid() == 1 and (code := fork_server()) is not None:
        return code
    flags = {key: getattr(arguments, key) for key in ("host", "port", "log_level")}
    given = {key: value for key, value in flags.items() if value is not None}

    def load() -> Settings:
        return _settings(arguments, {"server": given} if given else None)

    settings = load()
    from whisper_router.serve import serve

    return _run(serve(settings, load))


def _transcribe(arguments: argparse.Namespace) -> int:
    from whisper_router.commands import transcribe

    return _run(transcribe.transcribe(_settings(arguments), transcribe.order(arguments)))


def _listen(arguments: argparse.Namespace) -> int:
    from whisper_router.commands import listen
    from whisper_router.commands.own_server import own_certificate, own_url

    key = arguments.api_key or os.environ.get("API_KEY") or os.environ.get("OPENAI_API_KEY")
    settings = _settings(arguments)
    order = listen.ListenOrder(
        path=None if arguments.path == "-" else Path(arguments.path),
        url=arguments.url or own_url(settings),
        certificate=None if arguments.url else own_certificate(settings),
        api_key=key,
        model=arguments.model,
        language=arguments.language,
        prompt=arguments.prompt,
        as_json=arguments.json,
    )
    return _run(listen.listen(order))


def _bench(arguments: argparse.Namespace) -> int:
    from whisper_router.commands import bench, bench_order
    from whisper_router.commands.own_server import own_certificate, own_url

    settings = _settings(arguments)
    url = arguments.url or own_url(settings)
    certificate = None if arguments.url else own_certificate(settings)
    return _run(bench.bench(bench_order.order(arguments, url=url, certificate=certificate)))


def _models(arguments: argparse.Namespace) -> int:
    from whisper_router.commands import model_files

    names = getattr(arguments, "names", [])
    return _run(model_files.run(_settings(arguments), arguments.action, names))


def _keys(arguments: argparse.Namespace) -> int:
    from dataclasses import fields

    from whisper_router.commands import keys
    from whisper_router.commands.key_options import KeyOptions

    path = arguments.keys_file or _settings(arguments).auth.keys_file
    if path is None:
        raise ConfigurationError("name a file: --keys-file FILE, or auth.keys_file")
    if arguments.action == "list":
        return keys.list_keys(path, as_json=arguments.json)
    if arguments.action == "revoke":
        return keys.revoke(path, arguments.name)
    given = {item.name: getattr(arguments, item.name, None) for item in fields(KeyOptions)}
    options = KeyOptions(**given)
    if arguments.action == "set":
        return keys.change(path, arguments.name, options)
    return keys.new(path, arguments.name, options)


def _config(arguments: argparse.Namespace) -> int:
    from whisper_router.commands import config

    return (
        config.check(_settings(arguments))
        if arguments.action == "check"
        else config.show(_settings(arguments))
    )


def _doctor(arguments: argparse.Namespace) -> int:
    from whisper_router.commands import doctor

    return _run(doctor.doctor(_settings(arguments)))


def _demo(arguments: argparse.Namespace) -> int:
    del arguments  # the demo shows the same thing whatever is configured
    import asyncio

    from whisper_router.commands import demo

    return asyncio.run(demo.demo())


if __name__ == "__main__":
    sys.exit(main())
