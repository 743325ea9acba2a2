"""What runs, how the latest went, and their cancel. Pure."""

from whisper_router.api.activity import USUALLY_LISTED
from whisper_router.api.openapi.operations import REQUESTS
from whisper_router.api.openapi.parts import (
    Json,
    Operation,
    Paths,
    array,
    boolean,
    integer,
    json_answer,
    nullable,
    number,
    one_of,
    path_parameter,
    query,
    record,
    ref,
    text,
)
from whisper_router.pipeline.activity import KEPT, Kind


def paths() -> Paths:
    """Return the operations."""
    return {
        "/v1/activity": {"get": _listing().to_json()},
        "/v1/activity/{id}/cancel": {"post": _cancel().to_json()},
    }


def schemas() -> Json:
    """Return the schemas by name."""
    common: dict[str, Json] = {
        "id": text("Of the request, the session or the job."),
        "kind": one_of(Kind, "What it is."),
        "model": nullable(text("The model that it names, as far as that is known.")),
        "key": nullable(text("The name of its key.")),
    }
    audio = nullable(number("Its audio, in seconds, as far as that is known.", 0))
    started = number("When it came, in Unix time.", 0)
    running = {
        **common,
        "status": text("Whether it waits for its turn.", enum=["queued", "running"]),
        "progress": nullable(number("How much of the speech is done.", 0, 1)),
        "audio_seconds": audio,
        "started_at": started,
        "elapsed_seconds": number("For how long it has been here.", 0),
        "queue_position": nullable(integer("How many have their turns before.", 0)),
        "cancellable": boolean("Whether it can still be cancelled."),
    }
    ended = {
        **common,
        "method": text("The method of its request; `WYOMING` where it came that way."),
        "path": text("The path of its request, as the route has it."),
        "status": integer("Of the answer or, of a stream that failed, of its error.", 100, 599),
        "code": nullable(text("The code of its error.")),
        "audio_seconds": audio,
        "took_seconds": number("From its coming to its end.", 0),
        "rtf": nullable(number("Time of the work ÷ time of the audio.", 0)),
        "wait_seconds": nullable(number("How long it waited for its turn.", 0)),
        "started_at": started,
        "ended_at": number("When it ended, in Unix time.", 0),
    }
    return {
        "Activity": record(
            "What is done, and what was.",
            {
                "object": text("Always `activity`.", const="activity"),
                "running": array(ref("RunningWork"), "The newest first."),
                "history": array(ref("EndedWork"), "The latest first."),
            },
        ),
        "RunningWork": record("What is done.", running),
        "EndedWork": record("What was done.", ended),
        "CancelledWork": record(
            "It is cancelled.",
            {"id": text("Its id."), "cancelled": boolean("Always true.", const=True)},
        ),
    }


def _listing() -> Operation:
    limit = integer("How many that have ended.", 1, KEPT) | {"default": USUALLY_LISTED}
    return Operation(
        id="showActivity",
        summary="What runs, and how the latest went",
        tag=REQUESTS,
        description="Requests for text, live sessions and jobs: the key's own or, for "
        "administrators, everybody's.",
        parameters=[query("limit", limit)],
        answers={200: json_answer("Activity", "Both.")},
        refusals=[400],
    )


def _cancel() -> Operation:
    return Operation(
        id="cancelActivity",
        summary="End a request, a live session or a job",
        tag=REQUESTS,
        description="Its worker is free when this is answered. Its own client is answered 410.",
        parameters=[path_parameter("id", "The id that it has in the list.", "req_1")],
        answers={200: json_answer("CancelledWork", "It is cancelled.")},
        refusals=[404],
    )
