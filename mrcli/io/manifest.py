"""The record of finished scans, ``manifest.jsonl``: the only thing that resuming trusts.

One line is one scan; lines are only ever added. A line that was cut off by a crash is not a
record: its scan is done again.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path, PurePosixPath

from mrcli.errors import OutputError
from mrcli.provenance import sha256_of

MANIFEST_NAME = "manifest.jsonl"


@dataclass(frozen=True)
class ManifestEntry:
    """A finished scan; `options_sha256` covers all that decides the result beside the input."""

    input: str  # relative, with forward slashes
    input_sha256: str
    options_sha256: str
    status: str
    outputs: Mapping[str, str]  # path below the output folder -> sha256

    def line(self) -> str:
        """Return the entry as one line of JSON."""
        return json.dumps(asdict(self), sort_keys=True, allow_nan=False)


def append_entry(manifest_path: Path, entry: ManifestEntry) -> None:
    """Add one line and flush it to the disk; raises `OutputError`."""
    try:
        manifest_path.parent.mkdir(parents=True, exist_ok=True)
        with manifest_path.open("ab+") as file:
            start = "" if _ends_in_a_line(file.fileno()) else "\n"
            file.write(f"{start}{entry.line()}\n".encode())
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise OutputError(
            f"{manifest_path.name}: cannot be written: {reason}",
            hint="choose a folder that is writable and has space",
        ) from error


def _ends_in_a_line(descriptor: int) -> bool:
    if not os.fstat(descriptor).st_size:
        return True
    os.lseek(descriptor, -1, os.SEEK_END)
    return os.read(descriptor, 1) == b"\n"


def read_manifest(manifest_path: Path) -> dict[str, ManifestEntry]:
    """Return the last entry of each input; none where there is no manifest yet."""
    if not manifest_path.exists():
        return {}
    try:
        lines = manifest_path.read_bytes().splitlines()
    except OSError as error:
        raise OutputError(f"{manifest_path.name}: cannot be read") from error
    entries = [entry for entry in map(_parsed, lines) if entry is not None]
    return {entry.input: entry for entry in entries}


def _parsed(line: bytes) -> ManifestEntry | None:
    try:
        facts = json.loads(line)
    except ValueError:  # cut off, or not UTF-8
        return None
    names = {field.name for field in fields(ManifestEntry)}
    if not isinstance(facts, dict) or not names <= facts.keys():
        return None
    outputs = facts.pop("outputs")
    texts = {name: facts[name] for name in names - {"outputs"}}
    if not isinstance(outputs, dict):
        return None
    if not all(isinstance(text, str) for text in (*texts.values(), *outputs.values())):
        return None
    return ManifestEntry(**texts, outputs=outputs)


def is_done(
    entry: ManifestEntry | None, out_dir: Path, input_sha256: str, options_sha256: str
) -> bool:
    """Say whether the scan need not be done again: same input, same options, outputs intact."""
    return (
        entry is not None
        and entry.status == "done"
        and entry.input_sha256 == input_sha256
        and entry.options_sha256 == options_sha256
        and bool(entry.outputs)
        and all(_is_intact(out_dir, path, digest) for path, digest in entry.outputs.items())
    )


def _is_intact(out_dir: Path, path: str, digest: str) -> bool:
    relative = PurePosixPath(path)
    if relative.is_absolute() or ".." in relative.parts:
        return False
    file = out_dir / relative
    return file.is_file() and sha256_of(file) == digest
