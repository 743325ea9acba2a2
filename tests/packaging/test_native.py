"""tools/native.sh and tools/whisper-server.sh: what they ask pip for, and what they say at once.

What takes a compiler's minute and a network is left to tests/bench/bench_throughput.py.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[2] / "tools"
CONSTRAINTS = TOOLS.parent / "constraints.txt"
REQUIREMENT = next(
    line for line in CONSTRAINTS.read_text().splitlines() if line.startswith("pywhispercpp==")
)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what the scripts read, so that nothing is built into the repository."""
    root = tmp_path / "checkout"
    shutil.copytree(TOOLS, root / "tools", ignore=shutil.ignore_patterns("phonebook"))
    shutil.copy(CONSTRAINTS, root)
    return root


def program(path: Path, text: str) -> Path:
    """Write a shell script that runs as a program."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def run(script: Path, *arguments: str | Path, **variables: str):
    """Run a script; compilers always work, unless `variables` say otherwise."""
    return subprocess.run(
        [script, *arguments],
        env={"PATH": os.environ["PATH"], "CC": "true", "CXX": "true"} | variables,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """A Python environment whose pip only notes what it is asked for."""
    folder = tmp_path / "environment"
    (folder / "include").mkdir(parents=True)
    (folder / "include" / "Python.h").touch()
    program(
        folder / "bin" / "python",
        f"""case "$*" in
        *sysconfig*) echo "{folder}/include" ;;
        *) echo "$*" >> "{folder}/asked"; env > "{folder}/variables" ;;
        esac""",
    )
    return folder


def test_native_builds_the_same_version_from_source(checkout, environment):
    """Forced, without other packages, and neither from nor into pip's cache."""
    done = run(checkout / "tools" / "native.sh", environment)
    assert done.returncode == 0, done.stderr
    install, shown = (environment / "asked").read_text().splitlines()
    assert install.endswith(REQUIREMENT)
    for flag in ("--no-binary pywhispercpp", "--force-reinstall", "--no-deps", "--no-cache-dir"):
        assert flag in install
    assert "whisper_print_system_info" in shown
    variables = (environment / "variables").read_text().splitlines()
    assert {"GGML_NATIVE=ON", "GGML_LLAMAFILE=ON", "CMAKE_BUILD_WITH_INSTALL_RPATH=ON"} <= {
        *variables
    }
    way_back = done.stdout.splitlines()[-1]
    assert way_back.startswith("Back to the wheel: ")
    assert way_back.endswith(f"--force-reinstall --no-deps {REQUIREMENT}")


def test_options_of_the_build_come_from_the_environment(checkout, environment):
    """Also those that the script has an opinion of."""
    run(checkout / "tools" / "native.sh", environment, GGML_VULKAN="ON", GGML_NATIVE="OFF")
    variables = (environment / "variables").read_text().splitlines()
    assert {"GGML_VULKAN=ON", "GGML_NATIVE=OFF"} <= {*variables}


@pytest.mark.parametrize(
    ("variables", "missing"), [({"CC": "no-such-cc"}, "no-such-cc"), ({"CXX": "false"}, "false")]
)
@pytest.mark.parametrize("script", ["native.sh", "whisper-server.sh"])
def test_without_a_compiler_it_says_what_to_install(
    checkout, environment, script, variables, missing
):
    """Before anything is downloaded."""
    argument = environment if script == "native.sh" else "native"
    done = run(checkout / "tools" / script, argument, **variables)
    assert done.returncode == 1
    assert f"({missing} does not work)" in done.stderr
    assert "apt-get install g++" in done.stderr
    assert not (environment / "asked").exists()


def test_native_without_python_headers_says_what_to_install(checkout, environment):
    """Debian's Python comes without them."""
    (environment / "include" / "Python.h").unlink()
    done = run(checkout / "tools" / "native.sh", environment)
    assert done.returncode == 1
    assert "python3-dev" in done.stderr


def test_native_without_an_environment_says_so(checkout, tmp_path):
    """A folder that holds none."""
    done = run(checkout / "tools" / "native.sh", tmp_path)
    assert done.returncode == 1
    assert f"There is no {tmp_path}/bin/python" in done.stderr


def test_whisper_server_of_an_unknown_kind_is_a_usage_error(checkout):
    """Neither a build nor a path."""
    done = run(checkout / "tools" / "whisper-server.sh", "fast")
    assert (done.returncode, done.stdout) == (2, "")
    assert "usage: tools/whisper-server.sh avx2|native" in done.stderr


def test_a_build_of_whisper_server_that_fails_shows_its_end(checkout, environment):
    """And leaves neither a program nor its work behind."""
    broken = program(environment / "bin" / "python", "echo no venv here >&2; exit 3")
    done = run(checkout / "tools" / "whisper-server.sh", "native", PYTHON=str(broken))
    assert (done.returncode, done.stdout) == (1, "")
    assert "no venv here" in done.stderr
    assert [path.name for path in (checkout / "build" / "whisper-server").rglob("*")] == ["native"]


def test_a_whisper_server_that_was_built_is_not_built_again(checkout, environment):
    """The path is printed at once; another version or other flags make it anew."""
    python = program(
        environment / "bin" / "python",
        'mkdir -p "$3/bin"; for name in python cmake; do\n'
        'cp "$0.inner" "$3/bin/$name"; done; echo built >> "$0.count"',
    )
    program(  # pip, cmake and what they leave: a source distribution, a program
        Path(f"{python}.inner"),
        """case "$*" in
        *download*) mkdir "$9/s"; touch "$9/s/f"; tar -czf "$9/pywhispercpp-1.tar.gz" -C "$9" s ;;
        *--build*) mkdir -p "$2/bin"; printf '#!/bin/sh\\n' > "$2/bin/whisper-server"
            chmod 755 "$2/bin/whisper-server" ;;
        esac""",
    )
    count = Path(f"{python}.count")
    script = checkout / "tools" / "whisper-server.sh"
    expected = checkout / "build" / "whisper-server" / "native" / "whisper-server"
    for builds in ("built\n", "built\n"):
        done = run(script, "native", PYTHON=str(python))
        assert (done.returncode, done.stdout) == (0, f"{expected}\n"), done.stderr
        assert count.read_text() == builds
    (checkout / "constraints.txt").write_text("pywhispercpp==9.9\n")
    assert run(script, "native", PYTHON=str(python)).returncode == 0
    assert count.read_text() == "built\nbuilt\n"
