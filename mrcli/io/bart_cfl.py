"""Reads BART arrays: a text header ``.hdr`` and raw complex64 numbers ``.cfl``.

The first axis runs fastest. Of the 16 dimensions k-space of a two-dimensional scan may use
readout 0, phase encode 1, coil 3, echo 5, time 10 and 11, slice 13.
"""

from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

import numpy as np

from mrcli.errors import DataError, InputError, MissingField
from mrcli.findings import Finding, Severity
from mrcli.io.array_scan import KSpaceArray, array_scan, sliced_by, with_findings
from mrcli.io.files import UNKNOWN_CONTENT, describe_content, head_bytes, require_file
from mrcli.io.hdf5 import MAX_BYTES
from mrcli.io.interface import Match, Reader
from mrcli.io.layout import Layout, as_kspace
from mrcli.scan import Scan
from mrcli.types import KSpace

_NAME = "bart-cfl"
_TITLE = b"# Dimensions"
_N_DIMS = 16
_READOUT, _PHASE, _COIL, _ECHO, _TIME, _TIME2, _SLICE = 0, 1, 3, 5, 10, 11, 13
_FRAMES = {"time 11": _TIME2, "time 10": _TIME, "echo 5": _ECHO}  # slowest first
_KNOWN = frozenset({_READOUT, _PHASE, _COIL, _SLICE, *_FRAMES.values()})
_MAX_HEADER_BYTES = 2**16
_ITEM = np.dtype("<c8")


@dataclass(frozen=True)
class Pair:
    """The two files of a BART array and its dimensions, padded to 16."""

    values: Path
    dims: tuple[int, ...]

    @property
    def layout(self) -> Layout:
        """The axes of the mapped array as `frames_first` returns them."""
        n_frames = prod(self.dims[axis] for axis in _FRAMES.values())
        sizes = (self.dims[_SLICE], self.dims[_COIL], self.dims[_PHASE], self.dims[_READOUT])
        return Layout(("frame", "slice", "coil", "y", "x"), (n_frames, *sizes))


def _header_path(path: Path) -> Path:
    return path.with_suffix(".hdr")


def _sniff(path: Path) -> Match:
    if path.suffix not in (".hdr", ".cfl"):
        return Match.NO
    return Match.YES if _has_header(path) or _lost_its_header(path) else Match.NO


def _has_header(path: Path) -> bool:
    try:
        return head_bytes(_header_path(path), len(_TITLE)) == _TITLE
    except InputError:
        return False


def _lost_its_header(path: Path) -> bool:
    """Say whether raw numbers stand alone: opening them names the half that is missing."""
    is_alone = path.suffix == ".cfl" and not _header_path(path).exists()
    return is_alone and describe_content(path) == UNKNOWN_CONTENT


def _open(path: Path) -> Scan:
    pair = _pair(path)
    load = sliced_by(_mapped_slice, pair)
    scan = array_scan(path, _NAME, KSpaceArray("cfl", _ITEM, pair.layout, load))
    varying = [name for name, axis in _FRAMES.items() if pair.dims[axis] > 1]
    other = _header_path(path) if path == pair.values else pair.values
    scan = replace(scan, beside=(other,))
    return with_findings(scan, _frames_finding(varying)) if len(varying) > 1 else scan


def _frames_finding(varying: list[str]) -> Finding:
    return Finding(
        "frame-order",
        Severity.INFO,
        f"frames are {' x '.join(varying)}, the last one fastest",
        "nothing, if that order is meant",
    )


def _pair(path: Path) -> Pair:
    header, values = _header_path(path), path.with_suffix(".cfl")
    for half in (header, values):
        if not half.exists():
            raise MissingField(
                f"{path.name}: '{half.name}' is missing", hint="keep .hdr and .cfl together"
            )
    dims = _dims(head_bytes(header, _MAX_HEADER_BYTES), header.name)
    _require_two_dimensional(dims, header.name)
    n_bytes, needed = require_file(values), prod(dims) * _ITEM.itemsize
    if n_bytes != needed:
        raise DataError(
            f"{values.name}: {n_bytes} bytes, the dimensions in {header.name} need {needed}",
            hint="the file is truncated or the header belongs to another; copy both again",
        )
    return Pair(values, dims)


def _dims(header: bytes, name: str) -> tuple[int, ...]:
    lines = header.decode("ascii", errors="replace").splitlines()
    words = lines[1].split() if len(lines) > 1 and lines[0].startswith("# Dimensions") else []
    is_sound = 0 < len(words) <= _N_DIMS and all(w.isdecimal() and len(w) < 10 for w in words)
    if not is_sound or 0 in map(int, words) or prod(map(int, words)) > MAX_BYTES:
        raise DataError(f"{name}: the second line must hold 1 to {_N_DIMS} dimensions above zero")
    return tuple(int(word) for word in words) + (1,) * (_N_DIMS - len(words))


def _require_two_dimensional(dims: tuple[int, ...], name: str) -> None:
    for axis, n in enumerate(dims):
        if n > 1 and axis not in _KNOWN:
            raise DataError(
                f"{name}: dimension {axis} has length {n}, must be 1",
                hint="k-space may use dimensions 0, 1, 3, 5, 10, 11 and 13; split the others",
            )


def _mapped_slice(pair: Pair, index: int) -> KSpace:
    pair.layout.require_slice(index)
    if require_file(pair.values) != prod(pair.dims) * _ITEM.itemsize:
        raise DataError(f"{pair.values.name}: the file changed since the scan was opened")
    stored = np.memmap(pair.values, _ITEM, mode="r", shape=pair.dims[::-1])
    block = frames_first(stored)[:, :, :, index]
    return as_kspace(pair.layout, block.reshape(-1, *block.shape[3:]), pair.values.name)


def frames_first(stored: np.ndarray) -> np.ndarray:
    """View the 16 reversed axes as ``(time 11, time 10, echo 5, slice, coil, y, x)``."""
    kept = (*_FRAMES.values(), _SLICE, _COIL, _PHASE, _READOUT)
    dropped = tuple(axis for axis in range(_N_DIMS) if axis not in kept)
    axes = [_N_DIMS - 1 - axis for axis in (*dropped, *kept)]
    return stored.transpose(axes)[(0,) * len(dropped)]


READER = Reader(
    name=_NAME,
    describes="BART arrays, .hdr and .cfl",
    needs="both files; dimensions readout 0, phase 1, coil 3, echo 5, time 10 and 11, slice 13",
    sniff=_sniff,
    open=_open,
)
