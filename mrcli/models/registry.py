"""The registry of a site: which adapter bundles are active, and since when.

    bundles/<sha256>/   adapter.json, adapter.safetensors, and evidence/ if there is any
    audit.jsonl         every change, a line each (`mrcli.models.audit`)
    active.json         per backbone and adapter the bundles that were activated, the last is active

The log is the truth. A change is made in the moment in which its line is in the log: the bundle
is copied before, ``active.json`` is made from the log after. A crash in between leaves an
``active.json`` that is behind; it is made again with the next change, and nobody reads anything
from it but how long the log has to be at least. Readers take no lock: the log only grows.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from mrcli.adapters.bundle import CARD_NAME, WEIGHTS_NAME, LoadedAdapter
from mrcli.adapters.records import opened, seal_of
from mrcli.adapters.tensors import require_hash
from mrcli.errors import ModelError, OutputError
from mrcli.io.atomic import write_bytes_atomically
from mrcli.io.lock import output_lock
from mrcli.io.staging import remove_leftovers, staging_folder
from mrcli.models.audit import (
    ACTIVATE,
    FORCE,
    LOG_NAME,
    ROLLBACK,
    Activation,
    Entry,
    Log,
    Stacks,
    append_entry,
    hash_after,
    parse_log,
    replayed,
)
from mrcli.models.bundle_files import LIMITS, swap
from mrcli.models.parcel import EVIDENCE, Parcel, write_parcel
from mrcli.models.reading import read_within

VARIABLE = "MRCLI_REGISTRY"
BUNDLES, STATE_NAME = "bundles", "active.json"
SCHEMA_VERSION = 1
_MAX_BYTES = 64 * 2**20  # of the log, a hundred thousand changes
_MEND = "compare it with a copy; moved away, the models act as they ship"


@dataclass(frozen=True)
class Snapshot:
    """A registry as it was read: whole, and its log without a break."""

    log: Log

    @cached_property
    def stacks(self) -> Stacks:
        """Return the activated bundles by backbone and name; the last of each is active."""
        return replayed(self.log.entries)

    def stack(self, backbone: str, name: str) -> tuple[Activation, ...]:
        """Return the activated bundles of one adapter, the last is active; none is no error."""
        return self.stacks.get((backbone, name), ())

    def active(self, backbone: str) -> dict[str, Activation]:
        """Return the active bundle of each adapter of a backbone, by name."""
        own = ((name, stack) for (owner, name), stack in self.stacks.items() if owner == backbone)
        return {name: stack[-1] for name, stack in own if stack}

    def owner(self, name: str, backbone: str | None = None) -> str:
        """Return for which backbone an adapter is active; `backbone` is the only one that counts.

        Raises `ModelError` unless it is exactly one.
        """
        active = [key for key, stack in self.stacks.items() if stack and backbone in (None, key[0])]
        own = [one for one, other in active if other == name]
        if not own:
            names = ", ".join(sorted({one for _, one in active}))
            known = f"active are {names}" if names else "none is active"
            raise ModelError(f"no adapter called {name!r} is active", hint=known)
        if len(own) > 1:
            shown = " and ".join(backbone[:12] for backbone in own)
            raise ModelError(f"{name}: for backbones {shown}", hint="choose one with --model")
        return own[0]


@dataclass(frozen=True)
class Change:
    """What was active before and after; both the same where nothing had to be done."""

    before: Activation | None
    after: Activation | None


def registry_folder() -> Path | None:
    """Return where the registry of this site lies; None where the system knows no home.

    ``MRCLI_REGISTRY``, else ``$XDG_DATA_HOME/mrcli/registry``, else
    ``~/.local/share/mrcli/registry``. Whether it is there is another question.
    """
    if named := os.environ.get(VARIABLE):
        return Path(named)
    shared = Path(os.environ.get("XDG_DATA_HOME", ""))
    try:  # a place that depends on the current folder is none, says the XDG specification
        data = shared if shared.is_absolute() else Path.home() / ".local" / "share"
    except RuntimeError:
        return None
    return data / "mrcli" / "registry"


def bundle_folder(root: Path, sha256: str) -> Path:
    """Return where the registry has a bundle."""
    return root / BUNDLES / sha256


def read_log(root: Path) -> Log:
    """Return the log, up to its first broken line; empty where there is none."""
    return parse_log(_content(root, LOG_NAME))


def read_snapshot(root: Path) -> Snapshot:
    """Return what is active; nothing where there is no registry.

    Raises `ModelError` where the log is broken, or shorter than it was once.
    """
    state = _content(root, STATE_NAME)  # first: meanwhile another run may lengthen the log
    log = read_log(root)
    if log.broken is not None:
        raise ModelError(f"the registry is broken: {log.broken.reason}", hint=_MEND)
    _require_agreement(state, log)
    return Snapshot(log)


def state_bytes(entries: Sequence[Entry]) -> bytes:
    """Return the content of ``active.json`` after some entries."""
    active: dict[str, dict[str, list[str]]] = {}
    for (backbone, name), stack in replayed(entries).items():
        if stack:
            active.setdefault(backbone, {})[name] = [one.sha256 for one in stack]
    document = {
        "schema_version": SCHEMA_VERSION,
        "sequence": len(entries),
        "log_sha256": hash_after(entries),
        "active": active,
    }
    return (json.dumps(document, sort_keys=True, indent=1) + "\n").encode("ascii")


def activate(root: Path, parcel: Parcel, one: LoadedAdapter, *, is_forced: bool = False) -> Change:
    """Make the adapter `one` of a parcel the active one of its name and backbone.

    Raises `LockedError` where another run changes the registry, `OutputError` where it cannot be
    written, `ModelError` where it is broken.
    """
    with output_lock(root):
        remove_leftovers(root)
        snapshot = read_snapshot(root)
        _store(root, one.sha256, parcel)
        backbone = one.card.backbone_sha256
        before = _last(snapshot.stack(backbone, one.name))
        if before is not None and before.sha256 == one.sha256:
            _write_state(root, snapshot.log.entries)  # a crash may have left it behind
            return Change(before, before)
        action = FORCE if is_forced else ACTIVATE
        entry = snapshot.log.next_entry(action, one.name, one.sha256, backbone)
        _commit(root, snapshot.log, entry)
        return Change(before, Activation(entry.bundle_sha256, entry.time))


def roll_back(root: Path, name: str, backbone: str | None = None) -> Change:
    """Take back the last activation of an adapter: the one before is active again, or none.

    Raises `ModelError` where none is active, and as `activate`.
    """
    read_snapshot(root).owner(name, backbone)  # else a lock would make a registry to say no
    with output_lock(root):
        snapshot = read_snapshot(root)
        owner = snapshot.owner(name, backbone)
        stack = snapshot.stack(owner, name)
        entry = snapshot.log.next_entry(ROLLBACK, name, stack[-1].sha256, owner)
        _commit(root, snapshot.log, entry)
        return Change(stack[-1], _last(stack[:-1]))


def require_bundle(root: Path, sha256: str) -> None:
    """Raise `ModelError` unless the registry has a bundle, every byte as it was activated."""
    folder, short = bundle_folder(root, sha256), sha256[:12]
    card, weights = (read_within(folder, name, LIMITS[name]) for name in (CARD_NAME, WEIGHTS_NAME))
    record = opened(card, f"{short}/{CARD_NAME}")
    require_hash(weights, record.digest("weights_sha256"), f"{short}/{WEIGHTS_NAME}")
    if seal_of(card) != sha256:
        raise ModelError(f"{short}: the folder holds another bundle")


def _content(root: Path, name: str) -> bytes:
    return read_within(root, name, _MAX_BYTES) if os.path.lexists(root / name) else b""


def _require_agreement(state: bytes, log: Log) -> None:
    """Accept an ``active.json`` that is missing, or as it was after some entry of the log."""
    if not state:
        return
    try:
        sequence = json.loads(state)["sequence"]
    except (ValueError, KeyError, TypeError, RecursionError):
        sequence = None
    n_entries = len(log.entries)
    if isinstance(sequence, int) and sequence > n_entries:
        raise ModelError(
            f"the registry is broken: {LOG_NAME} has {n_entries} lines, {STATE_NAME} knows of "
            f"{sequence}",
            hint=_MEND,
        )
    if not isinstance(sequence, int) or state != state_bytes(log.entries[: max(0, sequence)]):
        raise ModelError(
            f"the registry is broken: {STATE_NAME} is not what {LOG_NAME} makes it", hint=_MEND
        )


def _store(root: Path, sha256: str, parcel: Parcel) -> None:
    """Copy a bundle unless it is there as it should be; evidence is added, never replaced."""
    folder = bundle_folder(root, sha256)
    with staging_folder(root) as stage:
        write_parcel(parcel, stage / "new")
        if not _is_there(root, sha256):
            folder.parent.mkdir(exist_ok=True)
            swap(stage, folder)
        elif parcel.evidence and not (folder / EVIDENCE).exists():
            (stage / "new" / EVIDENCE).rename(folder / EVIDENCE)


def _is_there(root: Path, sha256: str) -> bool:
    try:
        require_bundle(root, sha256)
    except ModelError:  # absent, or damaged: then it is replaced
        return False
    return True


def _commit(root: Path, log: Log, entry: Entry) -> None:
    append_entry(root / LOG_NAME, entry, log.n_bytes)
    try:
        _write_state(root, (*log.entries, entry))
    except OutputError as error:
        raise OutputError(
            f"{entry.adapter}: {entry.action} is done and in {LOG_NAME}; {error.message}",
            hint=f"make space: the next change makes {STATE_NAME} again",
        ) from error


def _write_state(root: Path, entries: Sequence[Entry]) -> None:
    write_bytes_atomically(root / STATE_NAME, state_bytes(entries), overwrite=True)


def _last(stack: tuple[Activation, ...]) -> Activation | None:
    return stack[-1] if stack else None
