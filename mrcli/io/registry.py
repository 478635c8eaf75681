"""Knows all readers and opens a scan with the one that recognises its content."""

from dataclasses import replace
from difflib import get_close_matches
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from mrcli.errors import DataError, InputError
from mrcli.io import arrays, bart_cfl, cmrxrecon_mat, fastmri_h5, ismrmrd_h5
from mrcli.io.files import require_file
from mrcli.io.interface import Match, Reader
from mrcli.io.masks import read_mask
from mrcli.io.unknown import raise_unknown
from mrcli.scan import MaskSource, Scan

ENTRY_POINT_GROUP = "mrcli.readers"

READERS: tuple[Reader, ...] = (
    cmrxrecon_mat.READER,
    fastmri_h5.READER,
    ismrmrd_h5.READER,
    bart_cfl.READER,
    arrays.NPY_READER,
    arrays.NPZ_READER,
    arrays.PLAIN_H5_READER,
)


@cache
def all_readers() -> tuple[Reader, ...]:
    """Return the readers of this program and those that other packages add.

    Raises:
        InputError: an added reader cannot be loaded, or has the name of another one.

    """
    added = tuple(_load(point) for point in entry_points(group=ENTRY_POINT_GROUP))
    readers = (*READERS, *added)
    names = [reader.name for reader in readers]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(
            f"two readers are called '{twice[0]}'", hint="uninstall the package that adds one"
        )
    return readers


def _load(point: EntryPoint) -> Reader:
    try:
        reader = point.load()
    except (ImportError, AttributeError) as cause:
        raise InputError(
            f"reader '{point.name}' cannot be loaded from {point.value}",
            hint="install what its package needs, or uninstall it",
        ) from cause
    if not isinstance(reader, Reader):
        raise InputError(f"reader '{point.name}': {point.value} is no Reader")
    return reader


def open_scan(
    path: Path,
    *,
    reader: str | None = None,
    mask_path: Path | None = None,
    axes: str | None = None,
) -> Scan:
    """Open the scan at `path` with the one reader that recognises it, or with the one named.

    `mask_path` replaces the mask that the scan has; `axes` names the stored order of a plain
    array, such as ``x,y,coil,slice,frame``.

    Raises:
        InputError: no such file, no such reader, or axes for a container that knows its own.
        DataError: the file is corrupt, of an unknown kind, or contradicts itself.

    """
    require_file(path)
    chosen = reader_for(path) if reader is None else reader_named(reader)
    scan = chosen.open(path) if axes is None else _open_with_axes(chosen, path, axes)
    return scan if mask_path is None else _with_given_mask(scan, mask_path)


def reader_named(name: str) -> Reader:
    """Return the reader called `name`; raises `InputError` naming the nearest."""
    readers = {reader.name: reader for reader in all_readers()}
    if name in readers:
        return readers[name]
    nearest = get_close_matches(name, readers, n=1, cutoff=0.4)
    hint = f"did you mean '{nearest[0]}'" if nearest else f"readers are {', '.join(readers)}"
    raise InputError(f"no reader is called '{name}'", hint=hint)


def reader_for(path: Path) -> Reader:
    """Return the reader that recognises the content of `path`.

    A container that holds something else is given to its reader all the same, whose refusal names
    the missing field.
    """
    matches = {reader.name: (reader, reader.sniff(path)) for reader in all_readers()}
    sure = [reader for reader, match in matches.values() if match is Match.YES]
    if len(sure) > 1:
        raise DataError(
            f"{path.name}: both {' and '.join(reader.name for reader in sure)} recognise it",
            hint="name the reader",
        )
    other = [reader for reader, match in matches.values() if match is Match.NOT_KSPACE]
    if not sure and not other:
        raise_unknown(path, ", ".join(reader.name for reader in all_readers()))
    return (*sure, *other)[0]


def _open_with_axes(reader: Reader, path: Path, axes: str) -> Scan:
    if reader.open_with_axes is None:
        raise InputError(
            f"{path.name}: {reader.name} states its own axes, none can be named",
            hint="leave the axes out",
        )
    return reader.open_with_axes(path, axes)


def _with_given_mask(scan: Scan, mask_path: Path) -> Scan:
    mask = read_mask(mask_path, scan.header)
    beside = (*scan.beside, mask_path)
    return replace(scan, mask=mask, mask_source=MaskSource.GIVEN, beside=beside)
