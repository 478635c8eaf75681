"""`mrcli bench`."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from mrcli.cli import render
from mrcli.cli.options import (
    METHOD_PANEL,
    OUTPUT_PANEL,
    SITE_PANEL,
    ConfigOption,
    DeviceOption,
    JsonOption,
    ModelOption,
    NoColorOption,
    QuietOption,
    SeedOption,
    path_of,
)

if TYPE_CHECKING:
    from mrcli.report.summary import Statistic
    from mrcli.tasks.bench import QualityResult
    from mrcli.tasks.field_summary import FieldSummary

_MAX_METHODS = 7  # columns of a table that 80 characters hold
_DIGITS = {"psnr_db": 1, "ssim": 3, "nmse": 4}
_CHALLENGE = "cmrxrecon2025"


class Subject(StrEnum):
    """What is measured."""

    QUALITY = "quality"


SubjectArgument = Annotated[
    Subject,
    typer.Argument(
        help="What to measure: quality, on simulated scans, of every method at hand.",
        show_default=False,
    ),
]
QuickOption = Annotated[
    bool,
    typer.Option(
        "--quick",
        help="Smaller scans and fewer of them: every modality, pattern and acceleration once.",
        rich_help_panel=METHOD_PANEL,
    ),
]
PatientsOption = Annotated[
    int,
    typer.Option(
        "--patients",
        min=1,
        max=1000,
        help="Patients of each protocol of a site; with --quick of each condition.",
        rich_help_panel=SITE_PANEL,
    ),
]
SitesOption = Annotated[
    str,
    typer.Option(
        metavar="NAME,...",
        help="Sites as center/scanner; all of them where none is named.",
        show_default=False,
        rich_help_panel=SITE_PANEL,
    ),
]
MethodsOption = Annotated[
    str,
    typer.Option(
        metavar="NAME,...",
        help="Methods; all that can run here where none is named. BART's begin with bart-.",
        show_default=False,
        rich_help_panel=METHOD_PANEL,
    ),
]
OutputOption = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--output",
        metavar="FILE",
        help="Write the JSON document; an existing one is replaced.",
        parser=path_of,
        show_default=False,
        rich_help_panel=OUTPUT_PANEL,
    ),
]


def bench(
    subject: SubjectArgument,
    *,
    quick: QuickOption = False,
    n_patients: PatientsOption = 1,
    sites: SitesOption = "",
    methods: MethodsOption = "",
    model: ModelOption = None,
    output: OutputOption = None,
    device: DeviceOption = "auto",
    seed: SeedOption = 0,
    as_json: JsonOption = False,
    is_quiet: QuietOption = False,
    config: ConfigOption = None,
    no_color: NoColorOption = False,
) -> None:
    """Reconstruct a fixed simulated test set with every method at hand, and score each.

    PSNR, SSIM and NMSE per site, protocol, pattern and acceleration: against the noiseless truth,
    and beside it as challenges score. The network joins where a model is, BART where it is
    installed. A method that fails on a scan is listed and does not stop the others: the exit code
    is then 8.

    Example: mrcli bench quality --quick -o quality.json
    """
    from mrcli.tasks.bench import QualitySettings, run_quality
    from mrcli.tasks.field_cases import FULL, QUICK

    del subject, config, no_color  # there is one subject; the others acted when they were read
    settings = QualitySettings(
        version=QUICK if quick else FULL,
        n_patients=n_patients,
        sites=_names(sites),
        methods=_names(methods),
        seed=seed,
        device=device,
        model=model,
    )
    with _writing(output) as write, render.progress(is_quiet=is_quiet) as on_progress:
        result = run_quality(settings, on_progress)
        write(result)
    show = partial(show_quality, is_quiet=is_quiet)
    render.present("bench", result, show, as_json=as_json)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


@contextmanager
def _writing(output: Path | None) -> "Iterator[Callable[[QualityResult], None]]":
    """Yield what writes the document; whether it can be written is known before the long run."""
    if output is None:
        yield lambda _: None
        return
    from mrcli.io.atomic import atomic_path

    with atomic_path(output, overwrite=True) as temporary:
        yield lambda result: _write(temporary, result)


def _write(path: Path, result: "QualityResult") -> None:
    code = result.exit_code
    head = {"schema_version": render.SCHEMA_VERSION, "command": "bench"}
    outcome: dict[str, object] = {"ok": code == 0, "exit_code": code}
    if code:
        outcome["error"] = render.error_of(code).document()
    document = render.json_value(head | outcome | result.document())
    path.write_text(json.dumps(document, allow_nan=False, indent=1) + "\n", encoding="utf-8")


def show_quality(result: "QualityResult", console: Console, *, is_quiet: bool = False) -> None:
    """Print means and half widths of their 95 % intervals, from the whole to the parts."""
    tables = _Tables(result, console, is_quiet=is_quiet)
    tables.whole()
    tables.parts("sampling", "clean")
    tables.parts("sampling", _CHALLENGE)
    tables.parts("protocol", "clean")
    tables.parts("site", "clean")
    _show_choices(result, console)


class _Tables:
    """The tables of one result, each below its caption, which goes to stderr."""

    def __init__(self, result: "QualityResult", console: Console, *, is_quiet: bool) -> None:
        self.result, self.console, self.is_quiet = result, console, is_quiet

    def whole(self) -> None:
        """Print a row per method and group, with the difference to the common method."""
        paired = [one for one in self.result.paired if one.level == "group"]
        differences = {(one.facts["group"], one.method): one for one in paired}
        against = paired[0].against if paired else "sense"
        members = [one for one in self.result.summary if one.level == "group"]
        for group in dict.fromkeys(one.facts["group"] for one in members):
            names = ("PSNR dB", "SSIM", "NMSE", f"to {against}", "challenge", "s/scan")
            table = _table("method", names)
            own = [one for one in members if one.facts["group"] == group]
            for one in own:
                other = differences.get((group, one.method))
                table.add_row(render.cell(one.method), *_whole_row(one, other))
            n_patients = max(one.statistics["clean"]["psnr_db"].n for one in own)
            what = f"{group}, {n_patients} patients: against the truth, and PSNR as challenges do"
            self._show(what, table)

    def parts(self, level: str, metric_set: str) -> None:
        """Print the PSNR of one metric set per part, methods side by side."""
        members = [one for one in self.result.summary if one.level == level]
        for group in dict.fromkeys(one.facts["group"] for one in members):
            own = [one for one in members if one.facts["group"] == group]
            for methods in _chunks([one.name for one in self.result.methods]):
                table = _part_table(level, own, methods, metric_set)
                self._show(f"{group}: PSNR in dB, {_meaning(metric_set)}", table)

    def _show(self, caption: str, table: Table) -> None:
        render.note(f"simulated scans, {caption}; ± half of 95 %", is_quiet=self.is_quiet)
        self.console.print(table)
        self.console.print()


def _meaning(metric_set: str) -> str:
    return "as challenges score" if metric_set == _CHALLENGE else "against the truth"


def _whole_row(one: "FieldSummary", difference: "FieldSummary | None") -> Iterator[str]:
    for metric, digits in _DIGITS.items():
        yield plus_minus(one.statistics["clean"][metric], digits)
    yield "" if difference is None else plus_minus(difference.statistics["clean"]["psnr_db"], 1)
    yield plus_minus(one.statistics[_CHALLENGE]["psnr_db"], 1)
    yield f"{one.seconds:.1f}"


def _part_table(
    level: str, members: "Sequence[FieldSummary]", methods: Sequence[str], metric_set: str
) -> Table:
    table = _table(level, [name.replace("-", "-\n", 1) for name in methods])
    by_part: dict[str, dict[str, str]] = {}
    for one in sorted(members, key=_order):
        text = plus_minus(one.statistics[metric_set]["psnr_db"], 1)
        by_part.setdefault(_part_name(one), {})[one.method] = text
    for part, cells in by_part.items():
        table.add_row(render.cell(part), *(cells.get(name, "") for name in methods))
    return table


def _order(one: "FieldSummary") -> list[str]:
    return [str(value).zfill(2) for value in one.facts.values()]  # 8 goes before 16


def _part_name(one: "FieldSummary") -> str:
    return "".join(str(value) for name, value in one.facts.items() if name != "group")


def _chunks(names: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(names), _MAX_METHODS):
        yield names[start : start + _MAX_METHODS]


def _show_choices(result: "QualityResult", console: Console) -> None:
    chosen: dict[str, list[str]] = {}
    for one in result.tunings:
        chosen.setdefault(one.method, []).append(f"{one.pattern} {one.chosen}")
    for method, weights in chosen.items():
        text = f"{method}: weight chosen on other patients: {', '.join(weights)}"
        console.print(render.cell(text), soft_wrap=True)
    for reason, names in _reasons_of_absence(result).items():
        console.print(f"left out: {', '.join(names)}: {render.cell(reason)}", soft_wrap=True)
    if result.failures:
        console.print(f"failed: {len(result.failures)}, each with its reason on standard error")


def _reasons_of_absence(result: "QualityResult") -> dict[str, list[str]]:
    reasons: dict[str, list[str]] = {}
    for one in result.left_out:
        reasons.setdefault(one.reason, []).append(one.name)
    return reasons


def _table(first: str, others: Iterable[str]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column(first, overflow="fold")
    for name in others:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def plus_minus(statistic: "Statistic", digits: int) -> str:
    """Return ``mean±half`` of the 95 % interval, without a half where there is one value."""
    mean = f"{statistic.mean:.{digits}f}"
    if statistic.ci95 is None:
        return mean
    return f"{mean}±{(statistic.ci95[1] - statistic.ci95[0]) / 2:.{digits}f}"
