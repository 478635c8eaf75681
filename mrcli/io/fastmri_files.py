"""Writes k-space as fastMRI does: HDF5 with an ISMRMRD header, and no identifier of a patient."""

import io
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Bool, Complex64, Float32

from mrcli.errors import ShapeError
from mrcli.io.atomic import require_space, write_bytes_atomically
from mrcli.io.facts import fact_text
from mrcli.io.mrd_xml import mrd_xml
from mrcli.io.scan_facts import ScanFacts

SliceImages = Float32[np.ndarray, "image_slice image_y image_x"]


def write_fastmri_h5(
    path: Path,
    kspace: Complex64[np.ndarray, "slice coil y x"],
    facts: ScanFacts,
    *,
    mask: Bool[np.ndarray, " line"] | None = None,
    reconstruction_rss: SliceImages | None = None,
) -> None:
    """Write k-space of a single frame as it is; an older file is replaced.

    `mask` says which lines along y were acquired. `reconstruction_rss` is the image in the field
    of view without readout oversampling; the attributes `max` and `norm` are those of it.

    Raises:
        ShapeError: mask or image do not fit k-space.
        OutputError: the file cannot be written.

    """
    _require_fit(path, kspace, facts, mask, reconstruction_rss)
    require_space(path, kspace.nbytes)
    buffer = io.BytesIO()  # in memory: a full disk under an open HDF5 file can end the process
    with h5py.File(buffer, "w") as file:
        file["kspace"] = kspace.swapaxes(-1, -2)  # (slice, coil, readout, phase encode)
        n_slices, n_coils, n_y, n_x = kspace.shape
        file["ismrmrd_header"] = mrd_xml(facts, (1, n_slices, n_coils, n_y, n_x))
        file.attrs["acquisition"] = fact_text(facts.protocol) or ""
        if mask is not None:
            file["mask"] = mask
        if reconstruction_rss is not None:
            _add_image(file, reconstruction_rss)
    write_bytes_atomically(path, buffer.getvalue(), overwrite=True)


def _add_image(file: h5py.File, image: SliceImages) -> None:
    file["reconstruction_rss"] = image.swapaxes(-1, -2)
    file.attrs["max"] = float(image.max())
    file.attrs["norm"] = float(np.linalg.norm(image.astype(np.float64)))


def _require_fit(
    path: Path,
    kspace: Complex64[np.ndarray, "slice coil y x"],
    facts: ScanFacts,
    mask: Bool[np.ndarray, " line"] | None,
    image: SliceImages | None,
) -> None:
    n_slices, _, n_y, n_x = kspace.shape
    if mask is not None and mask.shape != (n_y,):
        raise ShapeError(f"{path.name}: mask has {mask.size} lines, k-space has {n_y}")
    needed = (n_slices, n_y, facts.n_x_image(n_x))
    if image is not None and image.shape != needed:
        raise ShapeError(
            f"{path.name}: image (slice, y, x) has shape {image.shape}, k-space gives {needed}"
        )
