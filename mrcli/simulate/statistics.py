"""Statistics of k-space by which simulated and real scans, and sites, are compared.

None depends on the scale of the data; all are computed in double precision. ``y`` is the phase
encode direction, ``x`` the readout.
"""

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass

import torch
from jaxtyping import Bool, Complex, Float
from torch import Tensor
from torch.nn.functional import avg_pool2d

from mrcli.errors import DataError
from mrcli.physics.calibration import CALIBRATION_SAMPLES
from mrcli.physics.encoding import ifft2c, ifftc, reduce_coils
from mrcli.physics.noise import apply_to_coils, noise_covariance, whitening_matrix
from mrcli.types import CoilImages, CoilMatrix, KSpace, SensitivityMaps

Samples = Complex[Tensor, "coil sample"]
NoiseLines = Complex[Tensor, "coil line edge"]
Center = Complex[Tensor, "*batch coil center_y center_x"]
Series = Complex[Tensor, "frame y x"]
Curve = Float[Tensor, " point"]
Plane = Float[Tensor, "y x"]
SiteVectors = Float[Tensor, "scan statistic"]

N_RINGS = 40  # of k-space, from its origin to Nyquist
SLOPE_RINGS = (0.1, 0.5)  # of Nyquist: above the bright center, below most of the noise
_LEAST_BRIGHTNESS = 0.1  # of the 99 % quantile: what is brighter belongs to the object
_EDGE_OF_READOUT, _EDGE_OF_LINES = 1 / 16, 1 / 4  # on either side: air, and little signal


@dataclass(frozen=True)
class ScanStatistics:
    """What one slice of one scan is like."""

    four_coils: float  # share of the energy in four virtual coils, noise whitened
    radial_slope: float  # of log power over log frequency
    noise_correlation: float  # mean size between two coils
    noise_spread_db: float  # largest over smallest eigenvalue of the noise's correlation
    noise_neighbours: float  # correlation of the noise of neighbouring pixels along the readout
    phase_gradient: float  # radians per pixel
    g_mean: float
    g_high: float  # 95 % quantile
    moving: float  # root of the energy share that changes over frames, noise included
    shading: float  # 99.9 % quantile over median brightness
    snr_db: float  # median brightness over noise, coils combined


def coil_energy(samples: KSpace) -> Float[Tensor, " coil"]:
    """Return the energy shares of the singular values across coils, largest first.

    Their squares sum to 1 here; `cumsum` gives what so many virtual coils keep.
    """
    matrix = samples.movedim(-3, 0).flatten(1).to(torch.complex128)
    matrix = matrix / matrix.abs().amax()
    energy = torch.linalg.eigvalsh(matrix @ matrix.mH).flip(0).clamp(min=0)
    return energy / energy.sum()


def center_of(kspace: KSpace, size: int = CALIBRATION_SAMPLES) -> Center:
    """Return the central block of k-space, where signal is far above noise."""
    for axis in (-2, -1):
        n = kspace.shape[axis]
        kspace = kspace.narrow(axis, n // 2 - min(size, n) // 2, min(size, n))
    return kspace


def radial_power(kspace: KSpace, n_rings: int = N_RINGS) -> tuple[Curve, Curve]:
    """Return radius and mean power of rings of k-space, the mean of all samples being 1.

    Radii are in units of Nyquist along each axis, so that rings are ellipses where pixels are not
    square; the corners beyond 1 belong to no ring. Rings without a sample are left out.
    """
    kspace = kspace.to(torch.complex128) / kspace.abs().amax()
    power = kspace.abs().square().flatten(0, -3).mean(0)
    y, x = (_frequency(n) for n in power.shape)
    ring = (torch.hypot(y[:, None], x) * n_rings).floor().long().to(power.device)
    is_inside = ring < n_rings
    count = torch.bincount(ring[is_inside], minlength=n_rings)
    total = torch.bincount(ring[is_inside], power[is_inside], minlength=n_rings)
    radius = (torch.arange(n_rings, dtype=torch.float64) + 0.5) / n_rings
    return radius[count > 0], total[count > 0] / count[count > 0] / power.mean()


def radial_slope(kspace: KSpace) -> float:
    """Return the slope of log power over log radius in `SLOPE_RINGS`: -2 is power ``1 / k^2``."""
    radius, power = radial_power(kspace)
    is_counted = (radius >= SLOPE_RINGS[0]) & (radius <= SLOPE_RINGS[1]) & (power > 0)
    x, y = radius[is_counted].log(), power[is_counted].log()
    x = x - x.mean()
    return float((x * y).sum() / x.square().sum())


def noise_at_edges(kspace: KSpace) -> NoiseLines:
    """Return what lies at the edges of the field of view in the outer lines: hardly any signal.

    The two edges follow each other. Lines that were not measured are left out.
    """
    lines = ifftc(kspace.to(torch.complex128), (-1,))
    lines = lines[:, (kspace != 0).any(-1).any(0)]
    width = max(1, round(lines.shape[1] * _EDGE_OF_LINES))
    outer = torch.cat((lines[:, :width], lines[:, -width:]), 1)
    width = max(1, round(outer.shape[-1] * _EDGE_OF_READOUT))
    return torch.cat((outer[..., -width:], outer[..., :width]), -1)


def kurtosis(samples: Samples) -> float:
    """Return the fourth moment over the squared second, mean over coils and parts; Gauss has 3."""
    parts = torch.view_as_real(samples.to(torch.complex128).resolve_conj())
    parts = parts / parts.abs().amax()
    parts = parts - parts.mean(1, keepdim=True)
    return float((parts**4).mean(1).div(parts.square().mean(1).square()).mean())


def mean_correlation(covariance: CoilMatrix) -> float:
    """Return the mean size of the correlation of the noise of two coils, 0 to 1."""
    n, total = len(covariance), _correlation(covariance).abs().sum()
    return float((total - n) / (n * (n - 1))) if n > 1 else 0.0


def eigenvalue_spread_db(covariance: CoilMatrix) -> float:
    """Return ``10 log10`` of the largest over the smallest eigenvalue of the correlation matrix."""
    values = torch.linalg.eigvalsh(_correlation(covariance))
    return 10 * math.log10(float(values[-1] / values[0]))


def neighbour_correlation(noise: NoiseLines) -> float:
    """Return the size of ``E n(x) conj(n(x + 1)) / E |n|^2``: 0 where noise is white."""
    noise = noise.to(torch.complex128) / noise.abs().amax()
    product = (noise[..., 1:] * noise[..., :-1].conj()).mean((1, 2)).abs()
    return float((product / noise.abs().square().mean((1, 2))).mean())


def phase_gradient(images: CoilImages) -> float:
    """Return the mean length of the phase gradient of coil images in radians per pixel.

    The step along an axis is the angle of ``m(r + 1) conj(m(r))``, which needs no unwrapping; the
    weight is the geometric mean of both products, in the object only. A ramp has its slope.
    """
    images = images.to(torch.complex128) / images.abs().amax()
    here, inside = images[..., :-1, :-1], object_of(images.norm(dim=-3))
    along_y = images[..., 1:, :-1] * here.conj()
    along_x = images[..., :-1, 1:] * here.conj()
    inside = inside[:-1, :-1] & inside[1:, :-1] & inside[:-1, 1:]
    weight = (along_y.abs() * along_x.abs()).sqrt() * inside
    return float((weight * torch.hypot(along_y.angle(), along_x.angle())).sum() / weight.sum())


def g_factor(maps: SensitivityMaps, covariance: CoilMatrix, acceleration: int) -> Plane:
    """Return the g-factor of SENSE with every `acceleration`-th line, 0 where the maps are 0.

    ``g = sqrt([(S^H C^-1 S)^-1]_pp [S^H C^-1 S]_pp)`` over the pixels that fold onto each other
    (Pruessmann 1999, doi:10.1002/(SICI)1522-2594(199911)42:5<952::AID-MRM16>3.0.CO;2-S). Where the
    lines are no multiple of `acceleration`, the nearest pixels are taken. Pixels that the coils
    cannot tell apart at all have an infinite one.
    """
    seen = _whitened(maps, covariance)
    n_y = seen.shape[-2]
    shifts = [round(fold * n_y / acceleration) for fold in range(acceleration)]
    folded = torch.stack([seen.roll(-shift, -2) for shift in shifts], -1).permute(1, 2, 0, 3)
    return _own_g(folded)


def temporal_shares(series: Series) -> Curve:
    """Return the energy shares of the temporal frequencies 0, 1, ... ``frame // 2`` per series.

    Frequencies of either sign count together; the shares sum to 1.
    """
    series = series.to(torch.complex128) / series.abs().amax()
    energy = torch.fft.fft(series, dim=0).abs().square().sum((-2, -1))
    n = len(energy)
    both = energy + energy.roll(-1).flip(0)  # index h meets n - h
    half = both[: n // 2 + 1] / 2
    is_single = torch.tensor([h % n == -h % n for h in range(n // 2 + 1)])
    half = torch.where(is_single.to(half.device), half, 2 * half)
    return half / half.sum()


def change_between(first: Plane, second: Plane, window: int) -> float:
    """Return ``|a - b| / sqrt((|a|^2 + |b|^2) / 2)`` in the square window that changes most."""
    first, second = first.double() / first.amax(), second.double() / first.amax()
    change, energy = (first - second).square(), (first.square() + second.square()) / 2
    size = [min(window, n) for n in change.shape]
    pooled = avg_pool2d(torch.stack((change, energy))[None], size, stride=1)[0]
    place = int(pooled[0].argmax())
    return math.sqrt(float(pooled[0].flatten()[place] / pooled[1].flatten()[place]))


def object_of(magnitude: Plane) -> Bool[Tensor, "y x"]:
    """Return the pixels brighter than a tenth of the 99 % quantile."""
    return magnitude > _LEAST_BRIGHTNESS * _quantile(magnitude, 0.99)


def shading(magnitude: Plane) -> float:
    """Return the 99.9 % quantile over the median brightness of the object."""
    inside = magnitude[object_of(magnitude)]
    return _quantile(inside, 0.999) / _quantile(inside, 0.5)


def signal_to_noise(images: CoilImages, covariance: CoilMatrix) -> float:
    """Return the median brightness of the object over the noise, of ``(coil, y, x)`` images.

    Noise is whitened and coils are combined by the root of the sum of squares, less the noise's own
    power: ``sqrt(sum |m|^2 - n_coils)``.
    """
    power = _whitened(images, covariance).abs().square().sum(-3)
    combined = (power - len(images)).clamp(min=0).sqrt()
    return _quantile(combined[object_of(combined)], 0.5)


def scan_statistics(
    kspace: KSpace, maps: SensitivityMaps, noise: Samples, acceleration: int = 4
) -> ScanStatistics:
    """Return the statistics of one slice ``(frame, coil, y, x)`` and its noise scan."""
    covariance = noise_covariance(noise.to(torch.complex128))
    first, images = kspace[0], ifft2c(kspace.to(torch.complex128))
    combined = reduce_coils(images, maps.to(images))
    g = g_factor(maps, covariance, acceleration)
    inside = g[object_of(combined[0].abs()) & (g > 0)]
    return ScanStatistics(
        four_coils=float(coil_energy(center_of(_whitened(first, covariance)))[:4].sum()),
        radial_slope=radial_slope(first),
        noise_correlation=mean_correlation(covariance),
        noise_spread_db=eigenvalue_spread_db(covariance),
        noise_neighbours=neighbour_correlation(noise_at_edges(first)),
        phase_gradient=phase_gradient(images[0]),
        g_mean=float(inside.mean()),
        g_high=_quantile(inside, 0.95),
        moving=math.sqrt(float(temporal_shares(combined)[1:].sum())),
        shading=shading(combined[0].abs()),
        snr_db=20 * math.log10(signal_to_noise(images[0], covariance)),
    )


def site_statistics(scans: Sequence[ScanStatistics]) -> SiteVectors:
    """Return the statistics of the scans of one site as rows of numbers."""
    return torch.tensor([astuple(scan) for scan in scans], dtype=torch.float64)


def pairwise_distance(sites: Sequence[SiteVectors]) -> Float[Tensor, "site site"]:
    """Return how far a scan of one site lies from a scan of another, in standard deviations.

    ``D_ab^2 = mean over scans i of a, j of b, i != j, and statistics k of ((t_ik - t_jk) / s_k)^2``
    where ``s_k`` is the standard deviation of statistic `k` over the scans of all sites; one that
    never varies counts as no distance. The diagonal is how far patients of one site are apart
    (not a number for a site of one scan): sites differ by what exceeds it.
    """
    everything = torch.cat(list(sites))
    spread = everything.std(0)
    standard = [torch.where(spread > 0, site / spread, 0) for site in sites]
    rows = [[_mean_square(a, b, is_same=a is b) for b in standard] for a in standard]
    return torch.tensor(rows, dtype=torch.float64).sqrt()


def _mean_square(a: SiteVectors, b: SiteVectors, *, is_same: bool) -> float:
    squares = (a[:, None] - b[None]).square().mean(-1)
    pairs = len(a) * (len(a) - 1) if is_same else squares.numel()
    return float(squares.sum()) / pairs if pairs else math.nan


def _whitened(samples: CoilImages, covariance: CoilMatrix) -> CoilImages:
    matrix = whitening_matrix(covariance.to(torch.complex128))
    if matrix is None:
        raise DataError("the noise of some coils is missing or made of that of others")
    return apply_to_coils(matrix, samples.to(torch.complex128))


def _own_g(folded: Complex[Tensor, "y x coil fold"]) -> Plane:
    """Return the g-factor of the first of the pixels that fold onto each other."""
    overlap = folded.mH @ folded
    diagonal = overlap.diagonal(dim1=-2, dim2=-1).real
    is_seen = diagonal > 0
    # unit columns: g does not depend on their lengths, and pixels in the air become a unit matrix
    size = torch.where(is_seen, diagonal, 1).sqrt()
    cosines = overlap / (size[..., :, None] * size[..., None, :])
    cosines = cosines + torch.diag_embed((~is_seen).to(overlap))
    inverse, failed = torch.linalg.inv_ex(cosines)
    own = inverse[..., 0, 0].real.clamp(min=1).sqrt()
    own = torch.where(failed == 0, own, torch.full_like(own, math.inf))
    return torch.where(is_seen[..., 0], own, torch.zeros_like(own))


def _correlation(covariance: CoilMatrix) -> CoilMatrix:
    level = covariance.diagonal().real.sqrt()
    return covariance / torch.outer(level, level)


def _frequency(n: int) -> Curve:
    """Return the distance from the origin of every sample in units of Nyquist."""
    return (torch.arange(n, dtype=torch.float64) - n // 2) / (n / 2)


def _quantile(values: Tensor, share: float) -> float:
    ordered = values.flatten().sort().values  # `torch.quantile` refuses long inputs
    return float(ordered[round(share * (len(ordered) - 1))])
