"""How much memory engines may take here, inside and outside of control groups."""

import os

import pytest

from whisper_router.supervisor.machine_memory import SHARE, usable_bytes

PHYSICAL = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def test_without_control_groups_it_is_a_share_of_the_machine(tmp_path):
    """Some is left for the rest."""
    assert usable_bytes(tmp_path) == round(SHARE * PHYSICAL)


@pytest.mark.parametrize(("name", "text"), [("memory.max", "max"), ("memory.high", "strange")])
def test_a_control_group_without_a_limit_does_not_count(tmp_path, name, text):
    """`max` is how the kernel writes that there is none."""
    (tmp_path / name).write_text(f"{text}\n")
    assert usable_bytes(tmp_path) == round(SHARE * PHYSICAL)


def test_the_smallest_limit_counts(tmp_path):
    """`MemoryHigh=` slows a service down before `MemoryMax=` ends it."""
    (tmp_path / "memory.max").write_text(f"{1 << 30}\n")
    (tmp_path / "memory.high").write_text(f"{1 << 29}\n")
    assert usable_bytes(tmp_path) == round(SHARE * (1 << 29))
