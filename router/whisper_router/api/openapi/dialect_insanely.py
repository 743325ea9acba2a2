"""The part for insanely-fast-whisper-api's API. Pure."""

from collections.abc import Sequence

from whisper_router.api.deps import DialectOptions
from whisper_router.api.dialects.insanely_fast_whisper import Timestamp
from whisper_router.api.openapi import audio, form
from whisper_router.api.openapi.parts import (
    JSON_TYPE,
    DialectPart,
    FormField,
    Json,
    Operation,
    answer,
    array,
    boolean,
    json_answer,
    number,
    one_of,
    path_parameter,
    record,
    ref,
    text,
)
from whisper_router.domain import Task

TAG = "insanely-fast-whisper-api"
NAMED = path_parameter("id", "The task's id.", "0b8f0e9c-5d1e-4c63-9df1-0d6a7ad1c2b7")
TAKEN = (
    "model",
    "batch_size",
    "diarize",
    "diarization",
    "min_speakers",
    "max_speakers",
    "num_speakers",
    "prompt",
    "hotwords",
    "temperature",
)
"""Fields of our form that have a use here."""


def part(_options: DialectOptions) -> DialectPart:
    """Return what the dialect adds."""
    return DialectPart(
        tag=TAG,
        description="Tasks by the address of their audio.",
        paths={
            "/": {"post": _creation().to_json()},
            "/tasks": {"get": _listing().to_json()},
            "/status/{id}": {"get": _status().to_json()},
            "/cancel/{id}": {"delete": _cancellation().to_json()},
        },
        schemas=_schemas(),
    )


def fields() -> Sequence[FormField]:
    """Return the keys of the body of a new task."""
    ours = {field.name: field for field in form.common()}
    diarize = FormField(
        name="diarise_audio", schema=ours["diarize"].schema, aliases=[ours["diarize"].name]
    )
    return [
        FormField(name="url", schema=form.ADDRESS),
        FormField(name="task", schema=one_of(Task, "What to do.", Task.TRANSCRIBE)),
        FormField(
            name="language",
            schema=text("A code or an English name. Detected when absent or `None`."),
        ),
        FormField(
            name="timestamp",
            schema=one_of(Timestamp, "What the chunks of the answer are.", Timestamp.CHUNK),
        ),
        FormField(
            name="is_async",
            schema=boolean("Answer at once, and tell the `webhook` of the end.", default=False),
        ),
        FormField(
            name="webhook",
            schema={"description": "Who is told: `url`, `header`.", **ref("InsanelyWebhook")},
        ),
        FormField(name="managed_task_id", schema=text("The task's id.", pattern=audio.ID_PATTERN)),
        diarize,
        *(ours[name] for name in TAKEN if name != diarize.aliases[0]),
    ]


def _creation() -> Operation:
    schema = form.json_schema(fields(), required=["url"])
    told: Json = {"anyOf": [ref("InsanelyCompleted"), ref("InsanelyBegun")]}
    return Operation(
        id="insanelyCreate",
        summary="Transcribe what is at an address",
        tag=TAG,
        body={"required": True, "content": {JSON_TYPE: {"schema": schema}}},
        answers={200: answer("The text; with `is_async` the task.", {JSON_TYPE: told})},
        refusals=[*(audio.REFUSALS - {417}), 409],
    )


def _listing() -> Operation:
    return Operation(
        id="insanelyTasks",
        summary="The ids of the tasks that wait or run",
        tag=TAG,
        answers={200: json_answer("InsanelyTasks", "The ids.")},
    )


def _status() -> Operation:
    states: Json = {"anyOf": [ref(f"Insanely{name}") for name in ("Ended", "Failed", "State")]}
    return Operation(
        id="insanelyStatus",
        summary="How far a task is, or how it has ended",
        tag=TAG,
        parameters=[NAMED],
        answers={200: answer("Its state.", {JSON_TYPE: states})},
        refusals=[404],
    )


def _cancellation() -> Operation:
    return Operation(
        id="insanelyCancel",
        summary="End a task; when this is answered its worker is free",
        tag=TAG,
        parameters=[NAMED],
        answers={200: json_answer("InsanelyState", "It is cancelled.")},
        refusals=[400, 404],
    )


def _schemas() -> Json:
    task_id = text("The task's id.")
    output = ref("InsanelyOutput")
    completed = text("Always `completed`.", const="completed")
    times = array(number("Seconds.", 0), "Begin and end.", minItems=2, maxItems=2)
    said = {"timestamp": times, "text": text("With its leading space.")}
    speaker = {"speaker": text("Who speaks.")}
    header: Json = {
        "type": "object",
        "description": "What to send along.",
        "additionalProperties": {"type": "string"},
    }
    return {
        "InsanelyWebhook": record(
            "Who is told.", {"url": text("Where to.", format="uri"), "header": header}, ["header"]
        ),
        "InsanelyOutput": record(
            "What was said.",
            {
                "text": text("The whole text."),
                "chunks": array(ref("InsanelyChunk"), "Segments, or words."),
                "speakers": array(ref("InsanelyTurn"), "Where speakers were told apart."),
            },
            optional=["speakers"],
        ),
        "InsanelyChunk": record("A segment, or a word.", said),
        "InsanelyTurn": record("What one speaker says.", speaker | said),
        "InsanelyCompleted": record(
            "A task that was waited for.",
            {"output": output, "status": completed, "task_id": task_id},
        ),
        "InsanelyBegun": record(
            "A task that is waited for by nobody.",
            {
                "detail": text("In a sentence."),
                "status": text("Always.", const="processing"),
                "task_id": task_id,
            },
        ),
        "InsanelyTasks": record("Tasks.", {"tasks": array(task_id, "Their ids.")}),
        "InsanelyState": record(
            "A task without a result.",
            {"status": text("How it is.", enum=["processing", "cancelled"])},
        ),
        "InsanelyEnded": record("A result.", {"output": output, "status": completed}),
        "InsanelyFailed": record(
            "An error.",
            {"error": text("In a sentence."), "status": text("Always.", const="error")},
        ),
    }
