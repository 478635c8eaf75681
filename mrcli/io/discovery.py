"""Finds the scans below files and folders, without opening more of them than their headers."""

import os
from collections.abc import Iterator, Sequence
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
    are files of other suffixes and masks and images in the containers of k-space; damaged files
    stay in the list, so that they are reported.

    Raises:
        InputError: a path is missing or unreadable, or a folder holds no k-space.

    """
    found: dict[Path, Candidate] = {}
    for path in paths:
        for candidate in _below(path) if path.is_dir() else (_named(path),):
            found.setdefault(candidate.path.resolve(), candidate)
    candidates = tuple(found.values())
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


def _named(path: Path) -> Candidate:
    require_file(path)
    return Candidate(path, Path(path.name))


def _below(folder: Path) -> tuple[Candidate, ...]:
    candidates = sorted(
        Candidate(path, path.relative_to(folder)) for path in _files(folder) if _may_be_scan(path)
    )
    if not candidates:
        raise InputError(
            f"no k-space in {folder}", hint=f"looked for files ending in {', '.join(_suffixes())}"
        )
    return tuple(candidates)


def _suffixes() -> list[str]:
    return sorted(SUFFIXES)


def _files(folder: Path) -> Iterator[Path]:
    """Yield all visible files; each real folder is entered once, however many links lead to it."""
    entered: set[Path] = set()
    for root, folders, names in os.walk(folder, followlinks=True, onerror=_refuse):
        real = Path(root).resolve()
        if real in entered:
            folders.clear()
            continue
        entered.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(root, name) for name in names if not name.startswith("."))


def _refuse(error: OSError) -> None:
    raise InputError(
        f"{error.filename}: folder cannot be read", hint="check its permissions"
    ) from error


def _may_be_scan(path: Path) -> bool:
    if path.suffix.lower() not in SUFFIXES or not path.is_file():
        return False
    try:
        matches = [reader.sniff(path) for reader in all_readers()]
    except InputError:  # unreadable: reported when it is opened, the others go on
        return True
    return Match.YES in matches or Match.NOT_KSPACE not in matches
