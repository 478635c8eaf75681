"""Runs the BART toolbox, an independent implementation, where it is installed."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

BART = shutil.which("bart")
needs_bart = pytest.mark.skipif(BART is None, reason="the BART toolbox is not installed")

_N_DIMS = 16
_READOUT, _PHASE, _COIL, _TIME = 0, 1, 3, 10


def write_kspace(path, kspace):
    """Write ``(frame, coil, y, x)`` as a pair ``path.cfl``, ``path.hdr``."""
    n_frames, n_coils, n_y, n_x = kspace.shape
    shape = [1] * _N_DIMS
    shape[_READOUT], shape[_PHASE], shape[_COIL], shape[_TIME] = n_x, n_y, n_coils, n_frames
    path.with_suffix(".hdr").write_text(f"# Dimensions\n{' '.join(map(str, shape))}\n")
    # column-major axes x, y, coil, frame are our axes in C order
    np.ascontiguousarray(kspace, np.complex64).tofile(path.with_suffix(".cfl"))


def read_image(path):
    """Read ``(frame or coil, y, x)``, whichever of the two the file has."""
    shape = [int(n) for n in path.with_suffix(".hdr").read_text().splitlines()[1].split()]
    stored = np.fromfile(path.with_suffix(".cfl"), np.complex64)
    n_x, n_y = shape[_READOUT], shape[_PHASE]
    return torch.from_numpy(stored.reshape(-1, n_y, n_x))


def bart(folder: Path, *arguments: str) -> None:
    """Run one BART tool in `folder`."""
    subprocess.run([str(BART), *arguments], cwd=folder, check=True, capture_output=True)


def pics(folder, kspace, maps, *options):
    """Reconstruct with ``bart pics``, which takes exact zeros for samples not acquired."""
    write_kspace(folder / "kspace", kspace)
    write_kspace(folder / "maps", maps)
    bart(folder, "pics", *options, "kspace", "maps", "image")
    return read_image(folder / "image")


def ecalib(folder, kspace, n_acs):
    """Return one set of maps ``(coil, y, x)`` by ``bart ecalib``."""
    write_kspace(folder / "kspace", kspace)
    bart(folder, "ecalib", "-m1", f"-r{n_acs}", "kspace", "maps")
    return read_image(folder / "maps")
