"""HDF5 images that keep the complex values: one data set ``image``, ``(frame, slice, y, x)``."""

import io
from pathlib import Path

import h5py
import numpy as np

from mrcli.errors import DataError
from mrcli.image import ReconVolume, require_finite
from mrcli.io.atomic import write_bytes_atomically
from mrcli.io.hdf5 import opened, read_values, require_dataset

_IMAGE, _VOXEL_SIZE, _AFFINE = "image", "voxel_size_mm", "affine"


def write_h5(path: Path, volume: ReconVolume, *, overwrite: bool) -> None:
    """Write the image as it is, complex if it is complex; raises `NotFinite`, `OutputError`.

    The file is built in memory: a full disk can crash the HDF5 library while it writes.
    """
    require_finite(volume)
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        image = file.create_dataset(_IMAGE, data=volume.data)
        image.attrs["axes"] = "frame, slice, y, x"
        if volume.voxel_size_mm is not None:
            image.attrs[_VOXEL_SIZE] = np.asarray(volume.voxel_size_mm, np.float64)
        if volume.affine is not None:
            image.attrs[_AFFINE] = np.asarray(volume.affine, np.float64)
    write_bytes_atomically(path, buffer.getvalue(), overwrite=overwrite)


def read_h5(path: Path) -> ReconVolume:
    """Read what `write_h5` wrote, or an image with fewer axes; raises `DataError`."""
    with opened(path) as file:
        image = require_dataset(file, _IMAGE)
        _require_image(image, path)
        stored = read_values(image)
        affine, size_mm = _numbers(image, _AFFINE), _numbers(image, _VOXEL_SIZE)
        size = None if size_mm is None else _three(size_mm)
    data = stored.astype(np.complex64 if stored.dtype.kind == "c" else np.float32, copy=False)
    return ReconVolume(data.reshape(*(1,) * (4 - data.ndim), *data.shape), size, affine)


def _three(values: np.ndarray) -> tuple[float, float, float]:
    x, y, z = map(float, values)
    return x, y, z


def _require_image(image: h5py.Dataset, path: Path) -> None:
    if image.dtype.kind not in "iufc" or not 2 <= image.ndim <= 4:
        raise DataError(
            f"{path.name}: {_IMAGE} has {image.ndim} axes of {image.dtype}, needed are 2 to 4, "
            "numeric"
        )


def _numbers(image: h5py.Dataset, name: str) -> np.ndarray | None:
    return np.asarray(image.attrs[name], np.float64) if name in image.attrs else None
