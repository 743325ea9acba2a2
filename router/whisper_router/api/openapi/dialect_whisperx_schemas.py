"""The schemas of whisperX API server's answers. Pure."""

from whisper_router.api.dialects.whisperx_status import STAGES, STATUS
from whisper_router.api.openapi.parts import (
    ANY_TEXT,
    Json,
    array,
    boolean,
    integer,
    nullable,
    number,
    one_of,
    record,
    ref,
    text,
)
from whisper_router.supervisor.machine import State


def schemas() -> Json:
    """Return them by name."""
    return {**_transcripts(), **_states(), **_operators()}


def _transcripts() -> Json:
    begin, end = number("Begin in seconds.", 0), number("End in seconds.", 0)
    speaker = text("`SPEAKER_00` and so on, where speakers were told apart.")
    word = {
        "word": text("The word."),
        "start": begin,
        "end": end,
        "score": number("How sure it is."),
        "speaker": speaker,
    }
    segment = {
        "start": begin,
        "end": end,
        "text": text("What is said."),
        "speaker": speaker,
        "words": array(ref("WhisperxWord"), "With `align`."),
    }
    segments = array(ref("WhisperxSegment"), "Without `align`.")
    aligned = {
        "segments": array(ref("WhisperxSegment"), "Its segments."),
        "word_segments": array(ref("WhisperxWord"), "All words."),
    }
    lines = text("A line for each segment.")
    return {
        "WhisperxText": record("`json`.", {"text": lines}),
        "WhisperxVerbose": record(
            "`verbose_json`, and `vtt_json` with `vtt_text`.",
            {
                "segments": {
                    "description": "With `align` an object that has them, and all words.",
                    "anyOf": [segments, ref("WhisperxAligned")],
                },
                "language": nullable(text("Its code.")),
                "text": lines,
                "vtt_text": text("Subtitles, with `vtt_json`."),
            },
            optional=["vtt_text"],
        ),
        "WhisperxAligned": record("Segments, and all words.", aligned),
        "WhisperxSegment": record("A segment.", segment, optional=["speaker", "words"]),
        "WhisperxWord": record("A word.", word, optional=["speaker"]),
    }


def _states() -> Json:
    request_id, time = text("The request's id."), number("Unix time.", 0)
    stage = text("What is being done.", enum=sorted(STAGES.values()))
    status = {
        "request_id": request_id,
        "status": text("Where it is.", enum=sorted(set(STATUS.values()))),
        "mode": text("Always `direct`.", const="direct"),
        "stage": nullable(stage),
        "submitted_at": time,
        "updated_at": time,
        "completed_at": nullable(time),
        "percent": number("How much of the speech is done.", 0, 100),
        "filename": nullable(text("What the client called the file.")),
        "params": {"type": "object", "description": "What was asked for, as far as it is known."},
        "stages": array(ref("WhisperxStage"), "What was done so far."),
        "error": nullable(text("Why it failed.")),
        "error_type": nullable(text("The same for programs.")),
    }
    part = {
        "name": stage,
        "started_at": time,
        "completed_at": nullable(time),
        "duration_seconds": nullable(number("How long it took.", 0)),
        "in_progress": boolean("Whether it goes on."),
    }
    accepted = {
        "request_id": request_id,
        "status": text("Always.", const="accepted"),
        "status_url": text("Where its state is."),
        "result_url": text("Where its result will be."),
    }
    return {
        "WhisperxStatus": record("How far a request is.", status),
        "WhisperxStage": record("A stage of the work.", part),
        "WhisperxAccepted": record("It is done later.", accepted),
    }


def _operators() -> Json:
    names = array(ANY_TEXT, "Names.")
    count = integer("A number of chunks.", 0)
    slots = {
        "in_use": count,
        "available": count,
        "max": count,
        "saturation": number("The share that is in use.", 0),
    }
    info = {
        "version": text("Of this server."),
        "mode": text("Always `direct`.", const="direct"),
        "uptime_seconds": number("Since it began.", 0),
        "max_upload_size_bytes": integer("No upload is larger.", 0),
        "subtitle_formats_available": names,
        "backends": {
            "type": "object",
            "description": "What does the work, by its kind.",
            "additionalProperties": names,
        },
        "concurrent_transcriptions": record("How busy the models are.", slots),
        "loaded_models": {
            "type": "object",
            "description": "Models in memory, by their kind.",
            "additionalProperties": names,
        },
        "shutting_down": boolean("Whether it ends."),
        "http_in_flight": integer("Requests with audio at the moment.", 0),
        "models": {
            "type": "object",
            "description": "With `detail=full`: the state of each.",
            "additionalProperties": one_of(State, "The state."),
        },
    }
    catalog = {"models": names, "default": text("The usual one."), "loaded": names}
    done = {"status": text("Always.", const="success"), "model": text("What was loaded.")}
    return {
        "WhisperxHealth": record("It lives.", {"status": text("Always.", const="healthy")}),
        "WhisperxInfo": record("What runs here.", info, optional=["models"]),
        "WhisperxCatalog": record("The models.", catalog),
        "WhisperxModels": record("A list.", {"models": names}),
        "WhisperxDone": record("It is done.", done, optional=["model"]),
    }
