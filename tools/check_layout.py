"""Fails when a module has no test file, or when something grew beyond what fits a head.

The limits are those of the style guide: a file is looked at again at 300 lines, a function is
split at 60.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60

NEEDS_NO_TEST = {
    "__init__.py": "package marker",
    "domain.py": "values without behaviour of their own",
    "lease.py": "values without behaviour of their own",
    "deps.py": "values without behaviour of their own",
}

WHOLE = ROOT / "tests" / "whole"
COMMANDS = {  # modules that are one half of a command
    "model_files": "models",
    "transcribe_local": "transcribe",
    "transcribe_remote": "transcribe",
}


def main() -> int:
    """Print every finding; 1 when there is one."""
    findings = list(check())
    for finding in findings:
        print(finding, file=sys.stderr)
    return 1 if findings else 0


def check() -> Iterator[str]:
    """Yield a line for each module without a test, long file and long function."""
    for package, tests in (
        (ROOT / "router" / "whisper_router", ROOT / "tests"),
        (ROOT / "engines" / "whisper_router_engines", ROOT / "tests" / "engines"),
    ):
        for module in sorted(package.rglob("*.py")):
            yield from sizes(module)
            if module.name not in NEEDS_NO_TEST and not has_test(module, package, tests):
                yield f"{module.relative_to(ROOT)}: no test file mirrors it"


def has_test(module: Path, package: Path, tests: Path) -> bool:
    """Return whether tests/<package>/test_<module>.py exists, or a test file names the module.

    What a user types or an operator runs is tested as the whole program, in tests/whole.
    """
    relative = module.relative_to(package)
    if (tests / relative.parent / f"test_{module.stem}.py").is_file():
        return True
    if relative.parts[0] == "commands":
        return f'run("{COMMANDS.get(module.stem, module.stem)}"' in read(WHOLE / "test_cli.py")
    if len(relative.parts) == 1 and (WHOLE / f"test_{module.stem}.py").is_file():
        return True
    dotted = f"{package.name}.{'.'.join(relative.with_suffix('').parts)}"
    return any(dotted in read(test) for test in (ROOT / "tests").rglob("*.py"))


def read(path: Path) -> str:
    """Return the text of a source file."""
    return path.read_text(encoding="utf-8")


def sizes(module: Path) -> Iterator[str]:
    """Yield a line for the file and for each function that is too long."""
    text = read(module)
    where = module.relative_to(ROOT)
    if (lines := text.count("\n")) > MAX_FILE_LINES:
        yield f"{where}: {lines} lines (limit {MAX_FILE_LINES})"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > MAX_FUNCTION_LINES:
                yield f"{where}:{node.lineno}: {node.name} has {length} lines"


if __name__ == "__main__":
    sys.exit(main())
