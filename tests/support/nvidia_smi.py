"""A program that answers as nvidia-smi does, about devices that a test describes in a file.

A machine with such a GPU is needed to try the real one. The file is JSON, written by `Devices`.
"""

import json
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path

SCRIPT = """#!{python}
import json, os, pathlib, sys, time
state = json.loads(pathlib.Path({state!r}).read_text())
pathlib.Path({log!r}).open("a").write(sys.argv[1] + "\\n")
while os.path.exists({hold!r}):
    time.sleep(0.01)
if state["broken"]:
    sys.exit("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.")
if sys.argv[2:] != ["--format=csv,noheader,nounits"]:
    sys.exit("ERROR: Option is not recognized.")
asked = sys.argv[1]
if asked == "--query-gpu=index,uuid,memory.total,memory.used,name":
    for index, (total, used) in enumerate(state["memory_mib"]):
        print(f"{{index}}, GPU-{{index}}, {{total}}, {{used}}, NVIDIA Test, 80GB")
elif asked == "--query-compute-apps=pid,gpu_uuid,used_gpu_memory":
    for pid, index, used in state["use_mib"]:
        print(f"{{pid}}, GPU-{{index}}, {{used}}")
else:
    sys.exit(f"ERROR: Field is not recognized: {{asked}}")
"""


@dataclass
class Devices:
    """What the program says: (total, used) of each device, and (pid, device, used) of processes."""

    folder: Path
    memory_mib: list[tuple[int, int]] = field(default_factory=list)
    use_mib: list[tuple[int, int, int | str]] = field(default_factory=list)
    broken: bool = False

    @property
    def program(self) -> str:
        return str(self.folder / "nvidia-smi")

    @property
    def calls(self) -> list[str]:
        """What it was asked."""
        log = self.folder / "calls"
        return log.read_text().splitlines() if log.exists() else []

    @property
    def hold(self) -> Path:
        """While there is this file the program says nothing."""
        return self.folder / "hold"

    def write(self) -> None:
        """Have the program say what stands here now."""
        state, program = self.folder / "state.json", Path(self.program)
        values = asdict(self)
        values.pop("folder")
        fresh = state.with_suffix(".new")
        fresh.write_text(json.dumps(values))
        fresh.replace(state)
        if not program.exists():
            log = str(self.folder / "calls")
            names = {"state": str(state), "log": log, "hold": str(self.hold)}
            program.write_text(SCRIPT.format(python=sys.executable, **names))
            program.chmod(0o755)
