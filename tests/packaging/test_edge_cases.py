"""docs/edge-cases.md names tests that exist."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
TEXT = (TESTS.parent / "docs" / "edge-cases.md").read_text("utf-8")
CASES, _, RULES = TEXT.partition("## Rules")
CASE_COUNT = 30


def rows(text: str) -> list[list[str]]:
    """Return the cells of each row of the table."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]


def named(cell: str) -> list[str]:
    """Return the tests that a cell names, and make sure that it holds nothing else."""
    found = re.findall(r"`([^`]+)`", cell)
    assert cell == " ".join(f"`{name}`" for name in found)
    return found


@cache
def defined(path: Path) -> frozenset[str]:
    """Return the names of the tests in a file."""
    tree = ast.parse(path.read_text("utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(node.name for node in tree.body if isinstance(node, kinds))


@pytest.mark.parametrize("row", rows(CASES) + rows(RULES), ids=lambda row: row[0])
def test_every_test_that_is_named_exists(row):
    """A case whose test was renamed or deleted would pass for proven."""
    names = named(row[-1])
    missing = []
    for name in names:
        file, _, function = name.partition("::")
        if not (TESTS / file).is_file() or function not in defined(TESTS / file):
            missing.append(name)
    assert names
    assert missing == []


def test_every_case_is_there_once():
    """In their order."""
    assert [row[0] for row in rows(CASES)] == [str(number + 1) for number in range(CASE_COUNT)]
