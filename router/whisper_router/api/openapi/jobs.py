"""Transcriptions that outlive their request. Pure."""

from whisper_router.api.job_body import EVENTS as ENDS
from whisper_router.api.job_making import MAX_KEY
from whisper_router.api.job_order import MAX_HEADERS
from whisper_router.api.jobs import MOST_LISTED, USUALLY_LISTED
from whisper_router.api.openapi import form
from whisper_router.api.openapi.audio import job_answer, transcript_answer
from whisper_router.api.openapi.parts import (
    EVENTS,
    EVENTS_TYPE,
    FORM_TYPE,
    JSON_TYPE,
    Json,
    Operation,
    Paths,
    answer,
    array,
    boolean,
    header,
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
from whisper_router.domain import Task
from whisper_router.jobs.model import JobStatus
from whisper_router.pipeline.progress import Stage

TAG = "Jobs"
ONE = "/v1/jobs/{id}"
NAMED = path_parameter("id", "The job's id.", "job_6f1c8f1e2d3c4b5a69788796a5b4c3d2")


def paths() -> Paths:
    """Return the operations."""
    return {
        "/v1/jobs": {"post": _creation().to_json(), "get": _listing().to_json()},
        ONE: {"get": _one().to_json(), "delete": _deletion().to_json()},
        f"{ONE}/events": {"get": _events().to_json()},
        f"{ONE}/result": {"get": _result().to_json()},
        f"{ONE}/cancel": {"post": _cancellation().to_json()},
    }


def webhooks() -> Json:
    """Return the requests that this server makes."""
    body: Json = {"required": True, "content": {JSON_TYPE: {"schema": ref("JobNotice")}}}
    names = ("webhook-id", "webhook-timestamp", "webhook-signature")
    ended: Json = {
        "operationId": "jobEnded",
        "summary": "A job has ended",
        "description": "Signed as Standard Webhooks has it. What is not answered 2xx is sent "
        "again, with the same `webhook-id`; 410 ends that.",
        "tags": [TAG],
        "parameters": [header(name, text("As in Standard Webhooks.")) for name in names],
        "requestBody": body,
        "responses": {"2XX": {"description": "It was taken."}},
        "security": [],
    }
    return {"jobEnded": {"post": ended}}


def schemas() -> Json:
    """Return the schemas of jobs."""
    return {
        "Job": _job(),
        "JobList": record(
            "Jobs, the newest first.",
            {
                "object": text("Always `list`.", const="list"),
                "data": array(ref("Job"), "The jobs."),
                "has_more": boolean("Whether there are older ones."),
                "last_id": nullable(text("Where the next page begins (`after`).")),
            },
        ),
        "DeletedJob": record(
            "A job that is erased.",
            {
                "id": text("Its id."),
                "object": text("Always `job`.", const="job"),
                "deleted": boolean("Always true.", const=True),
            },
        ),
        "Webhook": {
            **record(
                "Who is told of a job's end.",
                {
                    "url": text("Where to.", format="uri"),
                    "headers": {
                        "type": "object",
                        "description": f"At most {MAX_HEADERS} headers to send.",
                        "maxProperties": MAX_HEADERS,
                        "additionalProperties": {"type": "string"},
                    },
                    "secret": text("Signs what is sent: `whsec_` and base64."),
                },
                optional=["headers", "secret"],
            ),
            "additionalProperties": False,
        },
        "Delivery": _delivery(),
        "JobNotice": record(
            "What a webhook is sent.",
            {
                "type": text("What happened.", enum=sorted(ENDS.values())),
                "timestamp": text("When.", format="date-time"),
                "data": ref("Job"),
            },
        ),
    }


def _creation() -> Operation:
    fields = [*form.job(), *form.common(), *form.transcription()]
    wanted = {
        FORM_TYPE: {"schema": form.form_schema(fields, required=[])},
        JSON_TYPE: {"schema": form.json_schema(fields, required=["url"])},
    }
    return Operation(
        id="createJob",
        summary="Transcribe later",
        tag=TAG,
        description="The form of a transcription with a file, or a JSON object with the `url` of "
        "the audio. `stream` and `async` have no effect.",
        parameters=[
            header(
                "Idempotency-Key",
                text("The same key makes one job, however often it is sent.", maxLength=MAX_KEY),
            )
        ],
        body={"required": True, "content": wanted},
        answers={202: job_answer()},
        refusals=[400, 403, 404, 408, 409, 413, 417, 422, 429],
    )


def _listing() -> Operation:
    limit = integer("How many.", 1, MOST_LISTED) | {"default": USUALLY_LISTED}
    return Operation(
        id="listJobs",
        summary="The jobs of this key, the newest first",
        tag=TAG,
        parameters=[
            query("status", one_of(JobStatus, "Only those.")),
            query("limit", limit),
            query("after", text("Only those that are older than the job with this id.")),
        ],
        answers={200: json_answer("JobList", "The jobs.")},
        refusals=[400],
    )


def _one() -> Operation:
    return Operation(
        id="showJob",
        summary="How far a job is",
        tag=TAG,
        parameters=[NAMED],
        answers={200: json_answer("Job", "The job.")},
        refusals=[404],
    )


def _deletion() -> Operation:
    return Operation(
        id="deleteJob",
        summary="Cancel a job if need be, and erase its audio and text",
        tag=TAG,
        parameters=[NAMED],
        answers={200: json_answer("DeletedJob", "It is erased.")},
        refusals=[404],
    )


def _events() -> Operation:
    return Operation(
        id="followJob",
        summary="The job whenever it has changed, until it has ended",
        tag=TAG,
        parameters=[NAMED, header("Last-Event-ID", text("The last event that is known."))],
        answers={
            200: answer("Server-sent events: each is the job.", {EVENTS_TYPE: EVENTS}),
            204: answer("The last event is known, and there will be none after it.", {}),
        },
        refusals=[404],
    )


def _result() -> Operation:
    parameters = [query(field.name, field.schema) for field in form.shaping()]
    for parameter in parameters:
        parameter["schema"].pop("default", None)  # what the query does not say is as in the form
    return Operation(
        id="showJobResult",
        summary="The transcript, in the job's own format or in any other",
        tag=TAG,
        description="Nothing runs again. A job that failed answers its error.",
        parameters=[NAMED, *parameters],
        answers={200: transcript_answer()},
        refusals=[400, 404, 408, 409, 413, 422, 429, 502, 504, 508],
    )


def _cancellation() -> Operation:
    return Operation(
        id="cancelJob",
        summary="End a job; when this is answered its worker is free",
        tag=TAG,
        parameters=[NAMED],
        answers={200: json_answer("Job", "The job.")},
        refusals=[404],
    )


def _job() -> Json:
    time = integer("Unix time.", 0)
    return record(
        "A job.",
        {
            "id": text("Its id."),
            "object": text("Always `job`.", const="job"),
            "status": one_of(JobStatus, "Where it is."),
            "task": one_of(Task, "What it does."),
            "model": text("As it was named."),
            "filename": nullable(text("What the client called the file.")),
            "url": nullable(text("Where the audio is from.")),
            "created_at": time,
            "started_at": nullable(time),
            "ended_at": nullable(time),
            "percent": number("How much of the speech is done.", 0, 100),
            "stage": nullable(one_of(Stage, "What is being done.")),
            "duration": nullable(number("Length of the audio in seconds.", 0)),
            "attempts": integer("How often it was begun.", 0),
            "error": nullable(record("Why it failed.", {"message": text("In words.")})),
            "queue_position": integer("Its place among the jobs that wait, from 1.", 1),
            "estimate_seconds": nullable(number("Until its next chunk runs.", 0)),
            "deliveries": array(ref("Delivery"), "How its webhook fares."),
            "text": text("The transcript; in webhooks."),
            "language": nullable(text("The language; in webhooks.")),
        },
        optional=["queue_position", "estimate_seconds", "deliveries", "text", "language"],
    )


def _delivery() -> Json:
    time = nullable(integer("Unix time.", 0))
    return record(
        "A webhook call that is to be made, or was.",
        {
            "id": text("The same at every attempt."),
            "url": text("Where to."),
            "attempts": integer("So far.", 0),
            "delivered_at": time,
            "next_attempt_at": time,
            "log": array({"type": "object"}, "An entry for each attempt."),
        },
    )
