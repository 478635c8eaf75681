"""Simulated scans: plan a recipe once, then make its slices one by one.

    recipe --plan_scan--> plan --simulate_slice--> truth, maps, k-space

A slice holds all its frames and is computed at once on the device asked for; memory is bounded by
one slice. k-space is fully sampled and noisy; masks are a matter of their own.
"""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Complex
from torch import Generator, Tensor

from mrcli.errors import DataError
from mrcli.physics.encoding import fft2c, ifft2c
from mrcli.simulate import coils
from mrcli.simulate.acquisition import (
    BeatErrors,
    Windows,
    apply_windows,
    band_limited,
    disturb,
    draw_noise,
    draw_noise_scan,
    encode,
    filter_windows,
    split_shading,
)
from mrcli.simulate.anatomy import flow_profiles
from mrcli.simulate.contrast import CONTRASTS
from mrcli.simulate.imaging import (
    FieldSpread,
    FineImage,
    conditions,
    form_image,
    receive_phase,
    saturation,
    systolic_velocity,
)
from mrcli.simulate.motion import (
    HeartState,
    beat_after_beat,
    breathing_drift,
    contraction_at,
    over_the_cycle,
)
from mrcli.simulate.planes import Plane, Prescription, plane_of
from mrcli.simulate.receivers import noise_level, receivers
from mrcli.simulate.recipes import ScanRecipe, ScanSizes, draw_log_uniform, draw_sizes
from mrcli.simulate.signals import phase_contrast
from mrcli.simulate.subjects import Subject, draw_subject, render_subject
from mrcli.types import Image, KSpace, NoiseSamples, SensitivityMaps

_VENC_CM_S = 150.0
_DIASTOLE = 0.8  # of the cardiac cycle: when single images are taken
_LINES_PER_BEAT = 12
_SEGMENTED = frozenset({"cine", "lge", "flow2d", "blackblood", "T1w", "T2w"})
_SINGLE_SHOT = frozenset({"T1map", "T1mappost", "T2map", "T1rho", "perfusion"})
_GAP = 1.2  # from slice to slice, in thicknesses
_COARSENING, _LEAST_MATRIX = 5, 16  # of the matrix that tells the peak
_NOISE_SAMPLES = 20_000


@dataclass(frozen=True, eq=False)  # tensors have no truth value to compare
class ScanPlan:
    """All that the slices of a scan share."""

    recipe: ScanRecipe
    sizes: ScanSizes
    subject: Subject
    mixing: Complex[Tensor, "virtual coil"]  # gains and compression of the receivers
    covariance: Complex[Tensor, "virtual virtual"]  # of their noise, in the units of k-space
    scale: float  # of k-space over magnetisation
    heart: HeartState
    beats: BeatErrors | None

    @property
    def voxel_size_mm(self) -> tuple[float, float, float]:
        """Return ``(x, y, slice)``; slices are a gap apart, which counts."""
        protocol = self.recipe.protocol
        n_y, n_x = self.sizes.matrix
        gap = _GAP if self.sizes.n_slices > 1 else 1.0
        return protocol.fov_x_mm / n_x, protocol.fov_y_mm / n_y, gap * protocol.thickness_mm

    @property
    def n_coils(self) -> int:
        """Return how many coils k-space has."""
        return len(self.mixing)


@dataclass(frozen=True, eq=False)
class SimulatedSlice:
    """One slice: what is true, how the coils see it, and what was measured."""

    truth: Image  # (frame, y, x), noiseless
    maps: SensitivityMaps  # (coil, y, x), unit RSS
    kspace: KSpace  # (frame, coil, y, x), fully sampled, with noise


def plan_scan(recipe: ScanRecipe, images: Tensor | None = None) -> ScanPlan:
    """Draw patient, sizes, coils and motion; `images` of a real patient replace the anatomy."""
    subject, sizes = draw_subject(recipe.patient_random(), images), draw_sizes(recipe)
    middle = _plane_of_slice(recipe, sizes, subject, sizes.n_slices // 2)
    mixing, covariance = receivers(recipe, subject, middle)
    heart, beats = _heart_of(recipe, sizes), _beats_of(recipe, sizes)
    plan = ScanPlan(recipe, sizes, subject, mixing, covariance, 1.0, heart, beats)
    scale = draw_log_uniform(recipe.site.peak, recipe.random("scan")) / _peak(plan)
    sigma = scale * noise_level(recipe, sizes)
    return replace(plan, covariance=sigma**2 * covariance, scale=scale)


def simulate_slice(plan: ScanPlan, index: int, device: str = "cpu") -> SimulatedSlice:
    """Simulate slice `index` of a scan."""
    plane = _plane(plan, index)
    windows = filter_windows(plan.recipe.site.kspace_filter, plan.sizes.matrix)
    image, maps = _seen(plan, plane, index, device)
    truth = _filtered(image, windows)
    kspace = encode(truth, maps)
    if plan.beats is not None:
        moves = float(plane.y_axis.z), float(plane.x_axis.z)
        kspace = disturb(kspace, plan.beats, moves, plane.fov_mm)
    noise = draw_noise(tuple(kspace.shape), plan.covariance, _noise_random(plan, index, device))
    return SimulatedSlice(truth, maps, _stored(kspace, noise, windows, plan))


def _seen(plan: ScanPlan, plane: Plane, index: int, device: str) -> tuple[Image, SensitivityMaps]:
    """Return the object with the brightness of the coils, and maps of unit RSS."""
    matrix = plan.sizes.matrix
    fine = plan.scale * _object(plan, plane, index, device)
    loops = coils.sensitivities(_array(plan), plane, matrix, device)
    virtual = torch.einsum("vc,cyx->vyx", plan.mixing.to(loops), loops)
    return split_shading(band_limited(fine, matrix), virtual)


def _peak(plan: ScanPlan) -> float:
    """Return the largest magnitude that k-space of the middle slice has without noise.

    It lies near the origin, where a coarse matrix has the same samples but for the unit of the
    transform.
    """
    n_y, n_x = plan.sizes.matrix
    coarse = (max(_LEAST_MATRIX, n_y // _COARSENING), max(_LEAST_MATRIX, n_x // _COARSENING))
    small = replace(plan, sizes=replace(plan.sizes, matrix=coarse))
    index = plan.sizes.n_slices // 2
    largest = float(encode(*_seen(small, _plane(small, index), index, "cpu")).abs().amax())
    if largest == 0:
        raise DataError("the anatomy is empty: nothing in this slice gives a signal")
    return largest * math.sqrt(n_y * n_x / math.prod(coarse))


def noise_scan(plan: ScanPlan, n_samples: int = _NOISE_SAMPLES) -> NoiseSamples:
    """Return a noise scan: what the receivers give without a signal."""
    random = plan.recipe.random("noise scan")
    return draw_noise_scan(n_samples, plan.covariance, random)


def measured_lines(plan: ScanPlan) -> Bool[Tensor, " y"]:
    """Return which lines the scanner measures; the others are zero filling or partial Fourier."""
    window, _ = filter_windows(plan.recipe.site.kspace_filter, plan.sizes.matrix)
    return (window > 0) & wanted_lines(plan)


def wanted_lines(plan: ScanPlan) -> Bool[Tensor, " y"]:
    """Return all lines but those that partial Fourier leaves out.

    Zero filling is no loss: the image has no more resolution, and a file does not tell its zeros
    from measured ones.
    """
    n_y = plan.sizes.matrix[0]
    return torch.arange(n_y) >= round((1 - plan.recipe.site.partial_fourier) * n_y)


def noiseless(one: SimulatedSlice) -> KSpace:
    """Return the k-space of the truth, without noise and without errors of beats."""
    return encode(one.truth, one.maps)


def _heart_of(recipe: ScanRecipe, sizes: ScanSizes) -> HeartState:
    contrast, site = recipe.protocol.contrast, recipe.site
    if contrast == "cine":
        return over_the_cycle(sizes.n_frames)
    if contrast in _SINGLE_SHOT:
        drift = max(site.drift_mm, 1.0)  # nobody holds the breath for so many beats
        random = recipe.random("beats")
        return beat_after_beat(
            sizes.n_frames, random, drift_mm=drift, mistrigger=site.mistrigger, cycle=_DIASTOLE
        )
    return _moment(_DIASTOLE)


def _moment(cycle: float) -> HeartState:
    contraction = contraction_at(torch.tensor([cycle]))[:, None, None]
    return HeartState(contraction, torch.zeros(1, 1, 1))


def _beats_of(recipe: ScanRecipe, sizes: ScanSizes) -> BeatErrors | None:
    site, random = recipe.site, recipe.random("segments")
    is_segmented = recipe.protocol.contrast in _SEGMENTED
    if not is_segmented or (site.drift_mm == 0 and site.mistrigger == 0):
        return None
    n_beats = max(2, math.ceil(sizes.matrix[0] / _LINES_PER_BEAT))
    late = (torch.rand(n_beats, generator=random) < site.mistrigger).long()
    sign = 2 * torch.randint(2, (n_beats,), generator=random) - 1
    is_cine = recipe.protocol.contrast == "cine"
    shift = breathing_drift(n_beats, random, site.drift_mm)
    return BeatErrors(shift, late * sign if is_cine else 0 * late)


def _plane(plan: ScanPlan, index: int) -> Plane:
    return _plane_of_slice(plan.recipe, plan.sizes, plan.subject, index)


def _plane_of_slice(recipe: ScanRecipe, sizes: ScanSizes, subject: Subject, index: int) -> Plane:
    protocol = recipe.protocol
    is_flow = protocol.contrast == "flow2d"  # its slices are moments of one place
    step = 0.0 if is_flow else _GAP * protocol.thickness_mm
    offset = step * (index - (sizes.n_slices - 1) / 2) + (42.0 if is_flow else 0.0)
    fov_mm = (protocol.fov_y_mm, protocol.fov_x_mm)
    wanted = Prescription(sizes.view, fov_mm, protocol.thickness_mm, offset)
    return plane_of(wanted, subject.body, recipe.random("plane"))


def _array(plan: ScanPlan) -> coils.Currents:
    return coils.place_array(plan.recipe.site.array, plan.subject.body.thorax)


def _object(plan: ScanPlan, plane: Plane, index: int, device: str) -> FineImage:
    recipe, body, sizes = plan.recipe, plan.subject.body, plan.sizes
    contrast_of = CONTRASTS[recipe.protocol.contrast]
    is_flow = recipe.protocol.contrast == "flow2d"
    cycle = index / sizes.n_slices
    heart = _moment(cycle) if is_flow else plan.heart
    rendering = render_subject(plan.subject, index, plane, sizes.matrix, heart, device)
    spread = FieldSpread(recipe.site.off_resonance_hz, recipe.site.transmit_spread)
    place = conditions(body, rendering.points, recipe.site.field_strength_t, spread)
    contrast = contrast_of(recipe.protocol.timing(sizes.n_frames), place)
    image = form_image(rendering, contrast, body, heart.contraction)
    image *= receive_phase(body, rendering.points) * saturation(image.shape[-2], device)
    if is_flow:
        rising, falling = flow_profiles(body, plane, sizes.matrix, device)
        velocity = systolic_velocity(cycle) * (rising - 0.8 * falling)
        image[1::2] *= phase_contrast(velocity, torch.tensor(_VENC_CM_S))
    return image


def _filtered(image: Image, windows: Windows) -> Image:
    """Return the image as the vendor's filter leaves it, untouched where it does nothing."""
    if all(bool((window == 1).all()) for window in windows):
        return image
    return ifft2c(apply_windows(fft2c(image), windows))


def _stored(kspace: KSpace, noise: KSpace, windows: Windows, plan: ScanPlan) -> KSpace:
    """Return what the file holds: filtered noise too, exact zeros where nothing was measured."""
    measured = measured_lines(plan).float(), torch.ones_like(windows[1])
    return apply_windows(kspace + apply_windows(noise, windows), measured)


def _noise_random(plan: ScanPlan, index: int, device: str) -> Generator:
    """Return the generator of a slice's noise on the device; devices draw different numbers."""
    random = plan.recipe.random(f"noise {index}")
    if random.device == torch.device(device):
        return random
    return torch.Generator(device).manual_seed(random.initial_seed())
