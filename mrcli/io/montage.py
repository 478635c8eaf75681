"""A picture that compares reconstructions: images, errors and the course over frames."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float32
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mrcli.io.atomic import atomic_path

Series = Float32[np.ndarray, "frame y x"]

_ERROR_GAIN = 5
_COLUMNS = ("first frame", "middle frame", f"error x {_ERROR_GAIN}", "one row over frames")


def write_montage(
    final: Path, truth: Series, series: Mapping[str, Series], title: str, row: int
) -> None:
    """Write a PNG with a line of pictures for the truth and for each series beside it.

    All share the grey scale of the truth; each series is scaled to the truth by least squares, as
    the metric set `clean` does. The last column shows line `row` of the image in every frame.
    """
    shown = {"truth": truth} | {name: _scaled(one, truth) for name, one in series.items()}
    figure = Figure(figsize=(13, 2.6 * len(shown) + 0.6), dpi=90, layout="constrained")
    figure.suptitle(title)
    grid = figure.subplots(len(shown), len(_COLUMNS))
    for axes, (name, one) in zip(grid, shown.items(), strict=True):
        _draw_line(list(axes), name, one, truth, row)
    for axes, words in zip(grid[0], _COLUMNS, strict=True):
        axes.set_title(words)
    with atomic_path(final, overwrite=True) as temporary:
        FigureCanvasAgg(figure).print_png(str(temporary))


def _scaled(series: Series, truth: Series) -> Series:
    power = float((series * series).sum())
    return series * (float((series * truth).sum()) / power) if power > 0 else series


def _draw_line(axes: Sequence[Axes], name: str, series: Series, truth: Series, row: int) -> None:
    middle, white = len(series) // 2, float(np.quantile(truth, 0.998))
    error = _ERROR_GAIN * np.abs(series[middle] - truth[middle])
    pictures = (series[0], series[middle], error, series[:, row])
    for place, picture in zip(axes, pictures, strict=True):
        place.imshow(picture, cmap="gray", vmin=0, vmax=white)
        place.set_aspect("equal" if picture.shape == truth[0].shape else "auto")
        place.set(xticks=[], yticks=[])
    axes[0].set_ylabel(name)
