"""Reads real images that a simulation takes as anatomy, kept apart by patient."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mrcli.errors import DataError, ShapeError
from mrcli.io.npy import load_member

_IMAGES, _PATIENTS = "image", "patient"
_LEAST_PIXELS = 32

PatientImages = Float[Tensor, "_ row column"]  # (image, row, column), 0 to 1; patients differ


@dataclass(frozen=True, eq=False)  # tensors have no truth value to compare
class AnatomyImages:
    """Images by patient; the names of patients order them and go nowhere."""

    by_patient: tuple[PatientImages, ...]

    @property
    def n_patients(self) -> int:
        """Return how many patients there are."""
        return len(self.by_patient)


def load_anatomy_images(path: Path) -> AnatomyImages:
    """Read an ``.npz`` with `image` ``(n, row, column)`` and `patient`, a name or number of each.

    Magnitudes of any scale come out between 0 and 1.

    Raises:
        InputError: the file is missing.
        DataError: it is no such archive, or its images are not finite or constant.

    """
    images, patients = load_member(path, _IMAGES), load_member(path, _PATIENTS)
    if images.ndim != 3 or min(images.shape[1:]) < _LEAST_PIXELS:
        raise ShapeError(
            f"{path.name}: 'image' has shape {images.shape}, needed is (n, row, column) of at "
            f"least {_LEAST_PIXELS} pixels"
        )
    if patients.shape != (len(images),):
        raise ShapeError(
            f"{path.name}: 'patient' has shape {patients.shape}, {len(images)} images need as many"
        )
    names, index = np.unique(patients, return_inverse=True)
    return AnatomyImages(
        tuple(_scaled(images[index == patient], path.name) for patient in range(len(names)))
    )


def _scaled(images: np.ndarray, label: str) -> PatientImages:
    if images.dtype.kind not in "iuf":
        raise DataError(f"{label}: 'image' holds {images.dtype}, magnitudes are needed")
    values = images.astype(np.float64)
    if not np.isfinite(values).all() or values.min() < 0 or values.max() == values.min():
        raise DataError(f"{label}: images must be finite magnitudes that are not constant")
    return torch.from_numpy((values / values.max()).astype(np.float32))
