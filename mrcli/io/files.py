"""Looks at a file from outside: is it there, how long is it, what do its first bytes say."""

import os
from pathlib import Path
from typing import NoReturn

from mrcli.errors import InputError

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
NPY_SIGNATURE = b"\x93NUMPY"
ZIP_SIGNATURE = b"PK\x03\x04"
MAT5_PREFIX = b"MATLAB 5.0 MAT-file"
UNKNOWN_CONTENT = "unknown content"
MAX_HEAD_BYTES = 132  # as far as the signature of DICOM reaches

_SIGNATURES = (
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"\x89PNG\r\n\x1a\n", "a PNG image"),
    (b"GIF8", "a GIF image"),
    (b"BM", "a BMP image"),
    (b"II*\x00", "a TIFF image"),
    (b"MM\x00*", "a TIFF image"),
    (b"%PDF", "a PDF document"),
    (ZIP_SIGNATURE, "a ZIP archive"),
    (b"PK\x05\x06", "an empty ZIP archive"),
    (b"\x1f\x8b", "a gzip-compressed file"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"# Dimensions", "the header of a BART array"),
    (b"\x80\x02", "a Python pickle"),
    (b"\x80\x04", "a Python pickle"),
    (b"<?xml", "an XML document"),
    (b"{", "a JSON document"),
    (NPY_SIGNATURE, "a NumPy array"),
    (MAT5_PREFIX, "a classic MAT file"),
)


def require_file(path: Path) -> int:
    """Return the size of the file in bytes; raises `InputError` unless it can be read."""
    try:
        if path.is_dir():
            _refuse_folder(path)
        if not path.exists():
            _refuse_absent(path)
        if not path.is_file():  # a pipe or a device would block, or never end
            raise InputError(f"{path.name}: not a regular file", hint="copy the scan to a file")
        with path.open("rb"):
            return path.stat().st_size
    except (OSError, ValueError) as cause:  # ValueError: a NUL byte in the name
        raise InputError(
            f"{path.name!r}: cannot be read ({_reason(cause)})", hint="check its permissions"
        ) from cause


def _refuse_folder(path: Path) -> NoReturn:
    if not os.access(path, os.R_OK | os.X_OK):
        raise InputError(f"{path.name}: folder cannot be read", hint="check its permissions")
    raise InputError(
        f"{path.name}: a folder, not a file", hint="name a scan, or a folder that holds k-space"
    )


def _refuse_absent(path: Path) -> NoReturn:
    if path.is_symlink():
        raise InputError(f"{path.name}: a link that leads nowhere", hint="copy the scan itself")
    raise InputError(f"{path.name}: no such file", hint="check the path")


def _reason(cause: OSError | ValueError) -> str:
    return str(getattr(cause, "strerror", None) or cause).lower()


def head_bytes(path: Path, n_bytes: int, *, start: int = 0) -> bytes:
    """Return up to `n_bytes` bytes from `start` on; raises `InputError` if that is impossible."""
    require_file(path)
    try:
        with path.open("rb") as file:
            file.seek(start)
            return file.read(n_bytes)
    except OSError as cause:
        raise InputError(f"{path.name}: cannot be read ({_reason(cause)})") from cause


def is_hdf5(path: Path) -> bool:
    """Say whether the HDF5 signature stands at 0, 512, 1024, ...: a user block may precede it."""
    offset, n_bytes = 0, require_file(path)
    while offset < n_bytes:
        if head_bytes(path, len(HDF5_SIGNATURE), start=offset) == HDF5_SIGNATURE:
            return True
        offset = 2 * offset or 512
    return False


def describe_content(path: Path) -> str:
    """Name what the first bytes show, for instance ``a JPEG image``."""
    head = head_bytes(path, MAX_HEAD_BYTES)
    if not head:
        return "an empty file"
    if is_hdf5(path):
        return "an HDF5 file"
    if head[128:132] == b"DICM":
        return "a DICOM file"
    return next((name for magic, name in _SIGNATURES if head.startswith(magic)), UNKNOWN_CONTENT)
