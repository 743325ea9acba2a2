"""Limits of descriptors, in processes of their own: a hard limit that was lowered stays low."""

import subprocess
import sys

import pytest

from whisper_router.descriptors import FileLimits

CODE = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), int(sys.argv[2])))
from whisper_router.descriptors import file_limits, raise_file_limit
before, now = file_limits(), raise_file_limit()
print(before.soft, now.soft, now.hard, now.is_low, now.connections)
"""


def raised(soft: int, hard: int) -> list[str]:
    command = [sys.executable, "-c", CODE, str(soft), str(hard)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def test_the_soft_limit_becomes_the_hard_one():
    """As systemd and service managers expect of who needs many descriptors."""
    assert raised(256, 5064) == ["256", "5064", "5064", "False", "2500"]


def test_a_limit_that_is_high_already_stays():
    """There is nothing to raise."""
    assert raised(264, 264) == ["264", "264", "264", "True", "100"]


@pytest.mark.parametrize(("soft", "connections"), [(10, 1), (64, 1), (1024, 480), (65536, 32736)])
def test_each_connection_may_have_a_file_open(soft, connections):
    """And engines, media workers and the event loop need some."""
    assert FileLimits(soft=soft, hard=soft).connections == connections
