"""Jobs and results for tests of what keeps them."""

from pathlib import Path

from whisper_router.domain import (
    Client,
    DecodingOptions,
    Hole,
    LanguageDetected,
    Segment,
    SpeechDetection,
    Task,
    TokenLogprob,
    Transcript,
    TranscriptionRequest,
    Word,
)
from whisper_router.jobs.model import Job, JobAudio, JobStatus, Webhook

REQUEST = TranscriptionRequest(
    model="demo",
    request_id="r",
    task=Task.TRANSLATE,
    language="de",
    prompt="Ines",
    hotwords=("Rui", "Joao"),
    vad=False,
    speech=SpeechDetection(threshold=0.4),
    client=Client(name="laptop", weight=2.0),
    decoding=DecodingOptions(temperature=0.2, beam_size=3),
)
SEGMENT = Segment(
    start_s=0.5,
    end_s=1.5,
    text=" één",
    tokens=(1, 2),
    words=(Word(text="één", start_s=0.5, end_s=1.5, probability=0.5),),
    logprobs=(TokenLogprob(token=" \ufffd", logprob=-0.5, data=b" \xc3"),),
    avg_logprob=-0.25,
    language="nl",
)
EVENTS = (LanguageDetected(code="nl", probability=0.75), SEGMENT)
TRANSCRIPT = Transcript(
    task=Task.TRANSCRIBE,
    language="nl",
    duration_s=3.5,
    segments=(SEGMENT,),
    holes=(Hole(start_s=2.0, end_s=3.0, reason="It crashed."),),
)
WEBHOOK = Webhook(url="http://127.0.0.1:1/", headers={"X-Mine": "1"}, secret="whsec_MfKQ9r8GKY")


def make_job(job_id: str, *, owner: str = "laptop", **changes) -> Job:
    """Return a queued job."""
    return Job(
        **{
            "id": job_id,
            "owner": owner,
            "status": JobStatus.QUEUED,
            "request": REQUEST,
            "audio": JobAudio(path=Path("/spool/a.wav"), name="a.wav"),
            "created_s": 1000.0,
            **changes,
        }
    )
