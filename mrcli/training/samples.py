"""One training sample: what the network is given, and the image that it should return.

The target is the noiseless truth of the simulation with the phase that the estimated maps leave in
the image; it has no noise floor. Where the maps see nothing it is zero.
"""

from dataclasses import dataclass, replace

from torch import Tensor

from mrcli.errors import DataError, ShapeError
from mrcli.nn.inputs import NetworkInput, prepare
from mrcli.physics.encoding import Y_ONLY, expand_coils, reduce_coils
from mrcli.physics.noise import estimate_noise_sigma
from mrcli.physics.pattern_names import draw_mask
from mrcli.pipeline import encode_slice
from mrcli.simulate.cropping import without_oversampling
from mrcli.simulate.scans import (
    ScanPlan,
    SimulatedSlice,
    plan_scan,
    simulate_slice,
    wanted_lines,
)
from mrcli.training.curriculum import MaskRecipe, SliceRecipe
from mrcli.types import Image, SamplingMask


@dataclass(frozen=True, eq=False)  # tensors have no truth value to compare
class Sample:
    """Input and target of one slice, both divided by the scale of the input."""

    given: NetworkInput
    target: Image  # (frame, y, x)
    modality: str
    site: str

    @property
    def n_pixels(self) -> int:
        """Return how many pixels all frames have."""
        return self.target.numel()

    def to(self, device: str) -> "Sample":
        """Return the same on a device."""
        return replace(self, given=self.given.to(device), target=self.target.to(device))


def simulate(
    recipe: SliceRecipe, images: tuple[Tensor, ...] = (), device: str = "cpu"
) -> tuple[ScanPlan, SimulatedSlice]:
    """Simulate the slice of a group; `images` are those of the real patients to take turns."""
    is_real = recipe.uses_real_anatomy and len(images) > 0
    patient = images[recipe.scan.patient % len(images)] if is_real else None
    plan = plan_scan(recipe.scan, patient)
    index = min(int(recipe.position * plan.sizes.n_slices), plan.sizes.n_slices - 1)
    one = simulate_slice(plan, index, device)
    factor = recipe.scan.site.readout_oversampling
    return plan, without_oversampling(one, factor) if recipe.removes_oversampling else one


def undersample(plan: ScanPlan, one: SimulatedSlice, recipe: MaskRecipe) -> Sample:
    """Return the sample of one mask, calibrated and encoded as a scan to be reconstructed.

    Raises `DataError` or `ShapeError` where the pattern does not fit the matrix.
    """
    mask = _mask(plan, one, recipe)
    peak = one.kspace.abs().amax()
    if not bool(peak > 0):
        raise DataError("the slice holds no signal")
    kspace = one.kspace / peak * mask
    data = encode_slice(kspace, mask, estimate_noise_sigma(kspace, mask))
    given = prepare(data.encoding, data.kspace, data.calibrated, data.noise_sigma)
    seen = reduce_coils(expand_coils(one.truth, one.maps), data.encoding.maps)
    target = one.truth.abs() / (peak * given.scale) * seen.sgn()
    return Sample(given, target, plan.recipe.protocol.modality, plan.recipe.site.name)


def cropped(sample: Sample, start: int, n_x: int) -> Sample:
    """Return some columns of a sample: where whole lines were acquired each is its own problem.

    Raises `ShapeError` for masks that vary along the readout.
    """
    if sample.given.axes != Y_ONLY:
        raise ShapeError("columns depend on each other where the mask varies along the readout")
    kept = slice(start, start + n_x)
    return replace(sample, given=sample.given.columns(kept), target=sample.target[..., kept])


def _mask(plan: ScanPlan, one: SimulatedSlice, recipe: MaskRecipe) -> SamplingMask:
    n_y, n_x = one.truth.shape[-2:]
    mask = draw_mask(
        recipe.pattern,
        recipe.acceleration,
        n_frames=len(one.truth),
        matrix=(n_y, n_x),
        n_acs=min(recipe.n_acs, min(n_y, n_x) // 2),
        seed=recipe.seed,
    )
    return (mask & wanted_lines(plan)[:, None]).to(one.truth.device)
