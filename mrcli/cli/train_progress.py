"""How far a training is: a bar on a terminal, else a line now and then."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import fmean
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from mrcli.cli import render

if TYPE_CHECKING:
    from mrcli.training.loop import StepRecord

OnStep = Callable[["StepRecord", int], None]

_STEPS_PER_LINE = 100


@contextmanager
def step_progress(*, is_quiet: bool) -> Iterator[OnStep]:
    """Yield what training calls after each step: a bar on a terminal, else a line per 100."""
    if is_quiet:
        yield _say_nothing
    elif sys.stderr.isatty():
        with _bar() as bar:
            yield _Course(bar).advance
    else:
        yield _Course(None).advance


def _say_nothing(record: "StepRecord", n_steps: int) -> None:
    del record, n_steps


def _bar() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(12), MofNCompleteColumn())
    times = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
    return Progress(*columns, *times, console=Console(stderr=True), transient=True)


class _Course:
    """Tells of the last steps: the mean of the decibels gained, and when all will be done."""

    def __init__(self, bar: Progress | None) -> None:
        self.bar, self.gains = bar, list[float]()
        self.task = bar.add_task("step", total=None) if bar else None
        self.start, self.n_taken = time.monotonic(), 0

    def advance(self, record: "StepRecord", n_steps: int) -> None:
        """Take the report of a step."""
        self.n_taken += 1
        if "error" in record.terms:
            self.gains.append(record.start_error - record.terms["error"])
        self.gains = self.gains[-_STEPS_PER_LINE:]
        done = record.step + 1
        if self.bar is not None and self.task is not None:
            self.bar.update(self.task, description=self._gain(), total=n_steps, completed=done)
        elif done % _STEPS_PER_LINE == 0 or done == n_steps:
            render.note(f"step {done} of {n_steps}: {self._gain()}, {self._left(n_steps - done)}")

    def _gain(self) -> str:
        return f"{fmean(self.gains):+.2f} dB" if self.gains else "no signal"

    def _left(self, n_left: int) -> str:
        per_step = (time.monotonic() - self.start) / self.n_taken
        minutes = n_left * per_step / 60
        left = f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"
        return f"{per_step:.2f} s a step, {left} left"
