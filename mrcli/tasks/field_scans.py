"""The scans of the field test: undersampled in memory, with what they are scored against."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Float32
from torch.linalg import vector_norm

from mrcli.physics.encoding import ifft2c
from mrcli.physics.pattern_names import draw_mask
from mrcli.physics.patterns import DEFAULT_ACS_LINES
from mrcli.scan import MaskSource, Scan, ScanHeader
from mrcli.simulate.cropping import without_oversampling
from mrcli.simulate.recipes import ScanRecipe
from mrcli.simulate.scans import (
    ScanPlan,
    SimulatedSlice,
    plan_scan,
    simulate_slice,
    wanted_lines,
)
from mrcli.tasks.field_cases import FieldCase
from mrcli.types import SamplingMask

Frames = Float32[np.ndarray, "frame y x"]


@dataclass(frozen=True, eq=False)  # arrays have no truth value to compare
class FieldScan:
    """One undersampled slice, its noiseless truth and its noisy full sampling."""

    scan: Scan
    truth: Frames  # magnitude, without noise
    rss: Frames  # root sum of squares of the coils of the full sampling, noise included
    true_acceleration: float


def make_scan(case: FieldCase, device: str = "cpu") -> FieldScan:
    """Simulate the central slice of a case and undersample it; the mask is stated.

    No noise scan comes with it, as none comes with the files of the challenge. Raises `ShapeError`
    where the pattern does not fit the matrix.
    """
    plan, full = _simulated(case.recipe, device)
    if case.removes_oversampling:
        full = without_oversampling(full, case.recipe.site.readout_oversampling)
    mask = _mask(case, plan, full)
    return FieldScan(
        _scan(case, plan, full, mask),
        full.truth.abs().numpy(),
        vector_norm(ifft2c(full.kspace), dim=1).numpy(),
        mask.numel() / int(mask.sum()),
    )


@lru_cache(maxsize=1)  # the conditions of a patient follow each other
def _simulated(recipe: ScanRecipe, device: str) -> tuple[ScanPlan, SimulatedSlice]:
    plan = plan_scan(recipe)
    one = simulate_slice(plan, plan.sizes.n_slices // 2, device)
    return plan, SimulatedSlice(one.truth.cpu(), one.maps.cpu(), one.kspace.cpu())


def _mask(case: FieldCase, plan: ScanPlan, full: SimulatedSlice) -> SamplingMask:
    """Draw the mask; the ACS has its 20 lines, or half of a matrix that is smaller than 40."""
    n_y, n_x = full.truth.shape[-2:]
    mask = draw_mask(
        case.pattern,
        case.acceleration,
        n_frames=len(full.truth),
        matrix=(n_y, n_x),
        n_acs=min(DEFAULT_ACS_LINES, min(n_y, n_x) // 2),
        seed=case.recipe.random(f"mask {case.pattern}{case.acceleration}").initial_seed(),
    )
    return mask & wanted_lines(plan)[:, None]


def _scan(case: FieldCase, plan: ScanPlan, full: SimulatedSlice, mask: SamplingMask) -> Scan:
    n_frames, n_coils, n_y, n_x = full.kspace.shape
    recipe = case.recipe
    header = ScanHeader(
        n_frames,
        1,
        n_coils,
        (n_y, n_x),
        "complex64",
        recipe.site.site,
        recipe.protocol.modality,
        plan.voxel_size_mm,
    )
    acquired = full.kspace * mask
    return Scan(
        Path(case.name),
        "memory",
        header,
        lambda _: acquired.clone(),  # whoever loads a slice may change it
        mask[:, None],
        MaskSource.FILE,
    )
