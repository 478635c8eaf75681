"""Finds the scans below files and folders, without opening more of them than their headers."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mrcli.errors import InputError
from mrcli.io.files import require_file
from mrcli.io.interface import Match
from mrcli.io.registry import all_readers

SUFFIXES = frozenset({".mat", ".h5", ".hdf5", ".mrd", ".cfl", ".npy", ".npz"})


@dataclass(frozen=True, order=True)
class Candidate:
    """A file that may be a scan; `relative` is its path below the folder that was given."""

    path: Path
    relative: Path


def discover(paths: Sequence[Path]) -> tuple[Candidate, ...]:
    """List the scans at `paths`, sorted within each folder, each file once, each name once.

    A file given by name is always a candidate. In folders hidden files and folders are skipped, as
    are files of other suffixes and masks and images in the containers of k-space. What cannot be
    used stays in the list, so that it is reported when it is opened while the others are done:
    damaged files, links that lead nowhere, folders that cannot be read, paths that are missing.

    Raises:
        InputError: every path is missing, unreadable, or a folder without k-space.

    """
    found: dict[str, Candidate] = {}
    refusals: list[InputError] = []
    for path in paths:
        try:
            for candidate in _at(path):
                found.setdefault(os.path.realpath(candidate.path), candidate)
        except InputError as refusal:
            refusals.append(refusal)
            found.setdefault(str(path), Candidate(path, _own_name(path)))
    if refusals and len(refusals) == len(paths):
        raise refusals[0]
    return _told_apart(tuple(found.values()))


def _told_apart(candidates: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
    if len({candidate.relative for candidate in candidates}) == len(candidates):
        return candidates
    return _below_common_parent(candidates)


def _below_common_parent(candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """Tell scans of the same name in different folders apart: ``P001/cine``, ``P002/cine``."""
    absolute = [Path(os.path.abspath(candidate.path)) for candidate in candidates]  # noqa: PTH100
    parent = os.path.commonpath(path.parent for path in absolute)
    return tuple(
        Candidate(candidate.path, path.relative_to(parent))
        for candidate, path in zip(candidates, absolute, strict=True)
    )


def _at(path: Path) -> tuple[Candidate, ...]:
    if path.is_dir():
        return _below(path)
    require_file(path)
    return (Candidate(path, Path(path.name)),)


def _own_name(path: Path) -> Path:
    """Return the last name of a path; ``..`` has none of its own."""
    has_name = path.name.strip(".") != ""
    return Path(path.name if has_name else path.resolve().name or "folder")


def _below(folder: Path) -> tuple[Candidate, ...]:
    errors: list[OSError] = []
    files = [path for path in _files(folder, errors.append) if _may_be_scan(path)]
    unreadable = [Path(error.filename) for error in errors]
    if folder in unreadable:
        raise InputError(f"{folder}: folder cannot be read", hint="check its permissions")
    candidates = sorted(Candidate(path, path.relative_to(folder)) for path in files + unreadable)
    if not candidates:
        raise InputError(
            f"no k-space in {folder}", hint=f"looked for files ending in {', '.join(_suffixes())}"
        )
    return tuple(candidates)


def _suffixes() -> list[str]:
    return sorted(SUFFIXES)


def _files(folder: Path, on_error: Callable[[OSError], None]) -> Iterator[Path]:
    """Yield all visible files; each real folder is entered once, however many links lead to it."""
    entered: set[Path] = set()
    for root, folders, names in os.walk(folder, followlinks=True, onerror=on_error):
        real = Path(root).resolve()
        if real in entered:
            folders.clear()
            continue
        entered.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(root, name) for name in names if not name.startswith("."))


def _may_be_scan(path: Path) -> bool:
    suffix = path.suffix.lower()
    try:
        if path.is_symlink() and not path.exists():  # without a suffix it may have been a folder
            return suffix in SUFFIXES | {""}
        if suffix not in SUFFIXES or not path.is_file():
            return False
        matches = [reader.sniff(path) for reader in all_readers()]
    except (InputError, OSError):  # unreadable: reported when it is opened, the others go on
        return suffix in SUFFIXES
    return Match.YES in matches or Match.NOT_KSPACE not in matches
