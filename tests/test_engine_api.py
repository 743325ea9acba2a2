"""What all plugins decide in the same way."""

import signal

import pytest

from whisper_router.engine_api import was_ended_by_others


@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM", "SIGINT", "SIGHUP"])
def test_what_people_and_service_managers_send_ends_a_program_from_outside(name):
    """Also where a shell in between reports it as an exit code."""
    number = signal.Signals[name].value
    assert was_ended_by_others(-number)
    assert was_ended_by_others(128 + number)


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGABRT", "SIGILL", "SIGBUS", "SIGFPE", "SIGXCPU"])
def test_what_a_program_does_to_itself_is_its_own_end(name):
    """A crash on the audio must not be taken for somebody's kill."""
    number = signal.Signals[name].value
    assert not was_ended_by_others(-number)
    assert not was_ended_by_others(128 + number)


@pytest.mark.parametrize("code", [1, 2, 9, 15, 70, 127, 128, 255])
def test_an_exit_with_a_failure_is_its_own_end(code):
    """9 as an exit code is not signal 9."""
    assert not was_ended_by_others(code)


def test_an_exit_without_a_failure_was_asked_for():
    """A program may answer SIGTERM with an orderly exit."""
    assert was_ended_by_others(0)
