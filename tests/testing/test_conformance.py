"""The suite fails engines that break the contract."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import BaseModel

from support.program_engine import ProgramEngine
from support.speech import DEMO_MODEL, sample
from whisper_router.errors import EngineCrashed, EngineInterrupted
from whisper_router.testing import conformance
from whisper_router.testing.conformance import Subject
from whisper_router_engines.whispercpp.engine import WhisperCpp


class Permissive(WhisperCpp):
    """Takes every option for its own."""

    Options = type("Options", (BaseModel,), {})


class Judging(WhisperCpp):
    """Gives the same reason for every answer that ends early."""

    reason = EngineCrashed

    async def transcribe(self, http, endpoint, chunk, request):
        try:
            async for event in super().transcribe(http, endpoint, chunk, request):
                yield event
        except EngineCrashed as error:
            raise self.reason(str(error)) from error


class Forgiving(Judging):
    """Never holds the audio to be the reason."""

    reason = EngineInterrupted


@dataclass
class Talkative(ProgramEngine):
    """Has a probe that tells what it is made to tell."""

    told: dict[str, str]

    async def probe(self) -> dict[str, str]:
        return self.told


def subject(engine, speech: Path = Path()) -> Subject:
    return Subject(engine=engine, model=DEMO_MODEL, speech=speech, language="en")


def test_an_engine_that_takes_any_option_fails():
    """A misspelt option would pass for a set one."""
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        conformance.EngineConformance().test_options_have_defaults_and_refuse_unknown_names(
            subject(Permissive())
        )


@pytest.mark.parametrize("told", [{}, {"version": " "}, {"version": "1\n2"}])
async def test_a_probe_that_tells_nothing_or_several_lines_fails(told):
    """`doctor` prints it on one line."""
    with pytest.raises(AssertionError):
        await conformance.EngineConformance().test_a_probe_tells_something(subject(Talkative(told)))


async def test_an_engine_without_a_probe_passes():
    """It is optional."""
    await conformance.EngineConformance().test_a_probe_tells_something(subject(ProgramEngine()))


async def test_an_engine_that_hears_something_else_fails(tmp_path):
    """What the recording holds is asked for word by word."""
    wrong = Subject(
        engine=WhisperCpp(),
        model=DEMO_MODEL,
        speech=sample("de_digits").path,
        language="de",
        text="eins zwei",
    )

    with pytest.raises(AssertionError):
        await (
            conformance.SupervisedEngineConformance().test_events_come_in_order_and_hold_the_speech(
                wrong, tmp_path
            )
        )


async def test_an_engine_that_cannot_tell_a_killed_worker_from_a_crashed_one_fails(tmp_path):
    """Audio would be refused because of an operator, or kill one worker after another."""
    suite, speech = conformance.SupervisedEngineConformance(), sample("en_call_sign").path
    with pytest.raises(AssertionError):
        await suite.test_a_killed_worker_is_an_interruption_and_the_next_chunk_is_served(
            subject(Judging(), speech), tmp_path
        )
    with pytest.raises(AssertionError):
        await suite.test_a_worker_that_crashes_is_not_taken_for_a_killed_one(
            subject(Forgiving(), speech), tmp_path
        )
