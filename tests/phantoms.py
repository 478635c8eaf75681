"""Small multi-coil scans with known truth, made in memory."""

from pathlib import Path

import numpy as np
import torch

from ellipses import PhantomSpec, simulate_kspace, simulate_maps, simulate_truth
from mrcli.scan import Scan, ScanHeader


def small_spec(n_frames=2, n_slices=1, n_coils=4, matrix=(48, 64), snr=50.0):
    voxel = (400 / matrix[1], 300 / matrix[0], 8.0)
    return PhantomSpec(n_frames, n_slices, n_coils, matrix, voxel, snr)


def small_study(**sizes):
    """Return truth ``(frame, slice, y, x)`` and k-space ``(frame, slice, coil, y, x)``."""
    spec = small_spec(**sizes)
    truth, maps = simulate_truth(spec), simulate_maps(spec)
    return truth, simulate_kspace(truth, maps, spec)


def scan_of(kspace, mask=None, noise=None, **others):
    """Return a scan in memory; `mask` is ``(frame, slice, 1, y, x)``."""
    n_frames, n_slices, n_coils, n_y, n_x = kspace.shape
    header = ScanHeader(n_frames, n_slices, n_coils, (n_y, n_x), "complex64")
    stored = kspace if mask is None else kspace * mask
    return Scan(
        Path("memory.npy"),
        "memory",
        header,
        lambda i: stored[:, i].clone(),
        mask,
        noise=noise,
        **others,
    )


def everything(scan):
    """Return the mask of full sampling."""
    return torch.ones(1, 1, 1, scan.header.matrix[0], 1, dtype=torch.bool)


def lines(n_y, acceleration, n_acs):
    """Return a mask ``(1, 1, 1, y, 1)`` of every R-th line and the lines around the origin."""
    line = torch.arange(n_y)
    mask = (line % acceleration == 0) | (
        (line >= n_y // 2 - n_acs // 2) & (line < n_y // 2 + n_acs // 2)
    )
    return mask.view(1, 1, 1, n_y, 1)


def relative_error(image, truth):
    """Return the error of the magnitude after one least-squares scale."""
    image, truth = (np.abs(np.asarray(one, dtype=np.complex128)) for one in (image, truth))
    scaled = image * (image * truth).sum() / (image * image).sum()
    return float(np.linalg.norm(scaled - truth) / np.linalg.norm(truth))
