"""NIfTI images: magnitude, float32, axes ``(x, y, slice, frame)``; see `docs/conventions.md`."""

import gzip
import io
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError

from mrcli.errors import DataError, OutputError
from mrcli.image import ReconVolume, require_finite
from mrcli.io.atomic import write_bytes_atomically
from mrcli.io.files import require_file

GZIP_MAGIC = b"\x1f\x8b"
_SCANNER, _UNKNOWN = 1, 0  # form codes
_LONGEST_AXIS = 2**15 - 1  # NIfTI-1 counts in 16 bits
_GZIP_LEVEL = 4  # noise does not get smaller at higher levels, it only takes longer
_DEFLATE_LIMIT = 1032  # deflate cannot shrink more than this: a larger claim is a lie
_IMAGE_CLASSES = {348: nib.Nifti1Image, 540: nib.Nifti2Image}  # by the size of the header

_DAMAGED = (OSError, EOFError, ValueError, ArithmeticError, zlib.error, HeaderDataError)


def write_nifti(path: Path, volume: ReconVolume, *, overwrite: bool) -> None:
    """Write the magnitude; equal volumes give equal bytes, compressed if `path` ends in ``.gz``.

    The file is built in memory and appears complete or not at all. Raises `NotFinite` and
    `OutputError`.
    """
    require_finite(volume)
    content = nifti_bytes(volume)
    if path.suffix == ".gz":
        content = _gzipped(content)
    write_bytes_atomically(path, content, overwrite=overwrite)


def nifti_bytes(volume: ReconVolume) -> bytes:
    """Return the content of an uncompressed NIfTI-1 file."""
    voxels = np.ascontiguousarray(volume.magnitude.T)  # (frame, slice, y, x) reversed
    if max(voxels.shape) > _LONGEST_AXIS:
        raise OutputError(f"an axis of {max(voxels.shape)} is too long for NIfTI-1")
    image = nib.Nifti1Image(voxels, volume.affine)
    _place(image.header, volume)
    return bytes(image.to_bytes())


def _place(header: nib.Nifti1Header, volume: ReconVolume) -> None:
    """State where the voxels lie; what is unknown is marked as unknown, never made up."""
    code = _UNKNOWN if volume.affine is None else _SCANNER
    if volume.affine is None and volume.voxel_size_mm is not None:
        header.set_zooms((*volume.voxel_size_mm, 1.0))
    else:
        header.set_qform(volume.affine, code)
    header.set_sform(volume.affine, code)
    is_size_known = volume.affine is not None or volume.voxel_size_mm is not None
    header.set_xyzt_units("mm" if is_size_known else "unknown", "unknown")


def _gzipped(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with gzip.GzipFile("", "wb", _GZIP_LEVEL, buffer, mtime=0) as file:
        file.write(content)
    return buffer.getvalue()


def read_nifti(path: Path) -> ReconVolume:
    """Read a NIfTI-1 or NIfTI-2 image of two to four axes; raises `DataError`.

    No more is read than the header claims, and no claim is believed that the file is too small
    for.
    """
    try:
        require_file(path)
        with path.open("rb") as stored:
            is_gzip = stored.read(2) == GZIP_MAGIC
            stored.seek(0)
            stream = gzip.GzipFile(fileobj=stored) if is_gzip else stored
            largest = path.stat().st_size * (_DEFLATE_LIMIT if is_gzip else 1)
            return _volume(_load(stream, largest))
    except DataError as error:
        raise type(error)(f"{path.name}: {error.message}", hint=error.hint) from error
    except _DAMAGED as error:
        raise DataError(f"{path.name}: a NIfTI file that is damaged or cut off") from error


def _load(stream: io.BufferedIOBase, largest: int) -> nib.Nifti1Image:
    size = stream.read(4)
    image_class = _IMAGE_CLASSES.get(int.from_bytes(size, "little")) or _IMAGE_CLASSES.get(
        int.from_bytes(size, "big")
    )
    if image_class is None:
        raise DataError("not a NIfTI file")
    head = size + stream.read(image_class.header_class.sizeof_hdr - 4)
    header = image_class.header_class(head)
    needed = int(header["vox_offset"]) + _n_bytes(header)
    if needed > largest:
        raise DataError(f"the header claims {needed} bytes, the file can hold {largest} at most")
    content = head + stream.read(needed - len(head))
    stream.read(1)  # beyond the voxels lies the checksum, which is compared when it is reached
    if len(content) < needed:
        raise DataError(f"cut off: {len(content)} bytes, the header claims {needed}")
    return image_class.from_bytes(content)


def _n_bytes(header: nib.Nifti1Header) -> int:
    n_voxels = 1
    for size in header.get_data_shape():
        n_voxels *= int(size)
    return n_voxels * int(header.get_data_dtype().itemsize)


def _volume(image: nib.Nifti1Image) -> ReconVolume:
    kind = image.get_data_dtype().kind
    if not 2 <= image.ndim <= 4 or kind not in "iufc":
        raise DataError(
            f"{image.ndim} axes of {image.get_data_dtype()}, needed are 2 to 4, numeric"
        )
    voxels = np.asarray(image.dataobj, np.complex64 if kind == "c" else np.float32)
    voxels = voxels.reshape(*voxels.shape, *(1,) * (4 - voxels.ndim))
    is_placed = image.header["sform_code"] > 0 or image.header["qform_code"] > 0
    affine = np.asarray(image.affine, np.float64) if is_placed else None
    zooms = [float(size) for size in image.header.get_zooms()[:3]]
    is_size_known = is_placed or image.header.get_xyzt_units()[0] == "mm"
    size_mm = (zooms[0], zooms[1], zooms[2]) if is_size_known and len(zooms) == 3 else None
    return ReconVolume(np.ascontiguousarray(voxels.T), size_mm, affine)
