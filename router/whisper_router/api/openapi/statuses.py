"""The schemas of what the server says of itself and of its work. Pure."""

from whisper_router.api.openapi.parts import (
    Json,
    array,
    boolean,
    integer,
    listing,
    nullable,
    number,
    one_of,
    record,
    ref,
    text,
)
from whisper_router.api.services import Verdict
from whisper_router.domain import Lane
from whisper_router.pipeline.progress import Stage
from whisper_router.supervisor.breaker import BreakerState
from whisper_router.supervisor.machine import State


def schemas() -> Json:
    """Return them by name."""
    return {
        "Error": record("Every error.", {"error": ref("ErrorDetail")}),
        "DetailedError": record(
            "The same with the sentence where clients of FastAPI's servers look for it.",
            {"detail": text("`error.message`."), "error": ref("ErrorDetail")},
        ),
        "ErrorDetail": record(
            "What went wrong.",
            {
                "message": text("A sentence for the person who called."),
                "type": text("The kind of error."),
                "param": nullable(text("The field that is wrong.")),
                "code": nullable(text("The error's name, for programs.")),
            },
        ),
        **_server(),
        **_requests(),
        **_processes(),
        **_findings(),
    }


def _server() -> Json:
    status, name, version = text("Always `ok`.", const="ok"), text("The program."), text("Its own.")
    return {
        "Description": record(
            "What this server is.",
            {
                "status": status,
                "name": name,
                "version": version,
                "description": text("In a sentence."),
                "base_url": text("What to configure in a client."),
                "docs": text("Where a person can read on."),
                "openapi": text("Where this document is."),
                "reference": text("Where its page is."),
                "endpoints": array({"type": "string"}, "Methods and paths."),
            },
        ),
        "Health": record(
            "It lives.",
            {
                "status": status,
                "name": name,
                "version": version,
                "failing": array({"type": "string"}, "Models whose engines do not start."),
            },
        ),
        "Ready": record("It serves.", {"status": text("Always `ready`.", const="ready")}),
    }


def _requests() -> Json:
    seconds = number("Seconds of audio.", 0)
    estimate = nullable(number("Until it gets a worker, in seconds.", 0))
    place = integer("How many have their turns before.", 0)
    return {
        "Progress": record(
            "How far a request is.",
            {
                "id": text("The request's id."),
                "object": text("Always `progress`.", const="progress"),
                "stage": one_of(Stage, "Where it is."),
                "percent": number("How much of the speech is done.", 0, 100),
                "done_seconds": seconds,
                "decoded_seconds": seconds,
                "speech_seconds": seconds,
                "duration_seconds": seconds,
                "queue_position": place,
                "estimate_seconds": estimate,
            },
            optional=["speech_seconds", "duration_seconds", "queue_position", "estimate_seconds"],
        ),
        "Queues": {
            "type": "object",
            "description": "The queue of each alias.",
            "additionalProperties": record(
                "A queue.",
                {
                    "running": integer("Chunks on workers.", 0),
                    "waiting": array(ref("WaitingChunk"), "In the order of their turns."),
                },
            ),
        },
        "WaitingChunk": record(
            "A chunk that waits.",
            {
                "request_id": text("Whose it is."),
                "key": text("The name of the key."),
                "lane": text("Who goes first.", enum=[lane.name.lower() for lane in Lane]),
                "audio_seconds": seconds,
                "position": place,
                "waited_seconds": number("So far.", 0),
                "estimate_seconds": estimate,
            },
        ),
    }


def _processes() -> Json:
    counts = {
        name: integer(words, 0)
        for name, words in (
            ("leases", "Chunks that run."),
            ("starts", "How often it was started."),
            ("crashes", "How often it ended unasked."),
            ("recycles", "How often it was replaced for having served or grown enough."),
            ("rss_bytes", "Memory."),
        )
    }
    error = nullable(text("The last one."))
    pool: dict[str, Json] = {
        "id": text("The alias."),
        "object": text("Always `process_pool`.", const="process_pool"),
        "engine": text("The engine."),
        "state": one_of(State, "Where it is in its life."),
        "breaker": one_of(BreakerState, "Whether a start would be attempted."),
        "pinned": boolean("Whether it stays although nobody uses it."),
        **counts,
        "waiting": integer("Chunks that wait.", 0),
        "capacity": nullable(integer("Chunks at a time.", 0)),
        "model_file": nullable(text("The weights.")),
        "acceleration": {"type": "object", "description": "Requested, and in effect."},
        "model_present": boolean("Whether the weights are here; true for what is elsewhere."),
        "download": nullable(_download()),
        "memory_bytes": integer("What the budget of memory reckons with.", 0),
        "idle_seconds": nullable(number("For how long nobody has used it.", 0)),
        "unloads_in_seconds": nullable(number("When it is unloaded for being idle.", 0)),
        "idle_unload_seconds": nullable(number("How long it may be idle.", 0)),
        "last_error": error,
        "processes": array(ref("Process"), "Its processes."),
    }
    process: dict[str, Json] = {
        "pid": nullable(integer("Its id.", 1)),
        "state": one_of(State, "Where it is in its life."),
        **counts,
        "chunks": integer("What it has served since it was fresh.", 0),
        "accelerator": nullable(text("In effect.")),
        "last_error": error,
        "url": text("Where it is, if it is elsewhere."),
        "gpu": integer("The GPU on which it computes.", 0),
        "gpu_memory_bytes": integer("What it takes there.", 0),
    }
    return {
        "ProcessPool": record("The engine processes of an alias.", pool),
        "ProcessPoolList": _with_memory(listing("ProcessPool", "The aliases.")),
        "MemoryUse": record("What processes take together.", {**_budget(), "gpus": _gpus()}),
        "Process": record("A process.", process, optional=["url", "gpu", "gpu_memory_bytes"]),
        "Lines": record(
            "Output.",
            {
                "object": text("Always `list`.", const="list"),
                "data": array({"type": "string"}, "One line after the other."),
            },
        ),
    }


def _findings() -> Json:
    return {
        "Findings": listing("Finding", "What was found."),
        "Finding": record(
            "One check.",
            {
                "verdict": one_of(Verdict, "How it ended."),
                "subject": text("What was looked at."),
                "text": text("A sentence."),
            },
        ),
    }


def _download() -> Json:
    parts = {
        "downloaded_bytes": integer("What is here.", 0),
        "total_bytes": nullable(integer("All of it.", 0)),
    }
    return record("How far the weights are on their way.", parts)


def _with_memory(pools: Json) -> Json:
    properties = pools["properties"] | {"memory": ref("MemoryUse")}
    return pools | {"properties": properties, "required": [*pools["required"], "memory"]}


def _budget() -> dict[str, Json]:
    return {
        "budget_bytes": nullable(integer("What they may take; null: whatever they want.", 0)),
        "used_bytes": integer("What they are reckoned to take.", 0),
    }


def _gpus() -> Json:
    one = {"index": integer("The GPU.", 0), "name": text("What it is."), **_budget()}
    return array(record("A GPU's memory.", one), "The same of each GPU.")
