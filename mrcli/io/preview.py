"""A picture of a scan to look at: image, k-space and what was sampled, side by side."""

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from mrcli.io.atomic import atomic_path
from mrcli.physics.encoding import ifft2c
from mrcli.types import KSpace, SamplingMask

Picture = Float[Tensor, "y x"]

_WHITE = 0.995  # quantile of the image that is shown white: a bright spot must not darken the rest
_DECADES = 5  # of k-space below its peak are shown
_INCHES, _DOTS_PER_INCH = (12.0, 4.4), 100


@dataclass(frozen=True, eq=False)  # tensors have no truth value to compare
class Preview:
    """What is drawn: all pictures have y downwards and x to the right."""

    image: Picture  # root sum of squares over coils
    kspace_decades: Picture  # log10 of the magnitude over its peak, at least -5
    sampled: Picture  # share of the frames that sampled it


def preview_of(kspace: KSpace, mask: SamplingMask) -> Preview:
    """Average a slice ``(frame, coil, y, x)`` over the frames that sampled each place."""
    n_frames = kspace.shape[0]
    marks = mask.expand(n_frames, *mask.shape[1:-1], kspace.shape[-1])
    times = marks.sum(0).clamp(min=1)
    average = (kspace * marks).sum(0) / times
    magnitude = average.abs().square().sum(0).sqrt()
    decades = (magnitude / magnitude.amax()).log10().clamp(min=-_DECADES)
    image = ifft2c(average).abs().square().sum(0).sqrt()
    return Preview(image, decades, marks.double().mean(0)[0])


def write_preview(
    final: Path, preview: Preview, title: str, voxel_size_mm: tuple[float, ...] | None = None
) -> None:
    """Write the PNG; an older one is replaced. Raises `OutputError`.

    Pixels are drawn in the shape of the voxel, square ones where it is unknown.
    """
    figure = Figure(figsize=_INCHES, dpi=_DOTS_PER_INCH, layout="constrained")
    figure.suptitle(_plain(title))
    of_image, of_kspace, of_mask = figure.subplots(1, 3)
    n_y, n_x = preview.image.shape
    pixel = voxel_size_mm[1] / voxel_size_mm[0] if voxel_size_mm is not None else 1.0
    white = float(torch.quantile(preview.image.flatten().float(), _WHITE))
    _draw(of_image, preview.image, "image, mean of frames", aspect=pixel, limits=(0.0, white))
    # a step in k-space is one over the field of view
    step = n_x / (n_y * pixel)
    _draw(of_kspace, preview.kspace_decades, "log k-space", aspect=step, limits=(-_DECADES, 0))
    _draw(of_mask, preview.sampled, "sampled, share of frames", aspect=step, limits=(0, 1))
    with atomic_path(final, overwrite=True) as temporary:
        FigureCanvasAgg(figure).print_png(str(temporary))


def _plain(title: str) -> str:
    """Escape what the font lacks, and the sign that would start a formula."""
    return title.encode("ascii", "backslashreplace").decode().replace("$", r"\$")


def _draw(
    axes: Axes, picture: Picture, title: str, *, aspect: float, limits: tuple[float, float]
) -> None:
    lowest, highest = limits
    axes.imshow(
        picture.numpy(),
        cmap="gray",
        vmin=lowest,
        vmax=highest,
        aspect=aspect,
        origin="upper",
        interpolation="nearest",
    )
    axes.set(title=title, xlabel="x (readout)", ylabel="y (phase encode)")
