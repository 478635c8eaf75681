"""One piece of a training: steps until the last one, a deadline or a signal, with checkpoints.

OUT/checkpoint.safetensors     weights, moments, running average: all that going on needs
OUT/settings.json              what decided the training; another call must agree
OUT/log.jsonl                  a line per step
OUT/loss.png                   the same as a picture

Of adapters these lie in OUT/adapters.
"""

import os
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TextIO

from torch import nn

from mrcli.tasks.train_log import draw_course, keep_lines_before, line_of
from mrcli.tasks.train_settings import PLOT, TrainSettings
from mrcli.tasks.train_signals import Deferred, deferred_signals
from mrcli.tasks.train_world import any_says, wait_for_all
from mrcli.training.ahead import simulated_ahead
from mrcli.training.curriculum import MASKS_PER_GROUP
from mrcli.training.loop import LoopSettings, Reconstruct, StepRecord, World, train
from mrcli.training.pool import Pool
from mrcli.training.state import Schedule, TrainingState

OnStep = Callable[[StepRecord, int], None]  # a step, and how many there are in all

_SECONDS_BETWEEN_CHECKPOINTS = 60.0


@dataclass(frozen=True, eq=False)  # networks have no truth value to compare
class Learner:
    """What is learned, how it reconstructs, and from which samples."""

    module: nn.Module
    reconstruct: Reconstruct
    pool: Pool
    device: str
    world: World


@dataclass(frozen=True, eq=False)
class Piece:
    """Where a training stands after one piece."""

    state: TrainingState
    first_step: int  # of this piece
    seconds: float | None  # of all pieces; None where an earlier version did not count


def loop_of(settings: TrainSettings) -> LoopSettings:
    """Return what decides the numbers of the loop."""
    schedule = Schedule(settings.n_steps, settings.peak_rate)
    return LoopSettings(schedule, settings.seed, most_pixels=settings.most_pixels)


def run_piece(
    settings: TrainSettings, learner: Learner, on_step: OnStep, deadline: float | None
) -> Piece:
    """Go on from the checkpoint, if there is one, until `deadline` of ``time.monotonic()``.

    A signal acts when the step that it met is whole and saved.
    """
    state = TrainingState(learner.module)
    seconds = _load(settings, state)
    first_step = state.step
    wait_for_all(learner.world)  # nobody saves while others load
    if first_step < settings.n_steps:
        with (
            _simulated_ahead(settings, learner, first_step),
            _book(settings, learner.world, state, seconds) as book,
            deferred_signals() as signals,
        ):
            with closing(_records(settings, learner, state)) as records:
                for record in records:
                    book.write(record, on_step, settings.n_steps)
                    if _has_to_end(learner, signals, deadline):
                        break
            book.save()
            signals.act()
        seconds = book.total
    return Piece(state, first_step, seconds)


def _records(
    settings: TrainSettings, learner: Learner, state: TrainingState
) -> Generator[StepRecord, None, None]:
    loop, world = loop_of(settings), learner.world
    return train(state, learner.reconstruct, learner.pool, loop, learner.device, world)


@contextmanager
def _simulated_ahead(settings: TrainSettings, learner: Learner, step: int) -> Iterator[None]:
    """Let the first process's workers simulate what all will draw from `step` on."""
    if learner.world.rank > 0 or settings.n_workers == 0:
        yield
        return
    window = loop_of(settings).window
    first, last = window.numbers(step)[0], window.numbers(settings.n_steps - 1)[-1]
    groups = range(first // MASKS_PER_GROUP, last // MASKS_PER_GROUP + 1)
    with simulated_ahead(learner.pool, groups, settings.n_workers):
        yield


def _load(settings: TrainSettings, state: TrainingState) -> float | None:
    """Take over the checkpoint and return how many seconds it took so far."""
    if not settings.checkpoint.exists():
        return 0.0
    seconds = state.load(settings.checkpoint).get("seconds")
    return float(seconds) if isinstance(seconds, int | float) else None


def _has_to_end(learner: Learner, signals: Deferred, deadline: float | None) -> bool:
    is_over = deadline is not None and time.monotonic() >= deadline
    own = is_over or signals.number is not None
    return any_says(learner.world, learner.device, yes=own)


class Book:
    """The log and the checkpoints of a piece; processes but the first write none."""

    def __init__(
        self,
        settings: TrainSettings,
        state: TrainingState,
        log: TextIO | None,
        before: float | None,
    ) -> None:
        self.settings, self.state, self.log, self.before = settings, state, log, before
        self.start = self.saved = time.monotonic()
        self.total = before  # seconds of all pieces, as the last checkpoint has it

    def write(self, record: StepRecord, on_step: OnStep, n_steps: int) -> None:
        """Write the line of a step, and a checkpoint where the last one is old."""
        if self.log is None:
            return
        self.log.write(line_of(record))
        on_step(record, n_steps)
        if time.monotonic() - self.saved > _SECONDS_BETWEEN_CHECKPOINTS:
            self.save()

    def save(self) -> None:
        """Write a checkpoint, never ahead of the log."""
        if self.log is None:
            return
        self.log.flush()
        os.fsync(self.log.fileno())
        self.saved = time.monotonic()
        self.total = None if self.before is None else self.before + self.saved - self.start
        self.state.save(self.settings.checkpoint, {"seconds": self.total})


@contextmanager
def _book(
    settings: TrainSettings, world: World, state: TrainingState, before: float | None
) -> Iterator[Book]:
    if world.rank > 0:
        yield Book(settings, state, None, before)
        return
    keep_lines_before(settings.log, state.step)
    try:
        with settings.log.open("a", encoding="utf-8") as log:
            yield Book(settings, state, log, before)
    finally:
        draw_course(settings.log, settings.run_dir / PLOT)
