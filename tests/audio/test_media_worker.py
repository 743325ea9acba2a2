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


def ask(process, source, target, **more):
    """Send a job; return its first event."""
    job = {"source": str(source), "target": str(target), "pcm": None, "vad": None, **more}
    process.stdin.write(json.dumps(job) + "\n")
    process.stdin.flush()
    return json.loads(process.stdout.readline())


def test_a_job_is_answered_with_what_was_decoded(worker, tmp_path):
    """Events are lines of JSON; speech comes after the decoding, when it was asked for."""
    process = worker()
    vad = {"threshold": 0.5}
    event = ask(process, SAMPLES / "en_hello_gb.wav", tmp_path / "out", vad=vad)
    assert event == {
        "event": "decoded",
        "samples": 16_454,
        "codec": "pcm_s16le",
        "sample_rate_hz": 16_000,
        "channels": 1,
    }
    speech = json.loads(process.stdout.readline())
    assert speech["event"] == "speech"
    assert len(speech["spans"]) == 1
    pcm = {"encoding": "s16be", "rate_hz": 8000, "channels": 1}
    (tmp_path / "raw").write_bytes(bytes(16_000))
    assert ask(process, tmp_path / "raw", tmp_path / "out", pcm=pcm)["samples"] == 16_000


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
