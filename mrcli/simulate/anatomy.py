"""Tissue fractions of a slice: the procedural patient, seen in one plane at some moments.

Everything that moves lies near the heart, so only that part of the plane is computed for every
frame; the rest is computed once.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from mrcli.simulate.body import Body
from mrcli.simulate.heart import REACH_MM, blood_flow, heart_layers
from mrcli.simulate.motion import HeartState
from mrcli.simulate.planes import Grid, Plane
from mrcli.simulate.shapes import Coverage, Points, paint
from mrcli.simulate.thorax import thorax_layers

_FINE = 2  # the object is rendered on a grid so much finer than the image


@dataclass(frozen=True, eq=False)  # tensors have no truth value to compare
class Rendering:
    """The tissues of a slice on a fine grid: at rest everywhere, and moving in a window.

    `still` is ``(tissue, y, x)``; `moving` is ``(tissue, frame, y, x)`` over `window`, the rows and
    columns near the heart, in which it takes the place of `still`.
    """

    points: Points
    still: Float[Tensor, "tissue fine_y fine_x"]
    moving: Float[Tensor, "tissue frame near_y near_x"]
    window: tuple[slice, slice]

    def in_window(self, p: Points) -> Points:
        """Return those places that lie in the window."""
        return Points(*(axis[self.window] for axis in p))


def fine_grid(matrix: Grid) -> Grid:
    """Return the grid on which objects are rendered."""
    return _FINE * matrix[0], _FINE * matrix[1]


def render(
    body: Body, plane: Plane, matrix: Grid, state: HeartState, device: str = "cpu"
) -> Rendering:
    """Render a slice for the moments of `state`."""
    grid = fine_grid(matrix)
    points = plane.points(grid, device)
    edge_mm = max(plane.fov_mm[0] / grid[0], plane.fov_mm[1] / grid[1])
    still, _ = paint(thorax_layers(points, body), torch.ones(grid, device=device), edge_mm)
    window = window_around_heart(plane, grid)
    near = Points(*(axis[window] for axis in points))
    state = HeartState(state.contraction.to(device), state.shift_mm.to(device))
    n_frames = max(len(state.contraction), len(state.shift_mm))
    free = torch.ones(n_frames, *near.x.shape, device=device)
    moving, uncovered = paint(heart_layers(near, body, state), free, edge_mm)
    moving += uncovered * still[:, None, window[0], window[1]]
    return Rendering(points, still, moving, window)


def flow_profiles(
    body: Body, plane: Plane, matrix: Grid, device: str = "cpu"
) -> tuple[Coverage, ...]:
    """Return the profiles of the rising and the falling aorta on the fine grid."""
    grid = fine_grid(matrix)
    points = plane.points(grid, device)
    still = torch.zeros(1, 1, 1, device=device)
    return blood_flow(points, body, HeartState(still, still), plane.fov_mm[0] / grid[0])


def window_around_heart(plane: Plane, grid: Grid) -> tuple[slice, slice]:
    """Return the rows and columns in which something may move."""
    heart = Points(torch.zeros(()), torch.zeros(()), torch.zeros(()))
    rows, columns = (
        _extent(n, fov_mm, offset)
        for n, fov_mm, offset in zip(grid, plane.fov_mm, plane.offset_mm(heart), strict=True)
    )
    return rows, columns


def _extent(n: int, fov_mm: float, center_mm: float) -> slice:
    per_mm = n / fov_mm
    start = int((center_mm - REACH_MM) * per_mm) + n // 2
    stop = int((center_mm + REACH_MM) * per_mm) + n // 2 + 1
    return slice(max(0, min(start, n - 1)), min(n, max(stop, 1)))
