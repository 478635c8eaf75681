"""`mrcli inspect`."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from mrcli.cli import render
from mrcli.cli.options import (
    INPUT_PANEL,
    OUTPUT_PANEL,
    AxesOption,
    ConfigOption,
    JsonOption,
    MaskOption,
    NoColorOption,
    QuietOption,
    ReaderOption,
    expand_standard_input,
    path_of,
)

if TYPE_CHECKING:
    from mrcli.tasks.inspect import InspectResult, ReadersResult

_FEW = 3  # more scans are listed in a table, a row each
_STATUS_COLORS = {"ok": "green", "warning": "yellow", "refused": "red"}
_SEVERITY_COLORS = {"info": "cyan", "warning": "yellow", "error": "red"}


def expand_paths(context: typer.Context, paths: list[Path] | None) -> list[Path]:
    """Replace ``-`` by what standard input lists; the paths may be left out for --readers."""
    return expand_standard_input(context, list(paths or []))


OptionalPathsArgument = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="PATH...",
        help="Files or folders (searched recursively, hidden files skipped), or - for a list "
        "on standard input.",
        callback=expand_paths,
        parser=path_of,
        show_default=False,
    ),
]
ReadersOption = Annotated[
    bool,
    typer.Option(
        "--readers",
        help="List the formats and what each needs.",
        rich_help_panel=INPUT_PANEL,
    ),
]
PreviewOption = Annotated[
    Path | None,
    typer.Option(
        "--preview",
        metavar="DIR",
        help="Write a picture of the middle slice of each scan there.",
        parser=path_of,
        rich_help_panel=OUTPUT_PANEL,
    ),
]


def inspect(
    paths: OptionalPathsArgument = None,
    *,
    mask: MaskOption = None,
    reader: ReaderOption = None,
    axes: AxesOption = None,
    preview: PreviewOption = None,
    readers: ReadersOption = False,
    as_json: JsonOption = False,
    is_quiet: QuietOption = False,
    config: ConfigOption = None,
    no_color: NoColorOption = False,
) -> None:
    """Say what a k-space file or folder holds and what is wrong with it.

    Every slice is read once. Nothing is written, but for the pictures of --preview.

    Example: mrcli inspect study --preview pictures
    """
    from mrcli.tasks.inspect import InspectSettings, ReadersResult, inspect_paths

    del config, no_color  # both have acted when the options were read
    if readers:
        render.present("inspect", ReadersResult(), show_readers, as_json=as_json)
    if not paths:
        raise typer.BadParameter("name at least one file or folder, or ask for --readers")
    settings = InspectSettings(mask_path=mask, reader=reader, axes=axes, preview_dir=preview)
    with render.progress(is_quiet=is_quiet) as on_progress:
        result = inspect_paths(paths, settings, on_progress)
    render.present("inspect", result, show_scans, as_json=as_json)


def show_readers(result: "ReadersResult", console: Console) -> None:
    """Print each format and what a file of it must hold."""
    readers: Any = result.document()["readers"]
    for reader in readers:
        console.print(
            f"[bold]{render.cell(reader['name'])}[/bold]  {render.cell(reader['describes'])}"
        )
        console.print(f"  needs: {render.cell(reader['needs'])}")


def show_scans(result: "InspectResult", console: Console) -> None:
    """Print a block per scan, or a row each where they are many, and the findings below."""
    scans: Any = result.document()["scans"]
    if len(scans) <= _FEW:
        for scan in scans:
            _show_block(scan, console)
        return
    folder = render.common_folder([scan["path"] for scan in scans])
    if folder is not None:
        console.print(f"{len(scans)} scans below {render.cell(str(folder))}", soft_wrap=True)
    table = Table(box=None, pad_edge=False)
    table.add_column("scan", overflow="fold")
    for name in ("status", "data", "sampling", "findings"):
        table.add_column(name, overflow="fold")
    for scan in scans:
        table.add_row(render.cell(render.name_below(folder, scan["path"])), *_row(scan))
    console.print(table)
    for scan in scans:
        if scan["status"] != "ok":
            name = render.name_below(folder, scan["path"])
            console.print(f"\n{render.cell(name)}", soft_wrap=True)
            _show_findings(scan, console)


def _show_block(scan: Mapping[str, Any], console: Console) -> None:
    console.print(f"[bold]{render.cell(scan['path'])}[/bold]  {_status(scan)}", soft_wrap=True)
    facts = Table.grid(padding=(0, 2))
    for name, value in _facts(scan):
        facts.add_row(f"  {name}", render.cell(value))
    console.print(facts)
    _show_findings(scan, console)
    console.print()


def _facts(scan: Mapping[str, Any]) -> list[tuple[str, str]]:
    facts = [("format", scan["format"] or "unknown")]
    if scan["matrix"] is not None:
        facts += [("data", _data(scan)), ("site", _site(scan)), ("voxel", _voxel(scan))]
    if scan["sampling"] is not None:
        facts += [("sampling", _sampling(scan["sampling"])), ("ACS", _acs(scan["sampling"]["acs"]))]
        facts += [("peak", f"{scan['peak']:.4g}"), ("noise", f"{scan['noise_sigma']:.4g} (sigma)")]
    return facts if scan["sha256"] is None else [*facts, ("sha256", scan["sha256"])]


def _data(scan: Mapping[str, Any]) -> str:
    n_y, n_x = scan["matrix"]
    counts = ((scan["n_frames"], "frame"), (scan["n_slices"], "slice"), (scan["n_coils"], "coil"))
    words = [f"{n} {what}{'' if n == 1 else 's'}" for n, what in counts]
    return f"{', '.join(words)}, {n_y} x {n_x} (y, x), {scan['dtype']}"


def _site(scan: Mapping[str, Any]) -> str:
    site = scan["site"]
    field_strength = site["field_strength_t"]
    parts = [site["center"], site["vendor"], site["scanner"]]
    parts += [None if field_strength is None else f"{field_strength:g} T", scan["protocol"]]
    return ", ".join(part for part in parts if part) or "not stated"


def _voxel(scan: Mapping[str, Any]) -> str:
    size = scan["voxel_size_mm"]
    if size is None:
        return "not stated"
    return " x ".join(f"{side:.4g}" for side in size) + " mm (x, y, slice)"


def _sampling(sampling: Mapping[str, Any]) -> str:
    nominal = sampling["nominal_acceleration"]
    stated = "" if nominal is None else f" R {nominal:g}"
    partial = ", partial Fourier" if sampling["is_partial_fourier"] else ""
    return f"{sampling['pattern']}{stated}, true {sampling['true_acceleration']:.2f}{partial}"


def _acs(acs: Mapping[str, Any] | None) -> str:
    if acs is None:
        return "none"
    start, stop = acs["y"]
    lines = f"{stop - start} lines, y {start} to {stop - 1}"
    return lines if acs["x"] is None else f"{lines}, x {acs['x'][0]} to {acs['x'][1] - 1}"


def _row(scan: Mapping[str, Any]) -> tuple[str, ...]:
    shape = "" if scan["matrix"] is None else "x".join(map(str, _shape(scan)))
    sampling = "" if scan["sampling"] is None else _sampling(scan["sampling"])
    codes = [finding["code"] for finding in scan["findings"] if finding["severity"] != "info"]
    reasons = codes or ([scan["error"]["code"]] if scan["error"] else [])
    cells = (shape, sampling, ", ".join(reasons))
    return (_status(scan), *map(render.cell, cells))


def _shape(scan: Mapping[str, Any]) -> tuple[int, ...]:
    return (scan["n_frames"], scan["n_slices"], scan["n_coils"], *scan["matrix"])


def _status(scan: Mapping[str, Any]) -> str:
    color = _STATUS_COLORS.get(scan["status"], "default")
    return f"[{color}]{render.cell(scan['status'])}[/{color}]"


def _show_findings(scan: Mapping[str, Any], console: Console) -> None:
    error = scan["error"]
    if error is not None and not any(f["severity"] == "error" for f in scan["findings"]):
        _show_finding("error", error["message"], error["hint"], console)
    for finding in scan["findings"]:
        text = f"{finding['message']} ({finding['code']})"
        _show_finding(finding["severity"], text, finding["remedy"], console)


def _show_finding(severity: str, message: str, remedy: str | None, console: Console) -> None:
    color = _SEVERITY_COLORS.get(severity, "default")
    console.print(f"  [{color}]{severity}[/{color}]: {render.cell(message)}")
    if remedy:
        console.print(f"    remedy: {render.cell(remedy)}")
