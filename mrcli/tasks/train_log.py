"""The log of a training: a JSON line per step, and a picture of the course."""

import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from jaxtyping import Float64
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mrcli.io.atomic import atomic_path, write_text_atomically
from mrcli.training.loop import StepRecord

Line = Mapping[str, Any]
Course = Float64[np.ndarray, " step"]

_MOST_AVERAGED = 200  # steps of the running mean
_SHARE_AVERAGED = 20  # and no more than this part of them


def gain_of(record: StepRecord) -> float | None:
    """Return how many decibels nearer the truth the image of a step was than the first image."""
    error = record.terms.get("error")
    return None if error is None else record.start_error - error


def line_of(record: StepRecord) -> str:
    """Return the line of a step; what is not finite is null, since JSON has no word for it."""
    facts = {key: _plain(value) for key, value in vars(record).items()}
    return json.dumps(facts, allow_nan=False) + "\n"


def keep_lines_before(path: Path, step: int) -> None:
    """Drop the lines of later steps, which are about to be taken again, and torn ones.

    Each step keeps one line, the last.
    """
    if path.exists():
        kept = {line["step"]: line for line in read_log(path) if _is_before(line, step)}
        text = "".join(json.dumps(line) + "\n" for line in kept.values())
        write_text_atomically(path, text, overwrite=True)


def read_log(path: Path) -> list[Line]:
    """Return the whole lines of a log; a kill may have torn one."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return [line for line in map(_parsed, lines) if line is not None]


def means_of_last(path: Path) -> tuple[float | None, dict[str, float]]:
    """Return the decibels gained and the terms of the loss, means of the last steps of a log."""
    lines = read_log(path)[-_MOST_AVERAGED:] if path.exists() else []
    gains = [gain for gain in map(_gain, lines) if math.isfinite(gain)]
    terms = [line["terms"] for line in lines if isinstance(line.get("terms"), dict)]
    found: dict[str, list[float]] = defaultdict(list)
    for one in terms:
        for name, value in one.items():
            found[name] += [] if value is None else [value]
    losses = {name: fmean(values) for name, values in found.items() if values}
    return fmean(gains) if gains else None, losses


def draw_course(log: Path, final: Path) -> None:
    """Draw the running mean of the decibels gained over the first image, and the rate."""
    lines = [line for line in read_log(log) if isinstance(line.get("terms"), dict)]
    if not lines:
        return
    steps, gains, rates = _course(lines, "step"), _gains(lines), _course(lines, "rate")
    figure = Figure(figsize=(9, 4.5), dpi=100, layout="constrained")
    axes = figure.subplots()
    axes.plot(steps, running_mean(gains), color="C0")
    axes.set(xlabel="step", ylabel="dB gained over the first image, running mean")
    axes.grid(alpha=0.3)
    beside = axes.twinx()
    beside.plot(steps, rates, color="C1", linewidth=0.8)
    beside.set_ylabel("learning rate", color="C1")
    with atomic_path(final, overwrite=True) as temporary:
        FigureCanvasAgg(figure).print_png(str(temporary))


def running_mean(values: Course) -> Course:
    """Return the mean of each value and those before it; what is not a number does not count."""
    n = max(1, min(_MOST_AVERAGED, len(values) // _SHARE_AVERAGED))
    counts = np.isfinite(values).astype(np.float64)
    sums, counts = (np.cumsum(one) for one in (np.where(counts > 0, values, 0.0), counts))
    for one in (sums, counts):
        one[n:] -= one[:-n].copy()
    return np.divide(sums, counts, out=np.full(len(values), np.nan), where=counts > 0)


def _gains(lines: Sequence[Line]) -> Course:
    return np.array([_gain(line) for line in lines], np.float64)


def _gain(line: Line) -> float:
    error, start = (line.get("terms") or {}).get("error"), line.get("start_error")
    return math.nan if error is None or start is None else start - error


def _course(lines: Sequence[Line], key: str) -> Course:
    return np.array([line.get(key) for line in lines], np.float64)


def _is_before(line: Line, step: int) -> bool:
    found = line.get("step")
    return isinstance(found, int) and found < step


def _parsed(text: str) -> Line | None:
    try:
        line = json.loads(text)
    except ValueError:
        return None
    return line if isinstance(line, dict) else None


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
