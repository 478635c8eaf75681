"""What an adapter does, as pictures: before, after, their difference here and in k-space."""

import base64
import io
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mrcli.adapt.fit import Frozen
from mrcli.adapt.trials import Trial, part_of
from mrcli.adapters.adapter import Adapter
from mrcli.physics.encoding import fft2c
from mrcli.types import Image

Plane = Float32[np.ndarray, "y x"]

_DPI = 80
_AMPLIFIED = 10  # differences, to be seen
_FAINTEST = -6.0  # of changes in k-space, log10
_PART_PIXELS = 20_000  # for the slots, of which there are many


@dataclass(frozen=True)
class Picture:
    """A PNG as text, and what it shows."""

    title: str
    png_base64: str


def pictures_of(
    frozen: Frozen, universal: Adapter | None, adapter: Adapter, trial: Trial, name: str
) -> Picture:
    """Return before, after and differences of the middle frame of a trial."""
    with torch.inference_mode():
        before, after = (frozen.image(one, trial).cpu() for one in (universal, adapter))
    middle = len(before) // 2
    panels = _panels(before[middle], after[middle], trial, middle)
    n_y, n_x = before.shape[-2:]
    height = min(max(3 * n_y / n_x, 1), 6) + 0.4
    figure = Figure(figsize=(3 * len(panels), height), dpi=_DPI)
    axes = np.atleast_1d(figure.subplots(1, len(panels)))
    top = float(before[middle].abs().quantile(0.995))
    for axis, (title, (plane, limit)) in zip(axes, panels.items(), strict=True):
        vmin, vmax = (0, top) if limit is None else limit
        axis.imshow(plane, cmap="gray" if limit is None else "coolwarm", vmin=vmin, vmax=vmax)
        axis.set_title(title, fontsize=8)
        axis.set_axis_off()
    figure.tight_layout()
    return Picture(f"{name}, {trial.condition}", _png(figure))


def _panels(
    before: Image, after: Image, trial: Trial, frame: int
) -> Mapping[str, tuple[Plane, tuple[float, float] | None]]:
    top = float(before.abs().quantile(0.995)) / _AMPLIFIED
    difference = after.abs() - before.abs()
    change, whole = (fft2c(one[None])[0].abs() for one in (after - before, before))
    share = (change / whole.max()).clamp(min=10.0**_FAINTEST)
    panels: dict[str, tuple[Plane, tuple[float, float] | None]] = {
        "before": (before.abs().numpy(), None),
        "after": (after.abs().numpy(), None),
        f"after - before, x{_AMPLIFIED}": (difference.numpy(), (-top, top)),
        "change in k-space over its peak, log10": (share.log10().numpy(), (_FAINTEST, -2)),
    }
    if trial.target is not None:
        error = after.abs() - trial.target[frame].cpu().abs()
        panels[f"after - reference, x{_AMPLIFIED}"] = (error.numpy(), (-top, top))
    return panels


def slot_shares(
    frozen: Frozen, universal: Adapter | None, adapter: Adapter, trial: Trial
) -> dict[str, float]:
    """Return how much of the change is lost where one cascade has no adapter, by cascade."""
    part = part_of(trial, 0.5, _PART_PIXELS)
    with torch.inference_mode():
        after = frozen.image(adapter, part)
        change = (after - frozen.image(universal, part)).norm()
        cascades = sorted({int(name.split(".")[1]) for name in adapter.names})
        lost = {
            f"cascade {one + 1}": (after - frozen.image(_without(adapter, one), part)).norm()
            for one in cascades
        }
    return {name: float(one / change) if change > 0 else 0.0 for name, one in lost.items()}


def _without(adapter: Adapter, cascade: int) -> Adapter:
    """Return a copy that does nothing in one cascade."""
    copy = deepcopy(adapter)
    for name, form in zip(copy.names, copy.forms, strict=True):
        if int(name.split(".")[1]) == cascade:
            for parameter in form.parameters():
                parameter.zero_()
    return copy


def bars(shares: Mapping[str, float]) -> Picture:
    """Return a bar per cascade."""
    figure = Figure(figsize=(6, 2.4), dpi=_DPI)
    axis = figure.subplots()
    axis.bar(list(shares), list(shares.values()), color="#4477aa")
    axis.set_ylabel("share of the change")
    axis.tick_params(axis="x", labelsize=7)
    figure.tight_layout()
    return Picture("share of the change that is lost without one cascade", _png(figure))


def curve_picture(points: Sequence[Mapping[str, float]]) -> Picture:
    """Return the gain over the number of patients, with the interval of its mean."""
    figure = Figure(figsize=(4, 2.6), dpi=_DPI)
    axis = figure.subplots()
    n = [point["n_patients"] for point in points]
    gains = [point["mean_gain_db"] for point in points]
    half = [point["half_width_db"] for point in points]
    axis.errorbar(n, gains, half, marker="o", capsize=3, color="#4477aa")
    axis.axhline(0, color="gray", linewidth=0.8)
    axis.set_xlabel("patients to learn from")
    axis.set_ylabel("gain, dB")
    figure.tight_layout()
    return Picture("learning curve", _png(figure))


def _png(figure: Figure) -> str:
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
