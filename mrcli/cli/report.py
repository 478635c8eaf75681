"""`mrcli report`."""

from collections.abc import Iterable
from dataclasses import dataclass
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
    ConfigOption,
    JsonOption,
    NoColorOption,
    QuietOption,
    path_of,
)

if TYPE_CHECKING:
    from mrcli.report.comparison import PairedComparison
    from mrcli.report.rows import Conditions, Row
    from mrcli.report.summary import GroupSummary, Statistic
    from mrcli.tasks.report import ReportResult

METRIC_SETS = ("clean", "cmrxrecon2025", "fastmri")
DIGITS = {"psnr_db": 2, "ssim": 4, "nmse": 5}
MAX_ROWS = 60


def check_metrics(metrics: str) -> str:
    """Require a list of known metric sets with commas between."""
    unknown = [name for name in metrics.split(",") if name not in METRIC_SETS]
    if unknown:
        known = ", ".join(METRIC_SETS)
        raise typer.BadParameter(f"{unknown[0]!r} is not a metric set: {known}")
    return metrics


PathArgument = Annotated[
    Path,
    typer.Argument(
        metavar="PATH",
        help="Folder of reconstructions (searched recursively), or one image.",
        parser=path_of,
        show_default=False,
    ),
]
ReferenceOption = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR|FILE",
        help="References: images or fully sampled k-space at the same relative paths, or the "
        "file that belongs to the one scan. The input folder will do if its files hold them.",
        parser=path_of,
        envvar="MRCLI_REFERENCE",
        rich_help_panel=INPUT_PANEL,
    ),
]
MetricsOption = Annotated[
    str,
    typer.Option(
        metavar="SET,...",
        help=f"Metric sets: {', '.join(METRIC_SETS)}.",
        callback=check_metrics,
        envvar="MRCLI_METRICS",
        rich_help_panel=METHOD_PANEL,
    ),
]
CompareOption = Annotated[
    Path | None,
    typer.Option(
        metavar="OTHER",
        help="Another folder of reconstructions of the same scans: differences scan by scan.",
        parser=path_of,
        rich_help_panel=INPUT_PANEL,
    ),
]
CsvOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Write the rows as a table; an existing one is replaced.",
        parser=path_of,
        rich_help_panel=OUTPUT_PANEL,
    ),
]
FailBelowOption = Annotated[
    str | None,
    typer.Option(
        metavar="METRIC=VALUE,...",
        help="End with exit code 9 if a scan is worse, such as psnr=30 (in every chosen set) or "
        "clean.ssim=0.9; of nmse the largest value that passes.",
        envvar="MRCLI_FAIL_BELOW",
        rich_help_panel=OUTPUT_PANEL,
    ),
]


def report(
    path: PathArgument,
    *,
    reference: ReferenceOption = None,
    metrics: MetricsOption = "clean,cmrxrecon2025",
    compare: CompareOption = None,
    csv: CsvOption = None,
    fail_below: FailBelowOption = None,
    as_json: JsonOption = False,
    is_quiet: QuietOption = False,
    config: ConfigOption = None,
    no_color: NoColorOption = False,
) -> None:
    """Score reconstructions against references: PSNR, SSIM and NMSE by scan and by group.

    A scan that cannot be scored is listed with its reason and does not stop the others: the exit
    code is then 8.

    Example: mrcli report images --reference study --csv quality.csv
    """
    from mrcli.tasks.report import report_folder

    del config, no_color  # both have acted when the options were read
    result = report_folder(
        path,
        reference=reference,
        metrics=metrics.split(","),
        csv_path=csv,
        compare=compare,
        fail_below=fail_below.split(",") if fail_below else (),
    )
    for metric_set in result.metric_sets:
        render.note(metric_set.passport, is_quiet=is_quiet)
    show = partial(show_report, is_quiet=is_quiet)
    render.present("report", result, show, as_json=as_json)


def show_report(result: "ReportResult", console: Console, *, is_quiet: bool = False) -> None:
    """Print, set by set, the scans and the groups; then what was noticed. Captions go to stderr."""
    for metric_set in result.metric_sets:
        rows = [row for row in result.scored.rows if row.metric_set == metric_set.name]
        groups = [one for one in result.summary if one.metric_set == metric_set.name]
        pairs = [one for one in result.comparison if one.metric_set == metric_set.name]
        _show_set(metric_set.name, rows, groups, pairs, Captioned(console, is_quiet))
    _show_problems(result, console)


@dataclass(frozen=True)
class Captioned:
    """A console for tables, each below its caption, which goes to stderr."""

    console: Console
    is_quiet: bool

    def show(self, caption: str, table: Table) -> None:
        """Print one table and an empty line."""
        render.note(caption, is_quiet=self.is_quiet)
        self.console.print(table)
        self.console.print()


def _show_set(
    name: str,
    rows: "list[Row]",
    groups: "list[GroupSummary]",
    pairs: "list[PairedComparison]",
    tables: Captioned,
) -> None:
    if 0 < len(rows) <= MAX_ROWS:
        _show_scans(name, rows, tables.console)
    if len(rows) > 1:
        caption = f"{name}: mean over scans, half width of its 95 % interval"
        tables.show(caption, _group_table(name, groups))
    if pairs:
        caption = f"{name}: these minus the others, mean over scans and 95 % interval"
        tables.show(caption, _comparison_table(name, pairs))
    if len(rows) > MAX_ROWS:
        tables.console.print(f"{len(rows)} scans: the CSV and the JSON document list each")


def _show_scans(name: str, rows: "list[Row]", console: Console) -> None:
    """Print a row per scan; the folder that all share stands once, above them."""
    folder = render.common_folder([row.path for row in rows]) if len(rows) > 1 else None
    if folder is not None:
        console.print(f"{len(rows)} scans below {render.cell(str(folder))}", soft_wrap=True)
    console.print(_scan_table(name, rows, folder))
    console.print()


def _scan_table(name: str, rows: "Iterable[Row]", folder: Path | None) -> Table:
    table = _table(f"{name}: scan", "PSNR dB", "SSIM", "NMSE", "worst frame")
    for row in rows:
        worst = row.scores.worst
        where = f"{worst.frame}, slice {worst.slice}: {worst.quality.psnr_db:.1f} dB"
        values = (f"{row.value(metric):.{digits}f}" for metric, digits in DIGITS.items())
        table.add_row(render.cell(render.name_below(folder, row.path)), *values, where)
    return table


def _group_table(name: str, groups: "Iterable[GroupSummary]") -> Table:
    table = _table(f"{name}: group", "n", "PSNR dB", "SSIM", "NMSE", "worst dB")
    for one in groups:
        values = (_plus_minus(one.statistics[m], digits) for m, digits in DIGITS.items())
        n_scans = str(one.statistics["psnr_db"].n)
        worst = f"{one.worst['psnr_db'].value:.2f}"
        table.add_row(render.cell(_group_name(one.group)), n_scans, *values, worst)
    return table


def _comparison_table(name: str, pairs: "Iterable[PairedComparison]") -> Table:
    table = _table(f"{name}: metric", "n", "difference")
    for one in pairs:
        difference = _interval(one.statistic, DIGITS[one.metric])
        table.add_row(one.metric, str(one.statistic.n), difference)
    return table


def _show_problems(result: "ReportResult", console: Console) -> None:
    for finding, path in _distinct_findings(result):
        console.print(f"{finding}: {path}", soft_wrap=True)
    for scan in result.unpaired:
        console.print(f"without a counterpart: {render.cell(scan)}", soft_wrap=True)
    for n, what in (
        (len(result.scored.unscored), "not scored"),
        (len(result.unscored_others), "not scored among those compared with"),
        (len(result.offenders), "beyond a limit"),
    ):
        if n:
            console.print(f"{what}: {n}, each with its reason on standard error", soft_wrap=True)


def _distinct_findings(result: "ReportResult") -> list[tuple[str, str]]:
    found = {
        (render.cell(f"{one.severity}: {one.message}"), render.cell(row.path)): None
        for row in result.scored.rows
        for one in row.findings
    }
    return list(found)


def _table(first: str, *others: str) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column(first, overflow="fold")
    for name in others:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _group_name(group: "Conditions") -> str:
    acceleration = group.nominal_acceleration
    facts = (
        group.site.center,
        group.site.scanner,
        group.protocol,
        group.pattern,
        None if acceleration is None else f"R={acceleration:g}",
        group.method,
    )
    return " ".join(fact for fact in facts if fact) or "unknown"


def _plus_minus(statistic: "Statistic", digits: int) -> str:
    mean = f"{statistic.mean:.{digits}f}"
    if statistic.ci95 is None:
        return mean
    return f"{mean}±{(statistic.ci95[1] - statistic.ci95[0]) / 2:.{digits}f}"


def _interval(statistic: "Statistic", digits: int) -> str:
    mean = f"{statistic.mean:+.{digits}f}"
    if statistic.ci95 is None:
        return mean
    low, high = (f"{bound:+.{digits}f}" for bound in statistic.ci95)
    return f"{mean} ({low} to {high})"
