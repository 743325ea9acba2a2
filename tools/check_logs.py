"""Fails when a log or a trace that the tests have produced holds speech or a key.

    tools/check_logs.py DIRECTORY

`make test` has every server of the tests log at `debug` into that directory
(tests/support/kept_logs.py). Looked for are three words in succession of those that are spoken in
the tests, the prompts, the keys that servers were given (`secrets.txt` beside the logs), and
whatever looks like a key. A key that the logging itself has masked is a finding, too: it should
not have come as far.
"""

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path

WORDS = re.findall(
    r"\w+",
    """
    zero one two three four five six seven eight nine alpha bravo charlie delta echo foxtrot golf
    hotel india juliet kilo lima mike november oscar papa quebec romeo sierra tango uniform victor
    whiskey xray yankee zulu red green blue yellow black white orange purple start stop open close
    left right yes no hello world
    null eins zwei drei vier fünf sechs sieben acht neun
    cero uno dos tres cuatro cinco seis siete ocho nueve
    zéro un deux trois quatre cinq six sept huit neuf
    """,
)
"""What the demo model knows: all speech in the tests is made of it."""
PROMPTS = ("secret prompt", "een geheim", "één")
IN_A_ROW = 3
SECRETS = "secrets.txt"
SHORTEST_SECRET = 7
SHOWN_CHARACTERS = 60

_BETWEEN = r"(?:\\n|[\s.,;:!?\"'()\[\]{}|-]){1,12}"
_WORD = rf"(?:{'|'.join(sorted(WORDS, key=len, reverse=True))}|w\d+)"
SPEECH = re.compile(
    rf"(?<![\w-]){_WORD}(?:{_BETWEEN}{_WORD}){{{IN_A_ROW - 1},}}(?![\w-])", re.IGNORECASE
)
KEY = re.compile(
    r"(?<![A-Za-z0-9])(?:wr-[A-Za-z0-9_-]{20,}|hf_[A-Za-z0-9]{20,}|sk-[A-Za-z0-9_-]{16,}|whsec_\w{8,}"
    r"|ek_[A-Za-z0-9_-]{16,})|\bbearer +(?!\*)[\w.~+/-]{6,}",
    re.IGNORECASE,
)
MASKED = re.compile(r"(?:bearer|basic)[ +=:]+\*{3}|(?:wr-|sk-|ek_|hf_|whsec_)\*{3}", re.IGNORECASE)
_ESCAPED = re.compile(r"\\u([0-9a-f]{4})")


def main(arguments: list[str] | None = None) -> int:
    """Print each finding with its file and line; 1 if there is one, or nothing to look at."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path)
    directory: Path = parser.parse_args(arguments).directory
    files = sorted(path for path in directory.glob("**/*.log") if path.stat().st_size)
    if not files:
        print(f"{directory} holds no log: nothing was checked", file=sys.stderr)
        return 1
    secrets = read_secrets(directory)
    findings = [finding for path in files for finding in check(path, secrets)]
    print("\n".join(findings), end="\n" if findings else "")
    size = sum(path.stat().st_size for path in files) / 2**20
    print(f"{len(files)} logs, {size:.1f} MiB, {len(secrets)} keys: {len(findings)} findings")
    return 1 if findings else 0


def read_secrets(directory: Path) -> list[str]:
    """Return the keys that servers were given; a word of a few letters could mean anything."""
    path = directory / SECRETS
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return sorted({line for line in lines if len(line) >= SHORTEST_SECRET})


def check(path: Path, secrets: list[str]) -> Iterator[str]:
    """Yield `file:line: what` for each line that should not be there."""
    known = [re.escape(text) for text in (*secrets, *PROMPTS)]
    told = re.compile(rf"(?<![\w-])(?:{'|'.join(known)})(?![\w-])")
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, 1):
            text = _ESCAPED.sub(lambda found: chr(int(found[1], 16)), line)
            for what, pattern in (
                ("speech", SPEECH),
                ("a key or a prompt", told),
                ("what looks like a key", KEY),
                ("a key that was masked", MASKED),
            ):
                if found := pattern.search(text):
                    around = text[max(0, found.start() - 30) : found.start() + SHOWN_CHARACTERS]
                    yield f"{path}:{number}: {what}: …{around.strip()}…"


if __name__ == "__main__":
    sys.exit(main())
