"""What a training has seen, counted anew from its settings: numbers only, of no person.

Every draw is a function of seed and step, so nothing has to be kept while training runs.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache

import torch

from mrcli.provenance import program_version
from mrcli.simulate.recipes import generator_of
from mrcli.tasks.train_settings import TrainSettings
from mrcli.training.curriculum import MASKS_PER_GROUP, TRAINED_FOR, SliceRecipe
from mrcli.training.loop import LoopSettings, World
from mrcli.training.pool import Pool


@dataclass(frozen=True)
class Draw:
    """One sample that one step learned from."""

    number: int
    protocol: str
    site: str
    patient: int
    real_patient: int | None
    takes_universal: bool


def takes_universal(settings: TrainSettings, step: int) -> bool:
    """Say whether the universal adapter takes the place of the site's at a step."""
    random = generator_of(settings.seed, "universal", step)
    return float(torch.rand(1, generator=random)) < settings.universal_share


def draws_of(settings: TrainSettings, loop: LoopSettings, pool: Pool, size: int) -> list[Draw]:
    """Return all draws of a training by `size` processes, first step to last."""
    return list(_draws(settings, loop, pool, size))


def _draws(settings: TrainSettings, loop: LoopSettings, pool: Pool, size: int) -> Iterator[Draw]:
    recipe_of = cache(pool.curriculum.slice_of)
    for step in range(settings.n_steps):
        is_universal = takes_universal(settings, step)
        for rank in range(size):
            number = loop.window.draw(step, World(rank, size).draw_number(step), loop.seed)
            recipe = recipe_of(number // MASKS_PER_GROUP)
            yield _draw(number, recipe, len(pool.images), is_universal=is_universal)


def _draw(number: int, recipe: SliceRecipe, n_real: int, *, is_universal: bool) -> Draw:
    scan = recipe.scan
    real = scan.patient % n_real if recipe.uses_real_anatomy and n_real else None
    return Draw(number, scan.protocol.modality, scan.site.name, scan.patient, real, is_universal)


def fingerprint(draws: Iterable[Draw]) -> dict[str, object]:
    """Return how many samples of each protocol and site there were: no identifiers."""
    samples = {draw.number: (draw.protocol, draw.site) for draw in draws}
    counts = Counter(samples.values())
    protocols = sorted({protocol for protocol, _ in counts})
    by_protocol = {
        protocol: {site: n for (own, site), n in sorted(counts.items()) if own == protocol}
        for protocol in protocols
    }
    return {"is_simulated": True, "samples": by_protocol}


def training_record(
    settings: TrainSettings, draws: list[Draw], n_processes: int
) -> dict[str, object]:
    """Return how a model came to be, without its outcome."""
    real = {draw.real_patient for draw in draws} - {None}
    return {
        "program_version": program_version(),
        "stage": settings.stage,
        "steps": settings.n_steps,
        "peak_rate": settings.peak_rate,
        "processes": n_processes,
        "most_pixels": settings.most_pixels,
        "seed": settings.seed,
        "precision": settings.precision,
        "samples": len({draw.number for draw in draws}),
        "sites": sorted({draw.site for draw in draws}),
        "left_out": sorted(set(settings.leave_out)),
        "patients": len({draw.patient for draw in draws}),
        "real_anatomy": settings.anatomy_path is not None,
        "real_patients": len(real),
        "trained_for": TRAINED_FOR,
    }
