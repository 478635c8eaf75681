"""Whom a scan shows: a procedural patient, or images of a real one in a procedural body.

A real image gives the tissues of its plane by their brightness in balanced SSFP, after the shading
of its coils is taken out, and is made to beat by a smooth contraction. Coils, fields and noise come
from the body in either case.
"""

from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Generator, Tensor
from torch.nn.functional import grid_sample

from mrcli.simulate.anatomy import Rendering, fine_grid, render, window_around_heart
from mrcli.simulate.body import Body, draw_body
from mrcli.simulate.motion import HeartState
from mrcli.simulate.planes import Grid, Plane
from mrcli.simulate.shapes import Points, TissueFractions
from mrcli.simulate.tissues import N_TISSUES, Tissue

Images = Float[Tensor, "image row column"]  # 0 to 1

_THROUGH_SLICE = (-1 / 3, 0.0, 1 / 3)  # of the thickness: where the partial volume is sampled
_PIXEL_MM = 1.35  # of the real images
_SHADING_PIXELS = 45  # what varies more slowly is taken for the coils' doing
_CONTRACTION = 0.22  # of lengths near the center of the heart
_HEART_MM = 38.0  # how far that reaches
# brightness in the real image, and the tissue that it stands for; in between is a mixture
_ANCHORS: tuple[tuple[float, Tissue | None], ...] = (
    (0.00, None),
    (0.10, Tissue.LUNG),
    (0.30, Tissue.MYOCARDIUM),
    (0.42, Tissue.MUSCLE),
    (0.72, Tissue.LEFT_BLOOD),
    (1.00, Tissue.FAT),
)


@dataclass(frozen=True, eq=False)  # tensors have no truth value to compare
class Subject:
    """A body, and the images that replace its anatomy if there are any."""

    body: Body
    images: Images | None = None
    turn: int = 0  # how the images lie: quarter turns, and mirrored from 4 on


def draw_subject(random: Generator, images: Images | None = None) -> Subject:
    """Draw a patient."""
    body = draw_body(random)
    turn = int(torch.randint(8, (1,), generator=random))
    return Subject(body, None if images is None else images.float(), turn)


def render_subject(
    subject: Subject,
    index: int,
    plane: Plane,
    matrix: Grid,
    state: HeartState,
    device: str = "cpu",
) -> Rendering:
    """Render slice `index` for the moments of `state`, the mean over the thickness of the plane."""
    if subject.images is not None:
        image = _as_brightness(subject, index).to(device)
        return _render_image(image, plane, matrix, state)
    normal = plane.x_axis.cross(plane.y_axis)
    through = [_moved(plane, normal, share * plane.thickness_mm) for share in _THROUGH_SLICE]
    parts = [render(subject.body, one, matrix, state, device) for one in through]
    still = torch.stack([part.still for part in parts]).mean(0)
    moving = torch.stack([part.moving for part in parts]).mean(0)
    return replace(parts[1], still=still, moving=moving)


def _moved(plane: Plane, normal: Points, distance_mm: float) -> Plane:
    return replace(plane, center=plane.center.plus(normal.times(distance_mm)))


def _as_brightness(subject: Subject, index: int) -> Float[Tensor, "row column"]:
    """Return one image without its shading, 1 where fat is."""
    images = subject.images
    if images is None:
        raise TypeError("the subject has no images")
    image = torch.rot90(images[index % len(images)], subject.turn % 4)
    image = image.flip(0) if subject.turn >= 4 else image
    local = _box_mean(_box_mean(image, 0), 1)
    local = local + image.mean()  # dark surroundings are no reason to brighten
    flat = torch.where(local > 0, image / local.sqrt(), image)
    white = torch.quantile(flat, 0.985)
    white = white if white > 0 else flat.amax()
    return (flat / white).clamp(0, 1) if white > 0 else flat


def _box_mean(image: Float[Tensor, "row column"], axis: int) -> Float[Tensor, "row column"]:
    """Return the mean over a window along one axis, of those pixels that exist."""
    n = image.shape[axis]
    sums = torch.cat((torch.zeros_like(image.narrow(axis, 0, 1)), image.cumsum(axis)), axis)
    index = torch.arange(n)
    stop, start = (index + _SHADING_PIXELS + 1).clamp(max=n), (index - _SHADING_PIXELS).clamp(min=0)
    counts = (stop - start).view((-1, 1) if axis == 0 else (1, -1))
    return (sums.index_select(axis, stop) - sums.index_select(axis, start)) / counts


def _render_image(
    image: Float[Tensor, "row column"], plane: Plane, matrix: Grid, state: HeartState
) -> Rendering:
    grid = fine_grid(matrix)
    device = str(image.device)
    points = plane.points(grid, device)
    window = window_around_heart(plane, grid)
    here = points.minus(plane.center)
    y, x = here.dot(plane.y_axis), here.dot(plane.x_axis)
    still = tissue_fractions(_at(image, y, x))
    y, x = y[window], x[window]
    contraction, shift = state.contraction.to(device), state.shift_mm.to(device)
    y, x = y + shift * float(plane.y_axis.z), x + shift * float(plane.x_axis.z)
    stretch = 1 + _CONTRACTION * contraction * torch.exp(-(y**2 + x**2) / _HEART_MM**2)
    moving = tissue_fractions(_at(image, stretch * y, stretch * x))
    return Rendering(points, still, moving, window)


def _at(image: Float[Tensor, "row column"], y_mm: Tensor, x_mm: Tensor) -> Tensor:
    """Return the image at places in millimetres from its middle; 0 outside it."""
    rows, columns = image.shape
    places = torch.stack((2 * x_mm / (columns * _PIXEL_MM), 2 * y_mm / (rows * _PIXEL_MM)), -1)
    found = grid_sample(image[None, None], places.reshape(1, 1, -1, 2), align_corners=False)
    return found.reshape(y_mm.shape)


def tissue_fractions(brightness: Float[Tensor, "*batch y x"]) -> TissueFractions:
    """Return the mixture of the two tissues between whose brightness a value lies."""
    fractions = torch.zeros(N_TISSUES, *brightness.shape, device=brightness.device)
    for (low, darker), (high, brighter) in pairwise(_ANCHORS):
        share = ((brightness - low) / (high - low)).clamp(0, 1)
        fractions[brighter] += share
        if darker is not None:
            fractions[darker] -= share
    return fractions
