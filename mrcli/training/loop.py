"""The loop of training: draw, reconstruct, compare, learn; the same for backbone and adapters.

    step s:  sample(s) -> image -> loss -> gradient (mean over the processes) -> update

All that is random is drawn from seed and step, so that a checkpoint needs weights and moments only.
"""

import multiprocessing
import os
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import distributed, nn
from torch.utils.data import DataLoader, Dataset, Sampler

from mrcli.training.losses import Loss, LossWeights, loss_of
from mrcli.training.pool import Pool, Window, sample_of_step
from mrcli.training.samples import Sample
from mrcli.training.state import Schedule, TrainingState
from mrcli.types import Image

Reconstruct = Callable[[Sample, int], Image]  # a sample, the step
_WINDOW, _WEIGHTS = Window(), LossWeights()


@dataclass(frozen=True)
class LoopSettings:
    """What decides the result of training, besides what is learned."""

    schedule: Schedule
    seed: int
    window: Window = _WINDOW
    most_pixels: int = 45_000  # of all frames of a sample
    weights: Mapping[str, LossWeights] | LossWeights = _WEIGHTS

    def weights_of(self, modality: str) -> LossWeights:
        """Return the weights of a protocol."""
        if isinstance(self.weights, LossWeights):
            return self.weights
        return self.weights.get(modality, LossWeights())


@dataclass(frozen=True)
class StepRecord:
    """What one step was."""

    step: int
    loss: float
    terms: Mapping[str, float]
    start_error: float  # decibels of the first image: what the network had to better
    gradient_norm: float
    rate: float
    modality: str
    site: str


@dataclass(frozen=True)
class World:
    """The processes that train together."""

    rank: int = 0
    size: int = 1

    @staticmethod
    def of_environment() -> "World":
        """Return the processes that were started together, one if distributed running is off."""
        if not distributed.is_initialized():
            return World()
        return World(distributed.get_rank(), distributed.get_world_size())

    def draw_number(self, step: int) -> int:
        """Return the number of this process's draw at a step: no two processes share one."""
        return step * self.size + self.rank


def train(
    state: TrainingState,
    reconstruct: Reconstruct,
    pool: Pool,
    settings: LoopSettings,
    device: str = "cpu",
    world: World | None = None,
) -> Generator[StepRecord, None, None]:
    """Learn from step ``state.step`` to the last, yielding a record after each.

    The caller may stop after any record, save `state`, and go on later to the same result.
    """
    world = world or World.of_environment()
    for sample in _samples(state.step, pool, settings, device, world):
        rate = settings.schedule.rate(state.step)
        image = reconstruct(sample, state.step)
        loss = loss_of(image, sample.target, settings.weights_of(sample.modality))
        loss.total.backward()  # type: ignore[no-untyped-call]
        _share_gradients(state.parameters, world)
        norm = state.update(rate)
        yield _record(state.step - 1, loss, sample, norm, rate)


def _record(step: int, loss: Loss, sample: Sample, norm: float, rate: float) -> StepRecord:
    start = loss_of(sample.given.start, sample.target, LossWeights(structure=0, magnitude=0))
    return StepRecord(
        step,
        float(loss.total.detach()),
        loss.terms,
        start.terms.get("error", 0.0),
        norm,
        rate,
        sample.modality,
        sample.site,
    )


def _share_gradients(parameters: Mapping[str, nn.Parameter], world: World) -> None:
    """Replace gradients by their mean over the processes; where some do not use a parameter, zero.

    A parameter that no process uses keeps having no gradient.
    """
    if world.size == 1:
        return
    values = list(parameters.values())
    used = torch.tensor([float(one.grad is not None) for one in values], device=values[0].device)
    distributed.all_reduce(used)
    shared = [one for one, n_users in zip(values, used.tolist(), strict=True) if n_users]
    gradients = [torch.zeros_like(one) if one.grad is None else one.grad for one in shared]
    together = torch.cat([one.flatten() for one in gradients])  # one message, not one for each
    distributed.all_reduce(together)
    parts = torch.split(together / world.size, [one.numel() for one in shared])
    for one, part in zip(shared, parts, strict=True):
        one.grad = part.view_as(one)


class _Draws(Dataset[Sample]):
    """The sample of each draw."""

    def __init__(self, pool: Pool, settings: LoopSettings, device: str, world: World) -> None:
        self.pool, self.settings, self.device, self.world = pool, settings, device, world

    def __getitem__(self, draw: int) -> Sample:
        """Return the part of a sample that a draw trains on."""
        settings = self.settings
        number = settings.window.draw(draw // self.world.size, draw, settings.seed)
        sample = self.pool.sample(number).to(self.device)
        return sample_of_step(sample, draw, settings.seed, settings.most_pixels)


class _Steps(Sampler[int]):
    """The draws of one process, in their order."""

    def __init__(self, first: int, last: int, world: World) -> None:
        self.draws = [world.draw_number(step) for step in range(first, last)]

    def __iter__(self) -> Iterator[int]:
        """Yield the draws."""
        return iter(self.draws)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.draws)


def _samples(
    first: int, pool: Pool, settings: LoopSettings, device: str, world: World
) -> DataLoader[Sample] | Iterator[Sample]:
    """Return the samples of the steps to come; on a CPU one other process prepares them."""
    draws = _Draws(pool, settings, device, world)
    steps = _Steps(first, settings.schedule.n_steps, world)
    if device != "cpu":
        return (draws[draw] for draw in steps)
    can_fork = "fork" in multiprocessing.get_all_start_methods()
    return DataLoader(
        draws,
        batch_size=None,
        sampler=steps,
        num_workers=1,
        prefetch_factor=16,
        multiprocessing_context="fork" if can_fork else None,
        worker_init_fn=_leave_group,
    )


def _leave_group(worker: int) -> None:
    """Let signals for the whole group, as of Ctrl-C, reach the trainer only; it ends this one."""
    del worker
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)
