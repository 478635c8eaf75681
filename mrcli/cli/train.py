"""`mrcli train`."""

import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from mrcli.cli import render
from mrcli.cli.options import (
    INPUT_PANEL,
    MACHINE_PANEL,
    METHOD_PANEL,
    OUTPUT_PANEL,
    SITE_PANEL,
    ConfigOption,
    DeviceOption,
    JsonOption,
    NoColorOption,
    QuietOption,
    path_of,
)
from mrcli.cli.train_progress import step_progress

if TYPE_CHECKING:
    from mrcli.tasks.train_result import TrainResult

_RATES = {"backbone": 1e-3, "adapters": 2e-3}  # highest, where none is asked for


class Stage(StrEnum):
    """What is learned."""

    BACKBONE = "backbone"
    ADAPTERS = "adapters"


class Size(StrEnum):
    """How large the backbone is."""

    SMALL = "small"
    BASE = "base"


class Precision(StrEnum):
    """What convolutions compute in."""

    FP32 = "fp32"
    BF16 = "bf16"


class Form(StrEnum):
    """What an adapter does at a slot."""

    COMBINED = "combined"
    SCALE_SHIFT = "scale-shift"
    LOW_RANK = "low-rank"
    BOTTLENECK = "bottleneck"


OutputOption = Annotated[
    Path,
    typer.Option(
        "-o",
        "--output",
        metavar="DIR",
        help="Folder for checkpoint, log and model; a training there goes on.",
        parser=path_of,
        show_default=False,
        rich_help_panel=OUTPUT_PANEL,
    ),
]
StageOption = Annotated[
    Stage,
    typer.Option(
        help="What to learn: the backbone, or adapters of a frozen one.",
        rich_help_panel=METHOD_PANEL,
    ),
]
SizeOption = Annotated[
    Size,
    typer.Option(help="Size of the backbone; small is for CPUs.", rich_help_panel=METHOD_PANEL),
]
StepsOption = Annotated[
    int,
    typer.Option(
        min=1, max=10_000_000, help="Steps in all, a sample each.", rich_help_panel=METHOD_PANEL
    ),
]
MinutesOption = Annotated[
    float,
    typer.Option(
        min=0,
        help="Stop after this long; the same command goes on. 0: no limit.",
        envvar="MRCLI_MINUTES",
        rich_help_panel=MACHINE_PANEL,
    ),
]
TrainSeedOption = Annotated[
    int,
    typer.Option(
        "--seed",
        min=0,
        max=2**63 - 1,
        help="Seed of everything that is drawn by chance.",
        envvar="MRCLI_SEED",
        rich_help_panel=MACHINE_PANEL,
    ),
]
PrecisionOption = Annotated[
    Precision,
    typer.Option(
        help="Precision of convolutions; fp32 is faster where a CPU has no bf16 instructions.",
        envvar="MRCLI_PRECISION",
        rich_help_panel=MACHINE_PANEL,
    ),
]
RateOption = Annotated[
    float | None,
    typer.Option(
        help="Highest learning rate; 0.001 for a backbone, 0.002 for adapters.",
        show_default=False,
        rich_help_panel=METHOD_PANEL,
    ),
]
PixelsOption = Annotated[
    int,
    typer.Option(
        min=1000,
        help="Most pixels of a step's sample, all frames; of a larger one a part is drawn. A GPU "
        "takes 200000 in the time of fewer.",
        rich_help_panel=METHOD_PANEL,
    ),
]
WorkersOption = Annotated[
    int,
    typer.Option(
        min=0,
        max=256,
        help="Processes that simulate samples ahead of the training; beside a GPU as many as there "
        "are processors to spare.",
        envvar="MRCLI_WORKERS",
        rich_help_panel=MACHINE_PANEL,
    ),
]
AnatomyOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Real images as anatomy of some samples: an .npz with image and patient.",
        parser=path_of,
        show_default=False,
        envvar="MRCLI_ANATOMY",
        rich_help_panel=INPUT_PANEL,
    ),
]
PoolOption = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Folder of simulated samples, shared by trainings on the same sites; OUT/samples "
        "where none is named.",
        parser=path_of,
        show_default=False,
        envvar="MRCLI_POOL",
        rich_help_panel=INPUT_PANEL,
    ),
]
BaseOption = Annotated[
    Path | None,
    typer.Option(
        "--model",
        metavar="NAME|DIR",
        help="Model whose backbone is trained on, or gets adapters; a new one, or OUT/model, where "
        "none is named.",
        parser=path_of,
        show_default=False,
        rich_help_panel=INPUT_PANEL,
    ),
]
FormOption = Annotated[
    Form, typer.Option(help="Form of the adapters.", rich_help_panel=METHOD_PANEL)
]
RankOption = Annotated[
    int,
    typer.Option(
        min=1, max=64, help="Rank of the adapters' matrices.", rich_help_panel=METHOD_PANEL
    ),
]
ShareOption = Annotated[
    float,
    typer.Option(
        min=0.0,
        max=1.0,
        help="How often the universal adapter takes the place of the site's.",
        rich_help_panel=METHOD_PANEL,
    ),
]
LeaveOutOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="SITE",
        help="Site, center/scanner, that is not trained on; may be given again.",
        show_default=False,
        rich_help_panel=SITE_PANEL,
    ),
]


def train(
    *,
    output: OutputOption,
    stage: StageOption = Stage.BACKBONE,
    size: SizeOption = Size.SMALL,
    steps: StepsOption = 10_000,
    minutes: MinutesOption = 0.0,
    rate: RateOption = None,
    anatomy: AnatomyOption = None,
    pool: PoolOption = None,
    model: BaseOption = None,
    form: FormOption = Form.COMBINED,
    rank: RankOption = 2,
    universal_share: ShareOption = 0.3,
    leave_out: LeaveOutOption = None,
    pixels: PixelsOption = 45_000,
    workers: WorkersOption = 0,
    device: DeviceOption = "auto",
    precision: PrecisionOption = Precision.BF16,
    seed: TrainSeedOption = 2025,
    as_json: JsonOption = False,
    is_quiet: QuietOption = False,
    config: ConfigOption = None,
    no_color: NoColorOption = False,
) -> None:
    """Pretrain a backbone, then its protocol, site and universal adapters, on simulated scans.

    Interrupted at any moment, the same command goes on to the same result: OUT has a checkpoint a
    minute, a log and a plot, and OUT/model once all steps are taken. On several GPUs, or with
    several processes on one, which a single sample seldom fills, start it with torchrun.

    Example: mrcli train -o run --steps 7000 --minutes 10
    """
    from mrcli.tasks.train import run_training
    from mrcli.tasks.train_settings import TrainSettings
    from mrcli.tasks.train_world import is_first_process

    del config, no_color  # both have acted when the options were read
    settings = TrainSettings(
        out_dir=output,
        size=size.value,
        n_steps=steps,
        peak_rate=_RATES[stage.value] if rate is None else rate,
        seed=seed,
        device=device,
        precision=precision.value,
        anatomy_path=anatomy,
        pool_dir=pool,
        stage=stage.value,
        model_dir=model,
        form=form.value,
        rank=rank,
        universal_share=universal_share,
        leave_out=tuple(leave_out or ()),
        most_pixels=pixels,
        n_workers=workers,
    )
    deadline = time.monotonic() + 60 * minutes if minutes else None
    with step_progress(is_quiet=is_quiet or not is_first_process()) as on_step:
        result = run_training(settings, on_step, deadline)
    if not result.speaks:
        raise typer.Exit(result.exit_code)
    render.present("train", result, show_training, as_json=as_json)


def show_training(result: "TrainResult", console: Console) -> None:
    """Print how far the training is, and how to go on or what to do with the model."""
    gain = "" if result.gain_db is None else f", {result.gain_db:.2f} dB above the first image"
    console.print(f"step {result.step} of {result.settings.n_steps}{gain}", soft_wrap=True)
    if not result.is_done:
        console.print("the same command goes on from here", soft_wrap=True)
        return
    model = render.cell(str(result.settings.model))
    if result.adapters:
        console.print(f"adapters: {render.cell(', '.join(result.adapters))}", soft_wrap=True)
    console.print(f"model in {model}; next, for instance:", soft_wrap=True)
    console.print(f"  mrcli recon SCANS -o images --model {model}", soft_wrap=True)
