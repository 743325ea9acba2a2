"""The worker program, spoken to directly."""

import json
import os
import signal
import subprocess
import sys

import psutil
import pytest

from support.audio_files import SAMPLES, mkv_of_one_packet, mp4_of_many_samples, tone, wav

PROGRAM = [sys.executable, "-m", "whisper_router.audio.media_worker"]
MEMORY_BYTES = 1 << 30
WAIT_S = 30


@pytest.fixture
def worker():
    """Start workers; they are gone after the test."""
    started = []

    def start(memory_bytes: int = MEMORY_BYTES, max_duration_s: float = 600):
        limits = ["--memory-bytes", str(memory_bytes), "--max-duration-s", str(max_duration_s)]
        process = subprocess.Popen(
            [*PROGRAM, *limits],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert json.loads(process.stdout.readline())["event"] == "ready"
        return process

    yield start
    for process in started:
        with process:  # closes its pipes and waits
            process.kill()


def events_of(process, source, target, **more):
    """Send a job; return its events."""
    job = {"source": str(source), "target": str(target), "pcm": None, "vad": None, "levels": None}
    job |= more
    process.stdin.write(json.dumps(job) + "\n")
    process.stdin.flush()
    events = [json.loads(process.stdout.readline())]
    while events[-1]["event"] == "heard":
        events.append(json.loads(process.stdout.readline()))
    return events


def ask(process, source, target, **more):
    """Send a job; return its last event."""
    return events_of(process, source, target, **more)[-1]


def test_a_job_is_answered_with_what_was_decoded(worker, tmp_path):
    """Events are lines of JSON; each piece with its speech, when that was asked for."""
    process = worker()
    vad = {"threshold": 0.5}
    events = events_of(process, SAMPLES / "en_hello_gb.wav", tmp_path / "out", vad=vad)
    assert events[-1] == {
        "event": "decoded",
        "samples": 16_454,
        "codec": "pcm_s16le",
        "sample_rate_hz": 16_000,
        "channels": 1,
    }
    assert sum(len(event["found"]["spans"]) for event in events[:-1]) == 1
    assert all(event["expected_s"] == pytest.approx(1.028, abs=0.01) for event in events[:-1])
    pcm = {"encoding": "s16be", "rate_hz": 8000, "channels": 1}
    (tmp_path / "raw").write_bytes(bytes(16_000))
    assert ask(process, tmp_path / "raw", tmp_path / "out", pcm=pcm)["samples"] == 16_000


def test_pieces_are_told_while_the_rest_is_decoded_and_are_in_the_file(worker, tmp_path):
    """A minute comes in two pieces; what was told can be read."""
    process, target = worker(), tmp_path / "out"
    source = SAMPLES / "en_two_speakers_long.wav"
    job = {"source": str(source), "target": str(target), "pcm": None, "vad": None, "levels": None}
    process.stdin.write(json.dumps(job) + "\n")
    process.stdin.flush()
    first = json.loads(process.stdout.readline())
    assert first["event"] == "heard"
    assert first["found"] is None
    assert first["decoded_s"] == pytest.approx(32.768)
    assert target.stat().st_size >= 32.768 * 16_000 * 4
    assert [json.loads(process.stdout.readline())["event"] for _ in "12"] == ["heard", "decoded"]


def test_a_file_decoded_again_is_written_over_and_never_empty(worker, tmp_path):
    """Who reads it already sees the same bytes; what a longer one has left is cut off."""
    process, target = worker(), tmp_path / "out"
    ask(process, SAMPLES / "en_two_speakers_long.wav", target)
    with target.open("rb") as reading:
        ask(process, SAMPLES / "en_hello_gb.wav", target)
        assert os.fstat(reading.fileno()).st_size == 16_454 * 4
        again = reading.read()
    ask(process, SAMPLES / "en_hello_gb.wav", tmp_path / "other")
    assert again == (tmp_path / "other").read_bytes()


def test_errors_are_events_and_the_next_job_is_served(worker, tmp_path):
    """Bad file, missing file, full disk: each has its code; the worker goes on."""
    process = worker()
    (tmp_path / "text.wav").write_text("only words")
    (tmp_path / "full").symlink_to("/dev/full")
    long = SAMPLES / "en_two_speakers_long.wav"
    assert ask(process, tmp_path / "text.wav", tmp_path / "out")["code"] == "audio_undecodable"
    assert ask(process, tmp_path / "absent", tmp_path / "out")["code"] == "media_worker_failed"
    assert ask(process, long, tmp_path / "full")["code"] == "storage_full"
    assert ask(process, long, tmp_path / "out")["event"] == "decoded"


def test_an_odd_job_is_an_error_event_and_a_traceback_on_stderr(worker, tmp_path):
    """A bug must not look like a bad file."""
    process = worker()
    event = ask(process, SAMPLES / "en_hello_gb.wav", tmp_path / "out", pcm={"encoding": "x"})
    assert (event["event"], event["code"]) == ("error", "media_worker_failed")
    assert ask(process, SAMPLES / "en_hello_gb.wav", tmp_path / "out")["event"] == "decoded"
    process.stdin.close()
    assert "Traceback" in process.stderr.read()


def test_it_ends_with_its_stdin_in_the_middle_of_a_job(worker, tmp_path):
    """No orphan goes on decoding for a router that is gone."""
    process = worker(max_duration_s=1e6)
    (tmp_path / "long.wav").write_bytes(wav(tone(600, 8000), 8000))
    job = {"source": str(tmp_path / "long.wav"), "target": str(tmp_path / "out"), "pcm": None}
    for _ in range(50):
        process.stdin.write(json.dumps({**job, "vad": {}}) + "\n")
    process.stdin.close()
    assert process.wait(timeout=WAIT_S) == 0
    assert len(process.stdout.readlines()) < 50


def test_it_dies_with_its_parent(tmp_path):
    """Also when somebody else holds its stdin open."""
    reading, writing = os.pipe()
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import subprocess, sys, time\n"
            f"limits = ['--memory-bytes', '{MEMORY_BYTES}', '--max-duration-s', '9']\n"
            f"subprocess.Popen({PROGRAM!r} + limits, stdin={reading})\n"
            "time.sleep(60)\n",
        ],
        pass_fds=[reading],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        child = psutil.Process(json.loads(parent.stdout.readline())["pid"])
        parent.send_signal(signal.SIGKILL)
        parent.wait(timeout=WAIT_S)
        child.wait(timeout=WAIT_S)
    finally:
        parent.kill()
        parent.communicate(timeout=WAIT_S)
        os.close(reading)
        os.close(writing)


def test_a_file_that_wants_too_much_memory_is_refused(worker, tmp_path):
    """Two bytes of the index say: 2.4 GB. The limit holds, and the worker lives on."""
    process = worker(memory_bytes=300 << 20)
    (tmp_path / "greedy.mp4").write_bytes(mp4_of_many_samples(100_000_000))
    event = ask(process, tmp_path / "greedy.mp4", tmp_path / "out")
    assert event["code"] == "audio_undecodable"
    assert "none of its aac audio could be read" in event["message"]
    assert psutil.Process(process.pid).memory_info().rss < 300 << 20
    assert ask(process, SAMPLES / "en_hello_gb.wav", tmp_path / "out")["event"] == "decoded"


def test_a_packet_larger_than_the_memory_is_refused(worker, tmp_path):
    """FFmpeg's own "out of memory" is told as what it is."""
    process = worker(memory_bytes=200 << 20)
    mkv_of_one_packet(tmp_path / "huge.mkv", size_bytes=48 << 20)
    event = ask(process, tmp_path / "huge.mkv", tmp_path / "out")
    assert event["code"] == "audio_rejected"
    assert "more than 200 MiB" in event["message"]
    assert ask(process, SAMPLES / "en_hello_gb.wav", tmp_path / "out")["event"] == "decoded"
