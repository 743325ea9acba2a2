"""Certificates of our own, made by openssl as docs/operations.md says."""

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Files:
    """A certificate and its key."""

    certificate: Path
    key: Path


def make_certificate(
    directory: Path, name: str = "one", *, days: int = 30, of: str = "localhost"
) -> Files:
    """Write a self-signed certificate for this machine, or for another `of` this name."""
    made = Files(directory / f"{name}.pem", directory / f"{name}-key.pem")
    kind = ("-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    ours = ",IP:127.0.0.1" if of == "localhost" else ""
    names = ("-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{of}{ours}")
    files = ("-keyout", made.key, "-out", made.certificate)
    openssl("req", *kind, *names, *files, "-days", days)
    return made


def openssl(*arguments: object) -> None:
    """Run openssl."""
    subprocess.run(
        ["openssl", *map(str, arguments)], check=True, capture_output=True, text=True, timeout=30
    )
