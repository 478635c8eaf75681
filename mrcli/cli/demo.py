"""`mrcli demo`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from mrcli.cli import render
from mrcli.cli.options import (
    OUTPUT_PANEL,
    ConfigOption,
    DeviceOption,
    JsonOption,
    NoColorOption,
    QuietOption,
    SeedOption,
    path_of,
)

if TYPE_CHECKING:
    from mrcli.tasks.demo import DemoResult

OutputOption = Annotated[
    Path,
    typer.Option(
        "-o",
        "--output",
        metavar="DIR",
        help="Folder for the study, the images and the report.",
        parser=path_of,
        rich_help_panel=OUTPUT_PANEL,
    ),
]


def demo(
    *,
    output: OutputOption = Path("mrcli-demo"),
    device: DeviceOption = "auto",
    seed: SeedOption = 0,
    as_json: JsonOption = False,
    is_quiet: QuietOption = False,
    config: ConfigOption = None,
    no_color: NoColorOption = False,
) -> None:
    """Make a small study, inspect it, reconstruct it every way and report: the whole loop.

    The network is among the ways where a model is installed.

    Example: mrcli demo -o demo
    """
    from mrcli.tasks.demo import run_demo

    del config, no_color  # both have acted when the options were read
    with render.progress(is_quiet=is_quiet) as on_progress:
        result = run_demo(output, device=device, seed=seed, on_progress=on_progress)
    render.present("demo", result, show_story, as_json=as_json)


def show_story(result: "DemoResult", console: Console) -> None:
    """Print what was done and where the pictures are."""
    for line in result.lines:
        console.print(line, markup=False, soft_wrap=True)  # tables keep their blanks
