"""Clean scans to plant faults in, and what the checks say of them."""

from pathlib import Path

import torch

from mrcli.checks import examine
from mrcli.findings import Severity
from mrcli.physics.encoding import fft2c
from mrcli.scan import MaskSource, Scan, ScanHeader

FRAMES, SLICES, COILS, MATRIX = 3, 2, 4, (45, 64)


def phantom(n_frames=FRAMES, n_slices=SLICES, n_coils=COILS, matrix=MATRIX, noise=1e-3):
    """K-space (frame, slice, coil, y, x) of a beating disk with smooth coils and noise."""
    random = torch.Generator().manual_seed(0)
    y, x = (torch.linspace(-1, 1, n) for n in matrix)
    radius = 0.5 + 0.05 * torch.arange(n_frames)[:, None, None, None, None]
    distance = (y[:, None] ** 2 + 0.7 * x**2).sqrt() - 0.1
    disk = torch.sigmoid((radius - distance) * 12)
    angle = torch.arange(n_coils)[:, None, None] * 2 * torch.pi / n_coils
    weights = torch.exp(-((y[:, None] - angle.sin()) ** 2) - (x - angle.cos()) ** 2)
    image = (disk * weights * torch.exp(1j * angle)).to(torch.complex64)
    image = image.expand(n_frames, n_slices, n_coils, *matrix)
    kspace = fft2c(image)
    level = noise * kspace.abs().amax()
    return kspace + level * torch.randn(kspace.shape, dtype=torch.complex64, generator=random)


def scan_of(kspace, mask=None, findings=()):
    header = ScanHeader(*kspace.shape[:3], tuple(kspace.shape[3:]), "complex64")
    source = None if mask is None else MaskSource.GIVEN
    return Scan(
        Path("scan.npy"),
        "npy",
        header,
        lambda index: kspace[:, index].clone(),
        mask=mask,
        mask_source=source,
        findings=findings,
    )


def found(kspace, mask=None):
    return {finding.code: finding for finding in examine(scan_of(kspace, mask)).findings}


def faults(kspace, mask=None):
    return {code for code, f in found(kspace, mask).items() if f.severity is not Severity.INFO}
