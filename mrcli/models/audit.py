"""The audit log of a registry, ``audit.jsonl``: a line per change, each bound to the one before.

A line states the SHA-256 of the bytes of the line before it, without the end of the line; the
first states zeros. So no line can be changed, removed or added between others without breaking
the one after it; whether lines are missing at the end, ``active.json`` tells. What stands after
the last end of a line was cut off by a crash and never happened. No line names a person.
"""

import errno
import json
import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path

from mrcli.adapters.records import Record, sha256_of_bytes
from mrcli.errors import ModelError, OutputError
from mrcli.provenance import program_version

LOG_NAME = "audit.jsonl"
ACTIVATE, FORCE, ROLLBACK = "activate", "activate-unaccepted", "rollback"
ACTIONS = (ACTIVATE, FORCE, ROLLBACK)
BEFORE_THE_FIRST = "0" * 64
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00")


@dataclass(frozen=True)
class Entry:
    """One change: what was activated, or what was taken back."""

    sequence: int  # from 1
    time: str  # UTC, ISO 8601, to the second
    action: str  # one of ACTIONS
    adapter: str  # "Center9/Vida"
    bundle_sha256: str
    backbone_sha256: str
    previous: str  # SHA-256 of the line before
    version: str  # of the program

    def line(self) -> bytes:
        """Return the line, without its end; there is one way to write it."""
        return json.dumps(asdict(self), sort_keys=True).encode("ascii")


_KEYS = tuple(field.name for field in fields(Entry))


@dataclass(frozen=True)
class Activation:
    """A bundle that was activated, and when."""

    sha256: str
    time: str


# by backbone and name of the adapter; the last one is active
Stacks = Mapping[tuple[str, str], tuple[Activation, ...]]


@dataclass(frozen=True)
class BrokenLine:
    """Where a log stops to be what was written, and why."""

    number: int  # from 1
    reason: str


@dataclass(frozen=True)
class Log:
    """The entries before the first broken line; `n_bytes` is their length, ends included."""

    entries: tuple[Entry, ...] = ()
    n_bytes: int = 0
    broken: BrokenLine | None = None

    @property
    def last_sha256(self) -> str:
        """Return the hash that the next line states as `previous`."""
        return hash_after(self.entries)

    def next_entry(self, action: str, adapter: str, bundle: str, backbone: str) -> Entry:
        """Return the entry that would follow, now."""
        return Entry(
            sequence=len(self.entries) + 1,
            time=datetime.now(UTC).isoformat(timespec="seconds"),
            action=action,
            adapter=adapter,
            bundle_sha256=bundle,
            backbone_sha256=backbone,
            previous=self.last_sha256,
            version=program_version(),
        )


def hash_after(entries: Iterable[Entry]) -> str:
    """Return the SHA-256 of the line of the last entry, zeros where there is none."""
    *_, last = (None, *entries)
    return BEFORE_THE_FIRST if last is None else sha256_of_bytes(last.line())


def parse_log(content: bytes) -> Log:
    """Return the entries of a log, up to its first broken line."""
    entries: list[Entry] = []
    stacks: dict[tuple[str, str], tuple[Activation, ...]] = {}
    previous, n_bytes = BEFORE_THE_FIRST, 0
    for line in content.split(b"\n")[:-1]:
        number = len(entries) + 1
        try:
            entry = _entry(line, number, previous)
            _advance(stacks, entry)
        except ModelError as error:
            return Log(tuple(entries), n_bytes, BrokenLine(number, error.message))
        entries.append(entry)
        previous, n_bytes = sha256_of_bytes(line), n_bytes + len(line) + 1
    return Log(tuple(entries), n_bytes)


def first_broken_line(content: bytes) -> BrokenLine | None:
    """Return where a log stops to be what was written, None where it is whole."""
    return parse_log(content).broken


def replayed(entries: Iterable[Entry]) -> Stacks:
    """Return what is active after some entries, and what would be after taking it back."""
    stacks: dict[tuple[str, str], tuple[Activation, ...]] = {}
    for entry in entries:
        _advance(stacks, entry)
    return stacks


def append_entry(path: Path, entry: Entry, n_bytes: int) -> None:
    """Add a line after the first `n_bytes` of the log and flush it to the disk.

    What a crash left half-written behind these goes. Raises `OutputError`, and then the log is as
    it was.
    """
    content = entry.line() + b"\n"
    try:
        with path.open("ab", buffering=0) as file:
            try:
                file.truncate(n_bytes)
                _require_all(file.write(content), len(content))
                os.fsync(file.fileno())
            except BaseException:
                with suppress(OSError):
                    file.truncate(n_bytes)
                raise
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise OutputError(
            f"{path.name}: cannot be written: {reason}",
            hint="choose a folder that is writable and has space",
        ) from error


def _require_all(n_written: int, n_needed: int) -> None:
    if n_written < n_needed:  # a disk that becomes full takes a part, without an error
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _entry(line: bytes, number: int, previous: str) -> Entry:
    record = _record(line, number)
    record.require_keys(_KEYS)
    texts = {key: record.text(key) for key in ("time", "adapter", "version")}
    digests = {key: record.digest(key) for key in ("bundle_sha256", "backbone_sha256", "previous")}
    entry = Entry(
        sequence=record.whole("sequence", number, number),
        action=record.choice("action", ACTIONS),
        **texts,
        **digests,
    )
    if entry.previous != previous:
        raise ModelError(f"{record.where}: does not follow from the line before it")
    if not _TIME.fullmatch(entry.time) or entry.line() != line:
        raise ModelError(f"{record.where}: is not as this program writes it")
    return entry


def _record(line: bytes, number: int) -> Record:
    where = f"{LOG_NAME}, line {number}"
    try:
        facts = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{where}: no JSON") from error
    if not isinstance(facts, dict):
        raise ModelError(f"{where}: no JSON object")
    return Record(where, facts)


def _advance(stacks: dict[tuple[str, str], tuple[Activation, ...]], entry: Entry) -> None:
    key = (entry.backbone_sha256, entry.adapter)
    stack = stacks.get(key, ())
    if entry.action != ROLLBACK:
        stacks[key] = (*stack, Activation(entry.bundle_sha256, entry.time))
    elif stack and stack[-1].sha256 == entry.bundle_sha256:
        stacks[key] = stack[:-1]
    else:
        raise ModelError(
            f"{LOG_NAME}, line {entry.sequence}: takes back {entry.bundle_sha256[:12]}, "
            "which is not active"
        )
