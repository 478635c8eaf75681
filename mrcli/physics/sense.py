"""SENSE: the image whose encoding fits the measured samples, regularised by its energy.

    x = argmin |A x - y|^2 + lambda |x|^2,    (A^H A + lambda) x = A^H y

(Pruessmann 1999, doi:10.1002/(SICI)1522-2594(199911)42:5<952::AID-MRM16>3.0.CO;2-S; 2001,
doi:10.1002/mrm.1241). With ``lambda = noise power / signal power`` of a pixel it is the linear
estimate of least error for white images. Where whole lines were acquired, every column of the image
is a problem of its own with a small matrix, which is built and solved exactly; other masks take
conjugate gradients.
"""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Complex
from torch import Tensor
from torch.fft import fftn, fftshift, ifft, ifftn, ifftshift

from mrcli.physics.encoding import Y_ONLY, CartesianEncoding
from mrcli.types import Image, KSpace, SamplingMask

Columns = Complex[Tensor, "x y frame"]
ColumnMatrices = Complex[Tensor, "x y y"]

SMALLEST_REGULARIZATION = 1e-5  # of the largest eigenvalue, 1: single precision ends near there
_COIL = -3
_MAP_ERROR = 1e-3  # power over that of the signal: what maps from 20 lines miss of the true ones
_LEAST_SIGNAL = 0.01  # of the noise power: less cannot be told from none
_CG_TOLERANCE = 1e-5
_CG_ITERATIONS = 100
_BYTES_PER_CHUNK = 2**22


def solve_sense(encoding: CartesianEncoding, kspace: KSpace, regularization: float) -> Image:
    """Return the SENSE image ``(frame, y, x)`` of ``(frame, coil, y, x)`` data."""
    combined = adjoint_image(encoding, kspace)
    if encoding.axes == Y_ONLY:
        return _solve_columns(encoding, combined, regularization)
    normal = normal_operator(encoding)
    return conjugate_gradients(lambda image: normal(image) + regularization * image, combined)


def adjoint_image(encoding: CartesianEncoding, kspace: KSpace) -> Image:
    """Return ``A^H y`` for ``(frame, coil, y, x)`` data, one frame at a time to keep memory low."""
    frames = [encoding.of_frame(index).adjoint(frame) for index, frame in enumerate(kspace)]
    return torch.stack(frames)


def wiener_regularization(
    encoding: CartesianEncoding, kspace: KSpace, noise_sigma: float, calibrated: SamplingMask
) -> float:
    """Return noise power / signal power per pixel, the latter from samples far from the origin.

    What is missing lies outside the calibration block, so the power measured there is the prior of
    what has to be found; the power of the whole image, dominated by its mean, would be ten times
    too trustful. Unit-RSS maps and a unitary transform give the image the energy of its k-space.
    `calibrated` marks the block; where nothing else was acquired, all samples count.
    """
    if bool(encoding.mask.all()):
        return SMALLEST_REGULARIZATION  # nothing is missing, nothing has to be supposed
    outer = encoding.mask & ~calibrated
    counted = outer if bool(outer.any()) else encoding.mask
    counted = counted.expand(len(kspace), -1, -1, -1)
    n_coils, n_x = kspace.shape[-3], kspace.shape[-1]
    n_samples = float(counted.sum()) * (n_x / counted.shape[-1])
    energy = sum(
        float((mask * frame).abs().square().sum(dtype=torch.float64))
        for mask, frame in zip(counted, kspace, strict=True)
    )
    noise = n_coils * noise_sigma**2
    signal = max(energy / n_samples - noise, _LEAST_SIGNAL * noise)
    if signal == 0:
        return SMALLEST_REGULARIZATION
    object_share = float((encoding.maps.abs().amax(-3) > 0).float().mean())
    return max(object_share * noise_sigma**2 / signal, SMALLEST_REGULARIZATION)


def map_error_regularization(encoding: CartesianEncoding) -> float:
    """Return the weight that keeps errors of the maps from being unfolded into the image.

    To the equations they are noise of a fixed share of the signal, whatever the scanner's own noise
    is. A single coil has no map to be wrong, and full sampling nothing to unfold.
    """
    is_unfolding = encoding.maps.shape[_COIL] > 1 and not bool(encoding.mask.all())
    return _MAP_ERROR if is_unfolding else 0.0


def normal_operator(encoding: CartesianEncoding) -> Callable[[Image], Image]:
    """Return ``A^H A`` for images ``(frame, y, x)``, one frame at a time to keep memory low.

    The shifts that center a transform commute with pixel-wise products, so they move from the coil
    images to the maps and the mask, once, and to the image, which is smaller by the coils.
    """
    axes = encoding.axes
    maps = ifftshift(encoding.maps.flatten(0, -4), dim=axes).contiguous()
    conjugate = maps.conj().resolve_conj()
    mask = ifftshift(encoding.mask.flatten(0, -4), dim=axes).to(maps.real.dtype)

    def normal_frame(image: Tensor, frame: int) -> Tensor:
        shared = 0 if len(mask) == 1 else frame
        coil_images = maps[0] * image
        kspace = fftn(coil_images, dim=axes, norm="ortho").mul_(mask[shared])
        return ifftn(kspace, dim=axes, norm="ortho").mul_(conjugate[0]).sum(0)

    def normal(image: Image) -> Image:
        shifted = ifftshift(image, dim=axes)
        frames = [normal_frame(frame, index) for index, frame in enumerate(shifted)]
        return fftshift(torch.stack(frames), dim=axes)

    return normal


def conjugate_gradients(operator: Callable[[Image], Image], right: Image) -> Image:
    """Solve ``operator(x) = right`` for Hermitian positive definite `operator`, per frame.

    Stops when every frame's residual is below 1e-5 of its right-hand side
    (Hestenes and Stiefel 1952, doi:10.6028/jres.049.044).
    """
    solution, residual, direction = torch.zeros_like(right), right.clone(), right.clone()
    power = first_power = _power(residual)
    for _ in range(_CG_ITERATIONS):
        image = operator(direction)
        step = _ratio(power, _power(direction, image))
        solution = solution + step * direction
        residual = residual - step * image
        previous, power = power, _power(residual)
        if bool((power <= _CG_TOLERANCE**2 * first_power).all()):
            break
        direction = residual + _ratio(power, previous) * direction
    return solution


def _power(left: Image, right: Image | None = None) -> Tensor:
    product = left.conj() * (left if right is None else right)
    return product.real.sum((-2, -1), keepdim=True)


def _ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    return torch.where(denominator > 0, numerator / denominator, 0)


def _solve_columns(encoding: CartesianEncoding, combined: Image, regularization: float) -> Image:
    """Solve ``(G_x * B + lambda) x = b`` for every column x of the image.

    ``G_x = S^H S`` couples the pixels of a column through the coils, ``B = F^H M F`` through the
    missing lines; their elementwise product is ``A^H A``.
    """
    profiles = encoding.maps.flatten(0, -4)[0].permute(2, 1, 0).contiguous()  # (x, y, coil)
    columns = combined.permute(2, 1, 0)
    solved = torch.empty_like(columns, memory_format=torch.contiguous_format)
    systems = _systems(encoding.mask, len(combined), profiles.dtype)
    n_y = profiles.shape[1]
    n_columns = max(1, _BYTES_PER_CHUNK // (n_y**2 * profiles.element_size()))
    for start in range(0, len(columns), n_columns):
        some = slice(start, start + n_columns)
        coupling = profiles[some].conj().resolve_conj() @ profiles[some].mT
        for frames, aliasing in systems:
            solved[some, :, frames] = _solve_some(
                coupling * aliasing, columns[some][..., frames], regularization
            )
    return solved.permute(2, 1, 0)


def _solve_some(matrices: ColumnMatrices, right: Columns, regularization: float) -> Columns:
    matrices.diagonal(dim1=-2, dim2=-1).add_(regularization)
    return torch.cholesky_solve(right.contiguous(), torch.linalg.cholesky(matrices))


def _systems(
    mask: SamplingMask, n_frames: int, dtype: torch.dtype
) -> list[tuple[Bool[Tensor, " frame"], Complex[Tensor, "y y"]]]:
    """Return each distinct set of lines as its frames and its aliasing matrix."""
    lines = mask.reshape(-1, mask.shape[-2]).expand(n_frames, -1)
    distinct = torch.unique(lines, dim=0)
    return [((lines == one).all(-1), _aliasing_matrix(one, dtype)) for one in distinct]


def _aliasing_matrix(mask: Bool[Tensor, " y"], dtype: torch.dtype) -> Complex[Tensor, "y y"]:
    """Return ``F^H M F``, which depends on the distance of two pixels only."""
    spread = ifft(ifftshift(mask).to(dtype))
    position = torch.arange(len(mask), device=mask.device)
    return spread[(position[:, None] - position) % len(mask)]
