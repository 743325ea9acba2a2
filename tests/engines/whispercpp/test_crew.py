"""How forked workers share the cores."""

import json
import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).parents[2] / "support" / "whispercpp_crew.py"


def test_cores_are_shared_by_those_who_compute():
    """All for one; a killed one takes none along; more workers than cores have a thread each."""
    output = subprocess.check_output([sys.executable, PROGRAM], timeout=30)
    assert json.loads(output) == [4, 2, 4, 1]
