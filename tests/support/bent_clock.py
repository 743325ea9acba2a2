"""A wall clock that jumps, for one program and all that it starts."""

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

SOURCE = Path(__file__).with_name("bent_clock.c")
COMPILE_S = 60.0
OFFSET_BYTES = 8


class BentClock:
    """The clock of programs that are started with `env`; it is right until it jumps."""

    def __init__(self, directory: Path) -> None:
        """Compile what bends it into `directory`; `exists` tells whether there is a compiler."""
        self._offset, library = directory / "clock", directory / "bent_clock.so"
        self._offset.write_bytes(bytes(OFFSET_BYTES))
        compiler = shutil.which("cc")
        self.exists = compiler is not None
        self.env: Mapping[str, str] = {}
        if compiler is not None:
            command = [compiler, "-shared", "-fPIC", "-O2", "-o", str(library), str(SOURCE)]
            subprocess.run(command, check=True, timeout=COMPILE_S)
            self.env = {"LD_PRELOAD": str(library), "BENT_CLOCK": str(self._offset)}

    def jump(self, seconds: int) -> None:
        """Let the clock be so far from the right time from now on."""
        with self._offset.open("r+b", buffering=0) as file:  # the programs see this very file
            file.write(seconds.to_bytes(OFFSET_BYTES, "little", signed=True))
