"""Opens HDF5 files from outside, which are hostile until checked.

A file is opened for one read and closed again: forked workers share no handle, and a study of
thousands of files does not exhaust them. Nothing is followed out of the file (soft and external
links, external storage, virtual data sets), nothing is decompressed that claims far more than it
stores, and no chunk counts that was never written: HDF5 would serve all of these in silence.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil, prod
from pathlib import Path

import h5py
import numpy as np

from mrcli.errors import DataError, MissingField, ShapeError
from mrcli.io.files import require_file
from mrcli.io.layout import Layout, as_kspace
from mrcli.types import KSpace

MAX_BYTES = 2**36  # one array of 64 GiB: fifty times the largest scan of CMRxRecon2025
MAX_RATIO = 200  # logical over stored bytes; deflate of measured samples stays below 30
HARMLESS_BYTES = 2**26  # a mask of few lines may deflate 1000 to 1; 64 MiB exhaust nobody
_FILTERS = {1: "gzip", 2: "shuffle", 3: "fletcher32", 4: "szip", 32000: "lzf"}
_COMPRESSING = frozenset({1, 4, 32000})
_XML_ENCODING = re.compile(
    rb"""<\?xml\s[^>]{0,80}?encoding=["'](iso-8859-1|iso-8859-15|windows-1252)["']""",
    re.IGNORECASE,
)
_FOREIGN_ERRORS = (
    OSError,
    KeyError,
    RuntimeError,
    ValueError,
    TypeError,
    OverflowError,
    AttributeError,  # a damaged type message can lack what h5py looks up
    IndexError,
    MemoryError,
)


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """Open the file read-only; whatever h5py raises inside the block becomes `DataError`.

    Raises:
        InputError: there is no such file, or it cannot be read.

    """
    require_file(path)
    try:
        with h5py.File(path, "r", locking=False) as file:
            yield file
    except _FOREIGN_ERRORS as cause:
        raise DataError(
            f"{path.name}: HDF5 file is truncated or corrupt ({_first_line(cause)})",
            hint="copy the file again from where it was made",
        ) from cause


def _first_line(cause: BaseException) -> str:
    text = str(cause).strip("'\"").splitlines() or [type(cause).__name__]
    return "".join(letter for letter in text[0][:120] if letter.isprintable())


def names_in(group: h5py.Group) -> tuple[str, ...]:
    """List the members of a group, sorted; links too, which `require_dataset` refuses."""
    return tuple(sorted(group))


def _is_hard(group: h5py.Group, name: str) -> bool:
    return isinstance(group.get(name, getlink=True), h5py.HardLink)


def has_dataset(file: h5py.File, name: str) -> bool:
    """Say whether `name` leads to a dataset by hard links alone."""
    return isinstance(_walk(file, name), h5py.Dataset)


def _walk(file: h5py.File, name: str) -> h5py.HLObject | None:
    here: h5py.HLObject = file
    for step in name.split("/"):
        if not isinstance(here, h5py.Group) or step not in here or not _is_hard(here, step):
            return None
        here = here[step]
    return here


def require_dataset(file: h5py.File, name: str) -> h5py.Dataset:
    """Return dataset `name`, checked for everything but its meaning.

    Raises:
        MissingField: there is no such dataset.
        DataError: it is reached by a link, stored elsewhere, incomplete, too large or a bomb.

    """
    label = f"{Path(file.filename).name}: field '{name}'"
    dataset = _walk(file, name)
    if dataset is None:
        _refuse_links(file, name, label)
        raise MissingField(
            f"{label} is missing, the file holds {listed(names_in(file))}",
            hint="name the reader or rename the field",
        )
    if not isinstance(dataset, h5py.Dataset):
        raise MissingField(f"{label} is a group, a dataset is needed")
    _require_stored_here(dataset, label)
    _require_plain_filters(dataset, label)
    _require_sane_size(dataset, label)
    _require_every_chunk(dataset, label)
    return dataset


def listed(names: tuple[str, ...]) -> str:
    """Return up to six names in quotes, for a message."""
    shown = ", ".join(f"'{name}'" for name in names[:6]) or "nothing"
    return f"{shown} and {len(names) - 6} more" if len(names) > 6 else shown


def _refuse_links(file: h5py.File, name: str, label: str) -> None:
    link = file.get(name.split("/", maxsplit=1)[0], getlink=True)
    if isinstance(link, h5py.SoftLink | h5py.ExternalLink):
        raise DataError(
            f"{label} is a link, links are not followed", hint="store the data in the file itself"
        )


def _require_stored_here(dataset: h5py.Dataset, label: str) -> None:
    if dataset.is_virtual or dataset.external:
        kind = "virtual" if dataset.is_virtual else "stored in another file"
        raise DataError(f"{label} is {kind}", hint="store the data in the file itself")


def _require_plain_filters(dataset: h5py.Dataset, label: str) -> None:
    plist = dataset.id.get_create_plist()
    codes = [plist.get_filter(i)[0] for i in range(plist.get_nfilters())]
    foreign = [code for code in codes if code not in _FILTERS]
    if foreign:
        raise DataError(
            f"{label} uses HDF5 filter {foreign[0]}, known are {', '.join(_FILTERS.values())}",
            hint="store it with gzip or without compression",
        )
    if len([code for code in codes if code in _COMPRESSING]) > 1:
        raise DataError(f"{label} is compressed twice", hint="store it with gzip alone")


def _require_sane_size(dataset: h5py.Dataset, label: str) -> None:
    n_bytes = prod(dataset.shape or ()) * dataset.dtype.itemsize
    if n_bytes > MAX_BYTES:
        raise DataError(f"{label} claims {n_bytes} bytes, the limit is {MAX_BYTES}")
    n_stored = dataset.id.get_storage_size()
    is_bomb = n_bytes > HARMLESS_BYTES and n_bytes > MAX_RATIO * n_stored
    if is_bomb or (n_bytes > 0 and n_stored == 0):
        raise DataError(
            f"{label} claims {n_bytes} bytes and stores {n_stored}, the limit is {MAX_RATIO} to 1",
            hint="the file is incomplete, or made to exhaust memory",
        )


def _require_every_chunk(dataset: h5py.Dataset, label: str) -> None:
    if dataset.chunks is None or dataset.shape is None or 0 in dataset.shape:
        return
    pairs = zip(dataset.shape, dataset.chunks, strict=True)
    n_chunks, n_written = prod(ceil(n / chunk) for n, chunk in pairs), dataset.id.get_num_chunks()
    if n_written != n_chunks:
        raise DataError(
            f"{label} is incomplete: {n_written} of {n_chunks} chunks were ever written",
            hint="copy the file again from where it was made",
        )


def read_slice(path: Path, name: str, layout: Layout, index: int) -> KSpace:
    """Read slice `index` of k-space dataset `name` as complex64 ``(frame, coil, y, x)``."""
    layout.require_slice(index)
    with opened(path) as file:
        dataset = require_dataset(file, name)
        if dataset.shape != layout.shape:
            raise ShapeError(
                f"{path.name}: field '{name}' has shape {dataset.shape}, it had {layout.shape} "
                "when the scan was opened"
            )
        block = dataset[layout.slice_index(index)]
    return as_kspace(layout, block, f"{path.name}: field '{name}'", is_own=True)


def read_values(dataset: h5py.Dataset) -> np.ndarray:
    """Read all values of a small numeric dataset."""
    if dataset.dtype.kind not in "biufc":
        raise DataError(
            f"{Path(dataset.file.filename).name}: field '{dataset.name.lstrip('/')}' holds "
            f"{dataset.dtype}, numbers are needed"
        )
    return np.asarray(dataset[()])


def read_text(dataset: h5py.Dataset, max_bytes: int) -> str:
    """Read a string of at most `max_bytes` from a scalar dataset or one of length 1."""
    label = f"{Path(dataset.file.filename).name}: field '{dataset.name.lstrip('/')}'"
    if h5py.check_string_dtype(dataset.dtype) is None or dataset.size != 1:
        raise DataError(f"{label} is no text")
    value = dataset[()] if dataset.shape == () else dataset[0]
    encoded = value.encode() if isinstance(value, str) else bytes(value)
    if len(encoded) > max_bytes:
        raise DataError(f"{label} has {len(encoded)} bytes, the limit is {max_bytes}")
    return _decoded(encoded, label)


def _decoded(encoded: bytes, label: str) -> str:
    declared = _XML_ENCODING.match(encoded)
    try:
        return encoded.decode(declared[1].decode("ascii").lower() if declared else "utf-8")
    except UnicodeDecodeError as cause:
        raise DataError(
            f"{label} holds bytes that are no text in UTF-8",
            hint="store it in UTF-8, or declare iso-8859-1 as XML does",
        ) from cause
