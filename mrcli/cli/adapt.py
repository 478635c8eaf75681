"""`mrcli adapt`."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from mrcli.cli import render
from mrcli.cli.options import (
    MACHINE_PANEL,
    METHOD_PANEL,
    OUTPUT_PANEL,
    SITE_PANEL,
    AxesOption,
    ConfigOption,
    DeviceOption,
    JsonOption,
    ModelOption,
    NoColorOption,
    PathsArgument,
    QuietOption,
    ReaderOption,
    path_of,
)
from mrcli.cli.recon import Precision, PrecisionOption

if TYPE_CHECKING:
    from mrcli.tasks.adapt_result import AdaptResult

_GATE_PANEL = "Gate"
_SECONDS_PER_LINE = 15.0


class Reference(StrEnum):
    """What an adapter is fitted to."""

    AUTO = "auto"
    FULL = "full"
    NONE = "none"


OutputOption = Annotated[
    Path,
    typer.Option(
        "-o",
        "--output",
        metavar="DIR",
        help="Folder for adapter and evidence; an interrupted call there goes on.",
        parser=path_of,
        rich_help_panel=OUTPUT_PANEL,
    ),
]
CenterOption = Annotated[
    str, typer.Option(metavar="NAME", help="Hospital of the scans.", rich_help_panel=SITE_PANEL)
]
ScannerOption = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Scanner of the scans.", rich_help_panel=SITE_PANEL),
]
ProtocolOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Acquisition protocol, where the files do not say it.",
        rich_help_panel=SITE_PANEL,
    ),
]
ReferenceOption = Annotated[
    Reference,
    typer.Option(
        help="Learn from fully sampled references, from acquired samples that are withheld, or "
        "from what each scan has.",
        rich_help_panel=METHOD_PANEL,
    ),
]
PatternOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="How fully sampled scans are undersampled, such as ktGaussian8; may be given again.",
        show_default=False,
        rich_help_panel=METHOD_PANEL,
    ),
]
StepsOption = Annotated[
    int,
    typer.Option(min=1, max=100_000, help="Most steps of a fit.", rich_help_panel=METHOD_PANEL),
]
MinutesOption = Annotated[
    float,
    typer.Option(
        min=0,
        help="Most minutes of all fits; 0: no limit. A fit that is cut depends on the machine.",
        rich_help_panel=MACHINE_PANEL,
    ),
]
HoldoutOption = Annotated[
    float | None,
    typer.Option(
        metavar="SHARE",
        help="Patients put aside to judge; by default each judges once, and 0.4 from 10 on.",
        show_default=False,
        rich_help_panel=_GATE_PANEL,
    ),
]
GainOption = Annotated[
    float,
    typer.Option(
        help="Decibels that the lower end of the mean gain's interval has to exceed.",
        rich_help_panel=_GATE_PANEL,
    ),
]
LossOption = Annotated[
    float,
    typer.Option(help="Decibels that a single scan may lose.", rich_help_panel=_GATE_PANEL),
]
CurveOption = Annotated[
    bool,
    typer.Option(
        "--curve",
        help="Also fit to 2, 4 and 8 patients, to see whether another one would help.",
        rich_help_panel=METHOD_PANEL,
    ),
]
SeedOption = Annotated[
    int, typer.Option(min=0, help="Seed of all that is drawn.", rich_help_panel=MACHINE_PANEL)
]


def adapt(
    paths: PathsArgument,
    *,
    output: OutputOption,
    center: CenterOption,
    scanner: ScannerOption = None,
    protocol: ProtocolOption = None,
    model: ModelOption = None,
    reference: ReferenceOption = Reference.AUTO,
    pattern: PatternOption = None,
    steps: StepsOption = 120,
    minutes: MinutesOption = 0.0,
    curve: CurveOption = False,
    holdout: HoldoutOption = None,
    min_gain_db: GainOption = 0.05,
    max_worst_loss_db: LossOption = 0.2,
    reader: ReaderOption = None,
    axes: AxesOption = None,
    device: DeviceOption = "auto",
    precision: PrecisionOption = Precision.AUTO,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
    is_quiet: QuietOption = False,
    config: ConfigOption = None,
    no_color: NoColorOption = False,
) -> None:
    """Fit a small adapter to a scanner from a few scans, prove that it helps, or refuse.

    Limits and split are fixed before anything is learned; patients judge adapters that have not
    seen them. Without proof no adapter is written and the exit code is 9. The evidence stays in
    DIR/evidence, with a page to read.

    Example: mrcli adapt scans -o our-adapter --center Center9 --scanner Vida
    """
    from mrcli.adapt.fit import FitSettings
    from mrcli.adapt.gate import Limits
    from mrcli.tasks.adapt import Watchers, adapt_paths
    from mrcli.tasks.adapt_settings import DEFAULT_PATTERNS, AdaptSettings

    del config, no_color  # both have acted when the options were read
    settings = AdaptSettings(
        out_dir=output,
        center=center,
        scanner=scanner,
        protocol=protocol,
        model=model,
        reference=reference.value,
        patterns=tuple(pattern or DEFAULT_PATTERNS),
        holdout=holdout,
        limits=Limits(min_gain_db, max_worst_loss_db),
        fit=FitSettings(n_steps=steps, seed=seed),
        minutes=minutes or float("inf"),
        seed=seed,
        device=device,
        precision=precision.value,
        reader=reader,
        axes=axes,
        with_curve=curve,
    )
    with _progress(is_quiet=is_quiet) as (on_scan, on_fold):
        result = adapt_paths(paths, settings, Watchers(on_scan, on_fold))
    render.present("adapt", result, show_verdict, as_json=as_json)


def show_verdict(result: "AdaptResult", console: Console) -> None:
    """Print the verdict, its numbers, and what to do next."""
    verdict = result.verdict
    word = "[green]accepted[/green]" if verdict.accepted else "[red]not accepted[/red]"
    console.print(f"{word}: {render.cell(verdict.reason)}", soft_wrap=True)
    if verdict.mean_db is not None and verdict.ci95_db is not None:
        table = Table(box=None, pad_edge=False)
        for name in ("patients", "mean gain, dB", "95 % interval", "worst scan, dB"):
            table.add_column(name, justify="right")
        low, high = verdict.ci95_db
        interval = f"{low:+.3f} to {high:+.3f}"
        worst = "" if verdict.worst_db is None else f"{verdict.worst_db:+.3f}"
        table.add_row(str(verdict.n_patients), f"{verdict.mean_db:+.3f}", interval, worst)
        console.print(table)
    for finding in result.findings:
        console.print(f"{finding.severity}: {render.cell(finding.message)}", soft_wrap=True)
    console.print(f"evidence: {render.cell(str(result.evidence / 'index.html'))}", soft_wrap=True)
    if result.bundle is not None:
        bundle = render.cell(str(result.bundle))
        console.print(f"adapter: {bundle}; to use it:", soft_wrap=True)
        console.print(f"  mrcli adapters activate {bundle}", soft_wrap=True)


OnScan = Callable[[int, int, str], None]
OnFold = Callable[[str, int, int, float], None]


@contextmanager
def _progress(*, is_quiet: bool) -> Iterator[tuple[OnScan, OnFold]]:
    """Yield what is called after scans and steps: a line now and then, with what is left."""
    course = _Course(is_quiet=is_quiet)
    yield course.on_scan, course.on_fold


class _Course:
    """Tells how far the scans and the fits are."""

    def __init__(self, *, is_quiet: bool) -> None:
        self.is_quiet, self.last, self.begun = is_quiet, 0.0, ("", 0.0)
        self.pause = 1.0 if sys.stderr.isatty() else _SECONDS_PER_LINE

    def on_scan(self, index: int, n: int, name: str) -> None:
        """Tell which scan is read."""
        render.note(f"scan {index + 1} of {n}: {name}", is_quiet=self.is_quiet)

    def on_fold(self, what: str, step: int, n_steps: int, gain_db: float) -> None:
        """Tell of a fit, unless a line has just been written."""
        now = time.monotonic()
        if self.begun[0] != what:
            self.begun = (what, now)
        if now - self.last < self.pause and step < n_steps:
            return
        self.last = now
        left = (now - self.begun[1]) / step * (n_steps - step)
        text = f"{what}: step {step} of {n_steps}, {gain_db:+.3f} dB, at most {left:.0f} s left"
        render.note(text, is_quiet=self.is_quiet)
