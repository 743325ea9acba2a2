"""The commands as a user types them: what they print, what they write, how they exit."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from support.server import environment
from support.speech import floats


@dataclass(frozen=True, kw_only=True)
class Run:
    """Runs `whisper-router ARGUMENTS` with the bundled model as default."""

    directory: Path

    @property
    def environment(self) -> dict[str, str]:
        config = self.directory / "router.toml"
        inherited = environment(self.directory) | {"WHISPER_ROUTER_CONFIG": str(config)}
        inherited.pop("WHISPER_ROUTER__SERVER__LOG_FORMAT")
        return inherited

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "whisper_router.cli", *arguments]

    def __call__(
        self,
        *arguments: str,
        cwd: Path | None = None,
        stdout: int = subprocess.PIPE,
        shell: str = "exec {}",
        **env: str,
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["/bin/sh", "-c", shell.format('"$0" "$@"'), *self.command(*arguments)],
            env=self.environment | env,
            cwd=cwd or self.directory,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            timeout=90,
            check=False,
        )


@pytest.fixture
def run(tmp_path):
    """Run `whisper-router ARGUMENTS`; its files lie in `tmp_path`."""
    (tmp_path / "router.toml").write_text('default_model = "demo"\n[vad]\nthreshold = 0.5\n')
    return Run(directory=tmp_path)


def test_transcribe_prints_the_text(run, samples):
    """One file, in this process, and nothing but its text on stdout."""
    done = run("transcribe", str(samples["de_digits.wav"]["path"]))
    assert (done.returncode, done.stdout) == (0, "drei sieben null fünf\n")


def test_listen_prints_what_a_server_hears_of_a_file(run, server, samples):
    """At real-time speed, with nothing but the text on stdout; in stereo of 44.1 kHz."""
    said, began_s = samples["stereo_two_speakers_44k.wav"], time.monotonic()
    done = run("listen", str(said["path"]), "--url", server.url)
    assert (done.returncode, done.stdout) == (0, said["text"] + "\n")
    assert time.monotonic() - began_s > said["seconds"]


def test_listen_takes_raw_samples_from_a_pipe_and_prints_messages(run, server, samples):
    """`--json` shows what may still change."""
    raw = floats(samples["en_digits_fast.wav"]["path"]) * 32767
    (run.directory / "speech").write_bytes(raw.astype("<i2").tobytes())
    done = run("listen", "-", "--json", "--url", f"{server.url}/v1", shell="exec {} < speech")
    messages = [json.loads(line) for line in done.stdout.splitlines()]
    assert messages[-1]["text"] == samples["en_digits_fast.wav"]["text"]
    assert any(message["tentative"] for message in messages)


def test_listen_says_why_it_cannot(run, server, tmp_path):
    """No such model, no such file, no audio, no server: exit code 1 and a sentence."""
    (tmp_path / "bad.wav").write_bytes(b"RIFF and nothing")
    for reason, *arguments in (
        ("does not exist", str(tmp_path / "bad.wav"), "--model", "none", "--url", server.url),
        ("no.wav", str(tmp_path / "no.wav"), "--url", server.url),
        ("bad.wav", str(tmp_path / "bad.wav"), "--url", server.url),
        ("127.0.0.1:9/", str(tmp_path / "bad.wav"), "--url", "http://127.0.0.1:9"),
    ):
        done = run("listen", *arguments)
        assert (done.returncode, done.stdout.strip()) == (1, "")
        assert reason in done.stderr
        assert "Traceback" not in done.stderr


def test_transcribe_a_directory_writes_a_file_each_and_goes_on_after_a_bad_one(
    run, samples, tmp_path
):
    """Exit code 1 tells that one failed; the others are there."""
    source = tmp_path / "in"
    source.mkdir()
    for name in ("en_hello_gb.wav", "fr_digits.wav"):
        (source / name).write_bytes(samples[name]["path"].read_bytes())
    (source / "bad.mp3").write_text("no audio")
    (source / "notes.txt").write_text("not looked at")
    done = run("transcribe", str(source), "--format", "srt", "--output-dir", str(tmp_path / "out"))
    assert done.returncode == 1
    assert "bad.mp3" in done.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "en_hello_gb.srt",
        "fr_digits.srt",
    ]
    assert "hello world" in (tmp_path / "out" / "en_hello_gb.srt").read_text()


def test_transcribe_with_equal_stems_overwrites_nothing(run, samples, tmp_path):
    """Two files that differ in their extension only give two results."""
    content = samples["en_hello_gb.wav"]["path"].read_bytes()
    (tmp_path / "a.wav").write_bytes(content)
    (tmp_path / "a.mp3").write_bytes(content)
    out = tmp_path / "out"
    paths = [str(tmp_path / "a.wav"), str(tmp_path / "a.mp3")]
    assert run("transcribe", *paths, "--output-dir", str(out)).returncode == 0
    assert sorted(path.name for path in out.iterdir()) == ["a.mp3.txt", "a.wav.txt"]


def test_transcribe_with_equal_names_in_deep_directories_overwrites_nothing(run, samples, tmp_path):
    """As many directories go into the name as tell the files apart."""
    content = samples["en_hello_gb.wav"]["path"].read_bytes()
    for place in ("a/x", "b/x", "b/y"):
        (tmp_path / "in" / place).mkdir(parents=True)
        (tmp_path / "in" / place / "f.wav").write_bytes(content)
    out = tmp_path / "out"
    assert run("transcribe", str(tmp_path / "in"), "--output-dir", str(out)).returncode == 0
    assert sorted(path.name for path in out.iterdir()) == [
        "a_x_f.wav.txt",
        "b_x_f.wav.txt",
        "y_f.wav.txt",
    ]


def test_transcribe_into_a_file_is_wrong_usage(run, samples, tmp_path):
    """--output-dir names a directory."""
    path = str(samples["en_hello_gb.wav"]["path"])
    done = run("transcribe", path, "--output-dir", str(tmp_path / "router.toml"))
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert "--output-dir" in done.stderr


def test_transcribe_stops_when_nobody_reads_its_output(run, samples):
    """As in `whisper-router transcribe … | head -1`; the exit code is that of SIGPIPE."""
    reader, writer = os.pipe()
    os.close(reader)
    path = str(samples["en_hello_gb.wav"]["path"])
    try:
        done = run("transcribe", path, path, stdout=writer)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr.strip()) == (141, "")


def test_transcribe_works_without_a_standard_output(run, samples, tmp_path):
    """A socket that gets the number of a closed stdout would end the program."""
    path = str(samples["en_hello_gb.wav"]["path"])
    done = run("transcribe", path, "--output-dir", str(tmp_path / "out"), shell="exec {} >&- <&-")
    assert (done.returncode, done.stderr.strip()) == (0, "")
    assert (tmp_path / "out" / "en_hello_gb.txt").read_text().strip() == "hello world"


def test_an_interrupt_ends_transcribe_quietly_with_all_its_processes(run, samples, tmp_path):
    """Ctrl-C reaches the whole group of the terminal: exit code 130, no traceback, no orphan."""
    paths = [str(samples["en_two_speakers_long.wav"]["path"])] * 50
    with subprocess.Popen(
        run.command("transcribe", *paths),
        env=run.environment,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()  # the first result: everything runs
        family = psutil.Process(process.pid).children(recursive=True)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(60) == 130
        assert "Traceback" not in process.stderr.read()
    assert len(family) >= 3
    _, alive = psutil.wait_procs(family, 60)
    assert not alive


def test_the_entry_point_imports_little():
    """An interrupt while it imports would end in a traceback."""
    program = (
        "import sys, whisper_router.cli\n"
        "sys.exit(', '.join({'asyncio', 'pydantic', 'aiohttp', 'rich'} & set(sys.modules)) or 0)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)


def test_transcribe_through_a_server_gives_the_same(run, samples, server):
    """--url with and without /v1."""
    path = str(samples["en_call_sign.wav"]["path"])
    local = run("transcribe", path, "--format", "vtt")
    for url in (server.url, f"{server.url}/v1/"):
        remote = run("transcribe", path, "--format", "vtt", "--url", url)
        assert remote.returncode == 0
        assert remote.stdout == local.stdout


def test_transcribe_translates(run, samples):
    """--translate."""
    done = run("transcribe", str(samples["de_digits.wav"]["path"]), "--translate")
    assert done.stdout == "three seven zero five\n"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["transcribe", "/no/such/file.wav"], 2, "no such file"),
        (["transcribe", "--language", "klingon", "/dev/null"], 2, "not a language we know"),
        (["transcribe", "--model", "tinny", "router.toml"], 1, "Did you mean 'tiny'?"),
        (["transcribe", "--url", "http://127.0.0.1:9", "router.toml"], 1, "127.0.0.1:9"),
        (["models", "pull", "tinny"], 2, "tiny"),
        (["models", "pull", "tiny"], 1, "ggml-tiny.bin"),
        (["serve", "--config", "/no/such.toml"], 2, "cannot read /no/such.toml"),
        (["frobnicate"], 2, "invalid choice"),
    ],
)
def test_what_fails_says_why_and_exits_with_its_code(run, arguments, code, message):
    """A sentence on stderr, never a traceback."""
    done = run(*arguments)
    assert done.returncode == code, done
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_config_check_and_show(run, tmp_path):
    """`check` knows the engines' options; `show` prints TOML that loads, without secrets."""
    good = run("config", "check")
    assert (good.returncode, good.stdout[:26]) == (0, "The configuration is good:")
    bad = tmp_path / "bad.toml"
    bad.write_text('[models.x]\nmodel = "tiny"\nworkers = 0\n')
    done = run("config", "check", "--config", str(bad))
    assert done.returncode == 2
    assert "models.x.workers" in done.stderr
    shown = run("config", "show", API_KEY="s3cret")
    assert "s3cret" not in shown.stdout
    assert 'default_model = "demo"' in shown.stdout
    again = tmp_path / "again.toml"
    again.write_text(shown.stdout)
    assert run("config", "check", "--config", str(again)).returncode == 0


def test_keys_are_made_listed_and_revoked(run, tmp_path):
    """The key is printed once; the file holds no key."""
    file = tmp_path / "keys.toml"
    made = run("keys", "new", "laptop", "--keys-file", str(file))
    key = next(word for word in made.stdout.split() if word.startswith("wr-"))
    assert key not in file.read_text()
    assert "laptop" in run("keys", "list", "--keys-file", str(file)).stdout
    assert run("keys", "revoke", "laptop", "--keys-file", str(file)).returncode == 0
    assert "laptop" not in run("keys", "list", "--keys-file", str(file)).stdout
    assert run("keys", "list").returncode == 2


def test_models_list_shows_what_is_here(run):
    """The bundled model is, the rest is not."""
    done = run("models", "list")
    assert done.returncode == 0
    rows = {line.split("\t")[0]: line for line in done.stdout.splitlines()}
    assert {"demo", "tiny", "large-v3-turbo-q5_0", "whisper-1"} <= rows.keys()


def test_doctor_finds_this_machine_fit(run):
    """Every line is a finding; the self-test recognises speech."""
    done = run("doctor")
    assert done.returncode == 0, done.stdout
    for subject in (
        "system",
        "cpu",
        "memory",
        "open files",
        "engine",
        "models",
        "spool",
        "keys",
        "port",
    ):
        assert subject in done.stdout
    assert "whispercpp is installed: whisper.cpp 1.8" in done.stdout
    assert "accelerators cpu; physical cores" in done.stdout
    assert "whispercpp computes on cpu" in done.stdout
    assert "the demo model heard 'seven alpha blue nine'" in done.stdout


@pytest.mark.parametrize(
    "problems",
    [
        {
            "SERVER__HOST": ("0.0.0.0", "will refuse to listen on 0.0.0.0"),
            "STORE__DIRECTORY": ("router.toml", "models"),
        },
        {
            "AUDIO__SPOOL_DIR": ("router.toml/spool", "spool"),
            "AUTH__KEYS_FILE": ("absent.toml", "absent.toml"),
        },
    ],
    ids=" ".join,
)
def test_doctor_reports_every_problem(run, problems):
    """A server that would be open; `serve` would refuse to start, or no model could be fetched."""
    done = run(
        "doctor", **{f"WHISPER_ROUTER__{name}": value for name, (value, _) in problems.items()}
    )
    assert done.returncode == 1, done.stdout
    found = [line for line in done.stdout.splitlines() if line.startswith("problem")]
    assert len(found) == len(problems), done.stdout
    for _, said in problems.values():
        assert any(said in line for line in found), found


def test_demo_hears_every_bundled_sample_rightly(run):
    """What `make demo` shows."""
    done = run("demo")
    assert done.returncode == 0, done.stdout + done.stderr
    for text in ("hello world", "drei sieben null fünf", "three seven zero five", "00:00:0"):
        assert text in done.stdout
    assert "expected" not in done.stdout


def test_the_version_is_the_packages(run):
    """--version."""
    assert run("--version").stdout.strip()[0].isdigit()
