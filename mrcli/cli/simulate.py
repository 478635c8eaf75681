"""`mrcli simulate`."""

from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from mrcli.cli import render
from mrcli.cli.options import (
    INPUT_PANEL,
    METHOD_PANEL,
    OUTPUT_PANEL,
    SITE_PANEL,
    ConfigOption,
    DeviceOption,
    DryRunOption,
    JsonOption,
    NoColorOption,
    OverwriteOption,
    QuietOption,
    SeedOption,
    path_of,
)

if TYPE_CHECKING:
    from mrcli.tasks.simulate_result import SimulatedScan, SimulateResult
    from mrcli.tasks.site_list import SiteList

CONTAINERS = ("cmrxrecon", "fastmri", "ismrmrd")
_STATUS_COLORS = {"done": "green", "skipped": "cyan", "planned": "cyan", "failed": "red"}


class CohortName(StrEnum):
    """Which patients: one is in one set only."""

    TRAIN = "train"
    TUNE = "tune"
    TEST = "test"


def split_names(text: str) -> tuple[str, ...]:
    """Split a list with commas between."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def check_containers(text: str) -> str:
    """Require a list of known containers with commas between."""
    unknown = [name for name in split_names(text) if name not in CONTAINERS]
    if unknown or not split_names(text):
        found = repr(unknown[0]) if unknown else "an empty text"
        raise typer.BadParameter(f"{found} is not a container: {', '.join(CONTAINERS)}")
    return text


OutputOption = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--output",
        metavar="DIR",
        help="Folder for the study; finished scans there are kept.",
        parser=path_of,
        show_default=False,
        rich_help_panel=OUTPUT_PANEL,
    ),
]
ScansOption = Annotated[
    int,
    typer.Option(
        min=1,
        max=100_000,
        help="How many scans, dealt to sites and their protocols in turn, a patient each.",
        rich_help_panel=OUTPUT_PANEL,
    ),
]
SitesOption = Annotated[
    str,
    typer.Option(
        metavar="NAME,...",
        help="Sites as center/scanner; all of them where none is named. --list shows them.",
        show_default=False,
        envvar="MRCLI_SITES",
        rich_help_panel=SITE_PANEL,
    ),
]
SiteFileOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Descriptions of other sites, in TOML.",
        parser=path_of,
        show_default=False,
        envvar="MRCLI_SITE_FILE",
        rich_help_panel=SITE_PANEL,
    ),
]
ProtocolsOption = Annotated[
    str,
    typer.Option(
        metavar="NAME,...",
        help="Protocols, such as cine or Mapping; all that a site has where none is named.",
        show_default=False,
        envvar="MRCLI_PROTOCOLS",
        rich_help_panel=SITE_PANEL,
    ),
]
ViewOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="View, such as sax or 4ch; drawn from those of the protocol where none is named.",
        show_default=False,
        rich_help_panel=SITE_PANEL,
    ),
]
PatternsOption = Annotated[
    str,
    typer.Option(
        metavar="PATTERN,...",
        help="Sampling: Uniform, shifted-uniform, ktGaussian, ktRadial or random, each with its "
        "acceleration, such as Uniform8; those of each site where none is named.",
        show_default=False,
        envvar="MRCLI_PATTERNS",
        rich_help_panel=METHOD_PANEL,
    ),
]
ContainersOption = Annotated[
    str,
    typer.Option(
        "--to",
        metavar="CONTAINER,...",
        help=f"Containers to write: {', '.join(CONTAINERS)}.",
        callback=check_containers,
        rich_help_panel=OUTPUT_PANEL,
    ),
]
AnatomyOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Real images as anatomy: an .npz with image (n, row, column) and patient (n).",
        parser=path_of,
        show_default=False,
        envvar="MRCLI_ANATOMY",
        rich_help_panel=INPUT_PANEL,
    ),
]
CohortOption = Annotated[
    CohortName,
    typer.Option(
        help="Which set of patients; none is in two of them.", rich_help_panel=INPUT_PANEL
    ),
]
SlicesOption = Annotated[
    int,
    typer.Option(
        "--max-slices",
        min=0,
        help="Slices of a scan at the most; 0: as many as the site takes.",
        rich_help_panel=OUTPUT_PANEL,
    ),
]
FramesOption = Annotated[
    int,
    typer.Option(
        "--max-frames",
        min=0,
        help="Frames of a scan at the most; 0: as many as the site takes.",
        rich_help_panel=OUTPUT_PANEL,
    ),
]
MatrixOption = Annotated[
    float,
    typer.Option(
        "--matrix-scale",
        min=0.1,
        max=1.0,
        help="Factor on lines and samples, for smaller scans of the same view.",
        rich_help_panel=OUTPUT_PANEL,
    ),
]
ListOption = Annotated[
    bool, typer.Option("--list", help="List the sites and end.", rich_help_panel=SITE_PANEL)
]


def simulate(
    *,
    output: OutputOption = None,
    scans: ScansOption = 8,
    sites: SitesOption = "",
    site_file: SiteFileOption = None,
    protocols: ProtocolsOption = "",
    view: ViewOption = None,
    patterns: PatternsOption = "",
    to: ContainersOption = "cmrxrecon",
    anatomy: AnatomyOption = None,
    cohort: CohortOption = CohortName.TRAIN,
    max_slices: SlicesOption = 1,
    max_frames: FramesOption = 0,
    matrix_scale: MatrixOption = 1.0,
    list_sites: ListOption = False,
    overwrite: OverwriteOption = False,
    dry_run: DryRunOption = False,
    device: DeviceOption = "auto",
    seed: SeedOption = 0,
    as_json: JsonOption = False,
    is_quiet: QuietOption = False,
    config: ConfigOption = None,
    no_color: NoColorOption = False,
) -> None:
    """Write a multi-site cardiac study with known truth, in real containers.

    Anatomy, motion, contrast, coils, noise and k-space of several simulated scanners; the images
    without noise lie in OUT/Truth, the scans in OUT/MultiCoil. The same seed gives the same bytes.

    Example: mrcli simulate -o study --scans 8 --patterns Uniform8,ktGaussian16
    """
    from mrcli.simulate.recipes import Cohort, Reduction
    from mrcli.simulate.site_file import BUILT_IN
    from mrcli.tasks.simulate import simulate_study
    from mrcli.tasks.simulate_result import SimulateSettings
    from mrcli.tasks.site_list import list_of_sites

    del config, no_color  # both have acted when the options were read
    if list_sites:
        listed = list_of_sites(site_file or BUILT_IN)
        render.present("simulate", listed, show_sites, as_json=as_json)
    if output is None:
        raise typer.BadParameter("missing option '-o' / '--output'")
    settings = SimulateSettings(
        n_scans=scans,
        sites=split_names(sites),
        site_file=site_file or BUILT_IN,
        protocols=split_names(protocols),
        view=view,
        patterns=split_names(patterns),
        writers=split_names(to),
        anatomy_path=anatomy,
        cohort=Cohort(cohort.value),
        reduction=Reduction(matrix_scale, max_frames or None, max_slices or None),
        seed=seed,
        device=device,
        overwrite=overwrite,
        dry_run=dry_run,
    )
    with render.progress(is_quiet=is_quiet) as on_progress:
        result = simulate_study(output, settings, on_progress)
    render.present("simulate", result, partial(show_scans, out_dir=output), as_json=as_json)


def show_scans(result: "SimulateResult", console: Console, *, out_dir: Path) -> None:
    """Print a line per scan, and where to go from here."""
    table = Table(box=None, pad_edge=False)
    table.add_column("simulated scan", overflow="fold")
    for name in ("status", "frames", "slices", "coils", "matrix", "MB"):
        table.add_column(name, no_wrap=True)
    for scan in result.scans:
        table.add_row(render.cell(scan.path), *_row(scan))
    console.print(table)
    for finding in {finding.message for scan in result.scans for finding in scan.findings}:
        console.print(f"note: {render.cell(finding)}", soft_wrap=True)
    if any(scan.output for scan in result.scans):
        place = render.cell(str(out_dir))
        console.print(f"truth below {place}/Truth; next, for instance:", soft_wrap=True)
        console.print(f"  mrcli inspect {place}/MultiCoil", soft_wrap=True)


def _row(scan: "SimulatedScan") -> tuple[str, ...]:
    color = _STATUS_COLORS.get(scan.status, "default")
    status = f"[{color}]{scan.status}[/{color}]"
    if not scan.shape:
        return status, "", "", "", "", ""
    n_frames, n_slices, n_coils, n_y, n_x = scan.shape
    size = f"{scan.n_bytes / 1e6:.0f}" if scan.n_bytes else ""
    return status, str(n_frames), str(n_slices), str(n_coils), f"{n_y} x {n_x}", size


def show_sites(result: "SiteList", console: Console) -> None:
    """Print a line per site."""
    table = Table(box=None, pad_edge=False)
    for name in ("site", "vendor", "T", "coils", "for", "protocols"):
        table.add_column(name, overflow="fold")
    for site in result.sites:
        protocols = " ".join(one.contrast for one in site.protocols)
        facts = (site.vendor, f"{site.field_strength_t:g}", str(site.array.n_coils))
        table.add_row(render.cell(site.name), *facts, site.split.value, render.cell(protocols))
    console.print(table)
