"""What the server says of itself, how far requests are, and what administrators do. Pure."""

from whisper_router.api import ui
from whisper_router.api.admin import DEFAULT_LINES, MOST_LINES
from whisper_router.api.openapi.parts import (
    EVENTS,
    EVENTS_TYPE,
    HTML_TYPE,
    JSON_TYPE,
    Json,
    Key,
    Operation,
    Paths,
    answer,
    array,
    boolean,
    header_ref,
    integer,
    json_answer,
    path_parameter,
    query,
    record,
    ref,
    text,
)
from whisper_router.api.recognise import DEFAULT_MODEL

METRICS_TYPE = "text/plain"
OPENMETRICS_TYPE = "application/openmetrics-text"
SERVER, REQUESTS, ADMINISTRATION = "Server", "Requests", "Administration"
ALIAS = "/v1/processes/{alias}"
NAMED = path_parameter("alias", "A model's name; it may hold slashes.", DEFAULT_MODEL)
ACTIONS = {
    "load": "Start an engine; answered when it serves",
    "unload": "End the engine's processes; answered when all memory is back",
    "pin": "Keep what is loaded although nobody uses it",
    "unpin": "Unload it when nobody uses it",
}
STARTING = frozenset({400, 404, 429, 502, 504})


def paths() -> Paths:
    """Return the operations."""
    return {
        **_server(),
        **_ui(),
        "/v1/progress/{id}": {"get": _progress().to_json()},
        "/v1/queue": {"get": _queue().to_json()},
        "/v1/processes": {"get": _processes().to_json()},
        ALIAS: {"get": _process().to_json()},
        f"{ALIAS}/logs": {"get": _logs().to_json()},
        **{f"{ALIAS}/{name}": {"post": _action(name).to_json()} for name in ACTIONS},
        f"{ALIAS}/pull": {"post": _pull().to_json()},
        "/metrics": {"get": _metrics().to_json()},
        "/v1/system": {"get": _system().to_json()},
        "/v1/system/doctor": {"post": _doctor().to_json()},
        "/v1/config": {"get": _config().to_json()},
        "/v1/config/reload": {"post": _reload().to_json()},
    }


def _server() -> Paths:
    every: list[tuple[str, Operation]] = [
        (
            "/",
            Operation(
                id="describe",
                summary="Name, version, base URL, endpoints",
                tag=SERVER,
                answers={200: json_answer("Description", "What this is.")},
                also_at=["/v1", "/v1/"],
            ),
        ),
        (
            "/health",
            Operation(
                id="health",
                summary="200 as long as the server lives",
                tag=SERVER,
                answers={200: json_answer("Health", "It lives.")},
                key=Key.NONE,
            ),
        ),
        (
            "/ready",
            Operation(
                id="ready",
                summary="200 when requests can be served, else 503 with the reasons",
                tag=SERVER,
                answers={200: json_answer("Ready", "They can.")},
                key=Key.NONE,
            ),
        ),
        (
            "/openapi.json",
            Operation(
                id="openapi",
                summary="This document",
                tag=SERVER,
                answers={200: answer("OpenAPI 3.1.", {JSON_TYPE: {"type": "object"}})},
                key=Key.NONE,
            ),
        ),
        (
            "/docs",
            Operation(
                id="docs",
                summary="This document as a page",
                tag=SERVER,
                answers={
                    200: answer(
                        "The page.",
                        {HTML_TYPE: {"type": "string"}},
                        {"Content-Security-Policy": header_ref("Content-Security-Policy")},
                    )
                },
                key=Key.NONE,
            ),
        ),
    ]
    return {path: {"get": operation.to_json()} for path, operation in every}


def _ui() -> Paths:
    policy = {"Content-Security-Policy": header_ref("Content-Security-Policy")}
    page = answer("The page.", {HTML_TYPE: {"type": "string"}}, policy)
    kinds = {kind.partition(";")[0]: {"type": "string"} for kind in ui.TYPES.values()}
    operations = {
        "/ui": Operation(
            id="page",
            summary="The page for people; browsers that ask for `/` are sent there, too",
            tag=SERVER,
            answers={302: answer("It is at `ui/`.", {})},
            key=Key.NONE,
        ),
        "/ui/": Operation(
            id="showPage",
            summary="The page itself",
            tag=SERVER,
            answers={200: page},
            key=Key.NONE,
        ),
        "/ui/{name}": Operation(
            id="showPageFile",
            summary="A file of the page",
            tag=SERVER,
            parameters=[path_parameter("name", "Its name.", ui.INDEX)],
            answers={200: answer("The file.", kinds, policy)},
            refusals=[404],
            key=Key.NONE,
        ),
    }
    return {path: {"get": operation.to_json()} for path, operation in operations.items()}


def _progress() -> Operation:
    return Operation(
        id="showProgress",
        summary="How far a request is",
        tag=REQUESTS,
        description="With `Accept: text/event-stream` as events until the request has ended. It "
        "can be asked for until a minute after that.",
        parameters=[path_parameter("id", "The id that the request was sent with.", "lecture-7")],
        answers={
            200: answer(
                "How far it is.",
                {JSON_TYPE: ref("Progress"), EVENTS_TYPE: EVENTS},
            )
        },
        refusals=[404],
    )


def _queue() -> Operation:
    return Operation(
        id="showQueue",
        summary="What waits for each model, in the order of the turns",
        tag=REQUESTS,
        answers={200: json_answer("Queues", "The queues, by alias.")},
        key=Key.ADMIN,
    )


def _processes() -> Operation:
    return Operation(
        id="listProcesses",
        summary="The engine processes of each model",
        tag=ADMINISTRATION,
        answers={
            200: json_answer(
                "ProcessPoolList", "The models of the configuration, and others that were used."
            )
        },
        key=Key.ADMIN,
    )


def _process() -> Operation:
    return Operation(
        id="showProcesses",
        summary="The engine processes of one model",
        tag=ADMINISTRATION,
        parameters=[NAMED],
        answers={200: json_answer("ProcessPool", "Its processes.")},
        refusals=[404],
        key=Key.ADMIN,
    )


def _action(name: str) -> Operation:
    forced = query("force", boolean("Interrupt running chunks, which run again.", default=False))
    return Operation(
        id=f"{name}Processes",
        summary=ACTIONS[name],
        tag=ADMINISTRATION,
        parameters=[NAMED, forced] if name == "unload" else [NAMED],
        answers={200: json_answer("ProcessPool", "Its processes.")},
        refusals=STARTING if name == "load" else {400, 404},
        key=Key.ADMIN,
    )


def _pull() -> Operation:
    pulled: Json = record(
        "The file is here.",
        {"id": text("The alias."), "downloaded": boolean("Whether it was fetched only now.")},
    )
    return Operation(
        id="pullModel",
        summary="Fetch the model's file; answered when it is here",
        tag=ADMINISTRATION,
        description="With `Accept: text/event-stream` as events: `progress` with "
        "`downloaded_bytes`, `total_bytes`, `bytes_per_second`, and at the end `done` or `error`. "
        "It goes on if the client leaves.",
        parameters=[NAMED],
        answers={200: answer("The file.", {JSON_TYPE: pulled, EVENTS_TYPE: EVENTS})},
        refusals=[404],
        key=Key.ADMIN,
    )


def _logs() -> Operation:
    lines = integer("How many lines of each process.", 0, MOST_LINES) | {"default": DEFAULT_LINES}
    return Operation(
        id="showLogs",
        summary="What an engine printed",
        tag=ADMINISTRATION,
        description="With `Accept: text/event-stream` as events, also of lines that come.",
        parameters=[NAMED, query("lines", lines)],
        answers={200: answer("The last lines.", {JSON_TYPE: ref("Lines"), EVENTS_TYPE: EVENTS})},
        refusals=[400, 404],
        key=Key.ADMIN,
    )


def _config() -> Operation:
    settings: Json = {"type": "object", "description": "As the configuration file has them."}
    return Operation(
        id="showConfig",
        summary="The settings in effect, without secrets",
        tag=ADMINISTRATION,
        answers={200: answer("The settings.", {JSON_TYPE: settings})},
        key=Key.ADMIN,
    )


def _system() -> Operation:
    told: Json = {"type": "object", "description": "As docs/api.md lists it."}
    return Operation(
        id="showSystem",
        summary="The machine, versions, disks, what engines compute on",
        tag=ADMINISTRATION,
        answers={200: answer("All of it.", {JSON_TYPE: told})},
        key=Key.ADMIN,
    )


def _doctor() -> Operation:
    return Operation(
        id="runDoctor",
        summary="Check the machine and the configuration; takes seconds",
        tag=ADMINISTRATION,
        description="What `whisper-router doctor` checks. With `Accept: text/event-stream` an "
        "event for each finding, then `done`.",
        answers={200: answer("What was found.", {JSON_TYPE: ref("Findings"), EVENTS_TYPE: EVENTS})},
        key=Key.ADMIN,
    )


def _metrics() -> Operation:
    figures: Json = {"type": "string", "description": "As docs/operations.md lists them."}
    return Operation(
        id="showMetrics",
        summary="Figures for Prometheus",
        tag=ADMINISTRATION,
        description="OpenMetrics for who accepts that; open to everybody with `metrics.open`.",
        answers={200: answer("All figures.", {METRICS_TYPE: figures, OPENMETRICS_TYPE: figures})},
        key=Key.ADMIN,
    )


def _reload() -> Operation:
    changes: Json = {
        "type": "object",
        "additionalProperties": array(text("A name."), "Names."),
    }
    return Operation(
        id="reloadConfig",
        summary="Read the configuration again",
        tag=ADMINISTRATION,
        description="As SIGHUP does. If the configuration is wrong that is told, and nothing "
        "changes. `warnings` are of certificates and key files that are wrong: those of before go "
        "on.",
        answers={200: answer("Aliases and sections that have changed.", {JSON_TYPE: changes})},
        refusals=[400],
        key=Key.ADMIN,
    )
