"""Train a backbone, then its adapters; both go on where an earlier call stopped.

OUT/model/                     the model, once the last step is done

`mrcli.tasks.train_run` tells of the other files.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from mrcli.adapters.family import adapted
from mrcli.errors import InputError
from mrcli.io.lock import output_lock
from mrcli.models.backbone_file import write_backbone
from mrcli.nn.backbone import SPECS, Backbone, BackboneSpec
from mrcli.tasks.train_log import means_of_last
from mrcli.tasks.train_model import (
    base_model,
    first_backbone,
    members_of,
    new_family,
    write_adapters,
)
from mrcli.tasks.train_pool import claim, pool_of
from mrcli.tasks.train_record import Draw, draws_of, fingerprint, takes_universal, training_record
from mrcli.tasks.train_result import TrainResult
from mrcli.tasks.train_run import Learner, OnStep, Piece, loop_of, run_piece
from mrcli.tasks.train_settings import (
    BACKBONE,
    SETTINGS,
    TrainSettings,
    agree,
    remove_partial_files,
    require_valid,
    training_sites,
)
from mrcli.tasks.train_world import joined_world, wait_for_all
from mrcli.training.loop import StepRecord, World
from mrcli.training.pool import Pool
from mrcli.training.samples import Sample
from mrcli.training.state import averaged
from mrcli.types import Image

__all__ = [
    "SPECS",
    "Backbone",
    "BackboneSpec",
    "OnStep",
    "StepRecord",
    "TrainResult",
    "TrainSettings",
    "run_training",
    "train_backbone",
    "training_sites",
]

_REMEDY = "go on with the same options, or choose another output folder"


def say_nothing(record: StepRecord, n_steps: int) -> None:
    """Take a report of a step and do nothing with it."""
    del record, n_steps


def train_backbone(
    settings: TrainSettings, on_step: OnStep = say_nothing, deadline: float | None = None
) -> TrainResult:
    """Train a backbone until its last step or until `deadline`, of ``time.monotonic()``."""
    if settings.stage != BACKBONE:
        raise InputError(f"stage is {settings.stage}, needed {BACKBONE}")
    return run_training(settings, on_step, deadline)


def run_training(
    settings: TrainSettings, on_step: OnStep = say_nothing, deadline: float | None = None
) -> TrainResult:
    """Train what the stage says, as far as time allows; the same call goes on later.

    Raises `InputError` for settings that make no sense or differ from those of an earlier call,
    `LockedError` where another run owns the folder, `ModelError` for a checkpoint or a model that
    is refused.
    """
    require_valid(settings)
    sites = training_sites(settings.leave_out)
    with joined_world(settings.device) as (world, device), _owned(settings, world):
        pool = pool_of(settings, sites, device)
        call = _Call(settings, world, pool, device, on_step, deadline)
        return _train_backbone(call) if settings.is_backbone else _train_adapters(call)


@contextmanager
def _owned(settings: TrainSettings, world: World) -> Iterator[None]:
    """Let the first process own the output folder."""
    with ExitStack() as stack:
        if world.rank == 0:
            stack.enter_context(output_lock(settings.out_dir))
            remove_partial_files(settings.run_dir)
        yield


@dataclass(frozen=True, eq=False)
class _Call:
    """One call of one process."""

    settings: TrainSettings
    world: World
    pool: Pool
    device: str
    on_step: OnStep
    deadline: float | None

    def claim(self, **facts: object) -> None:
        """Say whose files these are, or refuse to mix them; the first process does so."""
        if self.world.rank == 0:
            own = {**self.settings.decisive(), "processes": self.world.size, **facts}
            agree(self.settings.run_dir / SETTINGS, own, _REMEDY)
            claim(self.pool)
        wait_for_all(self.world)

    def run(self, learner: Learner) -> Piece:
        return run_piece(self.settings, learner, self.on_step, self.deadline)

    def is_to_write(self, piece: Piece) -> bool:
        return self.world.rank == 0 and piece.state.step >= self.settings.n_steps

    def draws(self) -> list[Draw]:
        return draws_of(self.settings, loop_of(self.settings), self.pool, self.world.size)

    def record(self, piece: Piece, draws: list[Draw]) -> dict[str, object]:
        """Return how what was learned came to be."""
        gain, losses = means_of_last(self.settings.log)
        outcome = {"seconds": piece.seconds, "gain_db": gain, "losses": losses}
        return training_record(self.settings, draws, self.world.size) | outcome

    def result(self, piece: Piece, adapters: tuple[str, ...] = ()) -> TrainResult:
        step = piece.state.step
        gain, _ = means_of_last(self.settings.log)
        taken, speaks = step - piece.first_step, self.world.rank == 0
        return TrainResult(self.settings, step, taken, piece.seconds, gain, adapters, speaks)


def _train_backbone(call: _Call) -> TrainResult:
    settings = call.settings
    backbone, origin = first_backbone(settings)
    call.claim(**origin)
    backbone = backbone.to(call.device)

    def reconstruct(sample: Sample, step: int) -> Image:
        del step
        return backbone(sample.given, settings.dtype)

    piece = call.run(Learner(backbone, reconstruct, call.pool, call.device, call.world))
    if call.is_to_write(piece):
        draws = call.draws()
        facts = call.record(piece, draws) | origin | {"data_fingerprint": fingerprint(draws)}
        write_backbone(settings.model, averaged(backbone, piece.state), settings.size, facts)
    return call.result(piece)


def _train_adapters(call: _Call) -> TrainResult:
    settings = call.settings
    base = base_model(settings)
    call.claim(backbone_sha256=base.sha256)
    backbone = base.backbone.to(call.device)
    family = new_family(settings, backbone, call.pool.curriculum.sites).to(call.device)

    def reconstruct(sample: Sample, step: int) -> Image:
        site = None if takes_universal(settings, step) else sample.site
        return adapted(backbone, family.chain(sample.modality, site), sample.given, settings.dtype)

    piece = call.run(Learner(family, reconstruct, call.pool, call.device, call.world))
    if not call.is_to_write(piece):
        return call.result(piece)
    draws = call.draws()
    members = members_of(averaged(family, piece.state), draws)
    return call.result(
        piece, write_adapters(settings.model, base, members, call.record(piece, draws))
    )
