"""Fit an adapter of a frozen backbone to the trials of a site.

    minimise  10 log10 of the errors of a trial, over the numbers of the adapter only

Every step takes a part of one trial; now and then the running average of the adapter is measured
on trials for validation, and the best one is kept. All that is random is drawn from seed and step.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass

import torch

from mrcli.adapt.trials import Trial, part_of
from mrcli.adapters.adapter import Adapter
from mrcli.adapters.family import adapted
from mrcli.nn.backbone import Backbone
from mrcli.simulate.recipes import generator_of
from mrcli.training.state import Schedule, TrainingState, averaged
from mrcli.types import Image

_WARM_UP = 10
_MOST_VALIDATED = 6  # trials


@dataclass(frozen=True)
class FitSettings:
    """How an adapter is fitted."""

    n_steps: int = 120
    peak_rate: float = 2e-3
    minutes: float = math.inf
    seed: int = 0
    most_pixels: int = 45_000  # of a step or a check; of all frames
    check_every: int = 25  # steps
    patience: int = 3  # checks without anything better


@dataclass(frozen=True)
class Check:
    """What validation found after some steps: decibels gained over the start, mean of trials."""

    step: int
    gain_db: float


@dataclass(frozen=True, eq=False)  # networks have no truth value to compare
class Fitted:
    """The best adapter, and how it came to be."""

    adapter: Adapter
    n_steps: int
    best_step: int  # 0: nothing was better than the start
    checks: tuple[Check, ...]
    was_cut: bool  # by the limit of time


@dataclass(frozen=True, eq=False)
class Frozen:
    """What does not change while an adapter is fitted: the backbone, and what acts before it."""

    backbone: Backbone
    before: Mapping[str | None, tuple[Adapter, ...]]  # by modality
    dtype: torch.dtype = torch.float32

    def image(self, adapter: Adapter | None, trial: Trial) -> Image:
        """Return the image of a trial, with an adapter or without."""
        before = self.before.get(trial.modality, ())
        chain = before if adapter is None else (*before, adapter)
        return adapted(self.backbone, chain, trial.given, self.dtype)

    def decibels(self, adapter: Adapter | None, trial: Trial) -> float:
        """Return the error of a trial in decibels; nothing is learned from it."""
        with torch.inference_mode():
            return trial.decibels_of(self.image(adapter, trial))


OnStep = Callable[[int, int, float], None]  # step, of, latest gain in decibels


def say_nothing(step: int, n_steps: int, gain_db: float) -> None:
    """Take a report of a step and do nothing with it."""
    del step, n_steps, gain_db


@dataclass(frozen=True, eq=False)
class Material:
    """The trials to learn from, and those that tell when to stop."""

    training: tuple[Trial, ...]
    validation: tuple[Trial, ...]


def fit(
    frozen: Frozen,
    first: Adapter,
    material: Material,
    settings: FitSettings,
    on_step: OnStep = say_nothing,
) -> Fitted:
    """Return the best adapter, beginning with a copy of `first`; stops early where nothing gains.

    A limit of minutes cuts the work short; the result then depends on the machine.
    """
    adapter, deadline = deepcopy(first), time.monotonic() + 60 * settings.minutes
    state = TrainingState(adapter)
    watch = _Watch(frozen, first, _middles(material.validation, settings), settings.patience)
    was_cut = False
    while state.step < settings.n_steps and not watch.has_enough and not was_cut:
        _step(frozen, adapter, state, material.training, settings)
        was_cut = time.monotonic() > deadline
        is_due = state.step % settings.check_every == 0 or state.step == settings.n_steps
        if is_due or was_cut:
            watch.look(state.step, averaged(adapter, state))
        on_step(state.step, settings.n_steps, watch.latest)
    return Fitted(watch.best, state.step, watch.best_step, tuple(watch.checks), was_cut)


def _middles(trials: Sequence[Trial], settings: FitSettings) -> tuple[Trial, ...]:
    """Return what is checked: the middle of some trials, as large as a step."""
    return tuple(part_of(one, 0.5, settings.most_pixels) for one in trials[:_MOST_VALIDATED])


def _step(
    frozen: Frozen,
    adapter: Adapter,
    state: TrainingState,
    trials: Sequence[Trial],
    settings: FitSettings,
) -> None:
    random = generator_of(settings.seed, "adapt", state.step)
    chosen = trials[int(torch.randint(len(trials), (1,), generator=random))]
    position = float(torch.rand(1, generator=random))
    part = part_of(chosen, position, settings.most_pixels)
    part.loss(frozen.image(adapter, part)).backward()  # type: ignore[no-untyped-call]
    state.update(Schedule(settings.n_steps, settings.peak_rate, _WARM_UP).rate(state.step))


class _Watch:
    """Keeps the best adapter that validation has seen."""

    def __init__(
        self, frozen: Frozen, first: Adapter, trials: tuple[Trial, ...], patience: int
    ) -> None:
        self.frozen, self.trials, self.patience = frozen, trials, patience
        self.start = [frozen.decibels(first, trial) for trial in trials]
        self.best, self.best_step, self.best_gain = deepcopy(first), 0, 0.0
        self.checks: list[Check] = []

    @property
    def latest(self) -> float:
        """Return the last gain, 0 before the first check."""
        return self.checks[-1].gain_db if self.checks else 0.0

    @property
    def has_enough(self) -> bool:
        """Say whether the last checks all found nothing better."""
        last = [check.step for check in self.checks[-self.patience :]]
        return len(last) == self.patience and self.best_step < min(last)

    def look(self, step: int, adapter: Adapter) -> None:
        """Measure an adapter, and keep it if none was better."""
        now = [self.frozen.decibels(adapter, trial) for trial in self.trials]
        gains = [before - after for before, after in zip(self.start, now, strict=True)]
        gain = sum(gains) / len(gains)
        self.checks.append(Check(step, gain))
        if gain > self.best_gain:
            self.best, self.best_step, self.best_gain = adapter, step, gain
