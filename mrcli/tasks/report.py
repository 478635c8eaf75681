"""Score a folder of reconstructions against references and gather what a quality report says."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from mrcli.errors import InputError, MrcliError, OutputError, PartialFailure, QualityError
from mrcli.findings import Finding, Severity
from mrcli.io.atomic import write_text_atomically
from mrcli.io.image_files import read_image
from mrcli.metrics.sets import METRIC_SETS, MetricSet, find_metric_sets
from mrcli.report.comparison import PairedComparison, compare_rows
from mrcli.report.csv_table import csv_text
from mrcli.report.limits import Limit, Offender, find_offenders, parse_limit
from mrcli.report.rows import Unscored
from mrcli.report.summary import GroupSummary, summarise
from mrcli.tasks.reconstructions import Reconstruction, find_reconstructions
from mrcli.tasks.results import ErrorReport, batch_exit_code, report_at, report_error
from mrcli.tasks.scoring import Scored, score_reconstructions

METRIC_SET_NAMES = tuple(METRIC_SETS)


@dataclass(frozen=True)
class ReportResult:
    """A quality report: rows, summaries, and the comparison and limits that were asked for."""

    metric_sets: tuple[MetricSet, ...]
    scored: Scored
    summary: tuple[GroupSummary, ...]
    comparison: tuple[PairedComparison, ...] = ()
    unpaired: tuple[str, ...] = ()
    unscored_others: tuple[Unscored, ...] = ()
    other_path: Path | None = None  # what was to be compared with
    limits: tuple[Limit, ...] = ()
    offenders: tuple[Offender, ...] = ()
    csv_path: Path | None = None

    @property
    def exit_code(self) -> int:
        """Return 9 if a limit is violated, else the code of the batch.

        A comparison without a single pair did not take place, which is 3; one in which images of
        the other folder could not be scored is partial.
        """
        if self.offenders:
            return QualityError.exit_code
        own = self._own_exit_code()
        if own not in (0, PartialFailure.exit_code):
            return own
        if self._has_no_pair():
            return InputError.exit_code
        return PartialFailure.exit_code if self.unscored_others else own

    @property
    def reasons(self) -> tuple[ErrorReport, ...]:
        """Return every violated limit and everything that could not be scored or compared."""
        gates = (QualityError(one.sentence()) for one in self.offenders)
        return (
            *map(report_error, gates),
            *(_unscored_report(one, Path()) for one in self.scored.unscored),
            *(_unscored_report(one, self.other_path or Path()) for one in self.unscored_others),
            *((report_error(self._no_pair()),) if self._has_no_pair() else ()),
        )

    def _has_no_pair(self) -> bool:
        return self.other_path is not None and not self.comparison

    def _no_pair(self) -> InputError:
        other = self.other_path or Path()
        return InputError(
            f"{other.name or other}: nothing was compared: no scan is scored on both sides",
            hint="compare reconstructions of the same scans",
        )

    def _own_exit_code(self) -> int:
        errors = {one.path: report_error(one.error, one.path) for one in self.scored.unscored}
        # a scan scored in one set and failed in another is both: partial, never all
        n_items = max(self.scored.n_scans, len(errors) + bool(self.scored.rows))
        return batch_exit_code(list(errors.values()), n_items)

    def document(self) -> dict[str, object]:
        """Return the JSON form; a PSNR of null is infinite: the images are identical."""
        return {
            "metric_sets": {one.name: one.passport for one in self.metric_sets},
            "rows": [row.document() for row in self.scored.rows],
            "unscored": [one.document() for one in self.scored.unscored],
            "summary": [group.document() for group in self.summary],
            "comparison": [one.document() for one in self.comparison],
            "unpaired": list(self.unpaired),
            "unscored_others": [one.document() for one in self.unscored_others],
            "limits": [asdict(limit) for limit in self.limits],
            "offenders": [one.document() for one in self.offenders],
            "csv": str(self.csv_path) if self.csv_path else None,
        }


def report_folder(
    path: Path,
    *,
    reference: Path | None,
    metrics: Sequence[str] = ("clean",),
    csv_path: Path | None = None,
    compare: Path | None = None,
    fail_below: Sequence[str] = (),
) -> ReportResult:
    """Score the reconstructions of a folder, or one image; writes the CSV if one is asked for.

    A scan that cannot be scored is listed with its reason. Raises `InputError` where there is
    nothing to score or no reference at all, `LimitError` for a limit that makes no sense.
    """
    metric_sets = find_metric_sets(metrics)
    limits = tuple(parse_limit(text, [one.name for one in metric_sets]) for text in fail_below)
    _require_csv_name(csv_path)
    root = _require_reference(reference)
    mine = _found_outside(path, root, compare)
    scored = _with_signs_noted(score_reconstructions(mine, root, metric_sets), mine)
    result = ReportResult(
        metric_sets,
        scored,
        summarise(scored.rows),
        limits=limits,
        offenders=find_offenders(scored.rows, limits),
        csv_path=csv_path,
    )
    if compare is not None:
        result = _compared(
            replace(result, other_path=compare), mine, _counterparts(path, compare), root
        )
    if csv_path is not None:
        write_text_atomically(csv_path, csv_text(scored.rows, scored.unscored), overwrite=True)
    return result


def _found_outside(path: Path, *elsewhere: Path | None) -> tuple[Reconstruction, ...]:
    """Find reconstructions, without the references and the counterparts kept in the same folder."""
    found = find_reconstructions(path)
    inner = [one.resolve() for one in elsewhere if one and _is_below(one, path)]
    outside = tuple(one for one in found if not _is_in_one_of(one.path, inner))
    if not outside:
        raise InputError(
            f"{path.name or path}: holds only references and what to compare with",
            hint="name the output folder of a reconstruction",
        )
    return outside


def _is_in_one_of(path: Path, folders: Sequence[Path]) -> bool:
    return any(path.resolve().is_relative_to(folder) for folder in folders)


def _is_below(inner: Path, outer: Path) -> bool:
    return inner.resolve() != outer.resolve() and inner.resolve().is_relative_to(outer.resolve())


def _counterparts(path: Path, other: Path) -> tuple[Reconstruction, ...]:
    found = find_reconstructions(other)
    if path.is_file() and other.is_file():  # two named files are the same scan, whatever the names
        (mine,) = find_reconstructions(path)
        return (replace(found[0], scan=mine.scan),)
    return found


def _compared(
    result: ReportResult,
    mine: Sequence[Reconstruction],
    others: Sequence[Reconstruction],
    root: Path,
) -> ReportResult:
    other = score_reconstructions(others, root, result.metric_sets)
    return replace(
        result,
        comparison=compare_rows(result.scored.rows, other.rows),
        unpaired=tuple(sorted({one.scan for one in mine} ^ {one.scan for one in others})),
        unscored_others=other.unscored,
    )


def _unscored_report(one: Unscored, folder: Path) -> ErrorReport:
    path = str(folder / one.path) if folder.is_dir() else str(folder)
    report = report_at(one.error, path)
    if one.metric_set is None:
        return report
    return replace(report, message=f"{report.message} (in metric set {one.metric_set})")


def _with_signs_noted(scored: Scored, images: Sequence[Reconstruction]) -> Scored:
    """Add a finding to the rows of images with values below 0, of which the size is scored."""
    signed = {row.path for row in scored.rows} & {
        one.relative for one in images if _has_negative_values(one.path)
    }
    finding = Finding(
        "negative-values",
        Severity.WARNING,
        "the image has values below 0: their absolute value is scored",
        "write magnitude images",
    )
    rows = (
        replace(row, findings=(*row.findings, finding)) if row.path in signed else row
        for row in scored.rows
    )
    return replace(scored, rows=tuple(rows))


def _has_negative_values(path: Path) -> bool:
    try:
        data = read_image(path).data
    except MrcliError:
        return False  # it is listed among those without a score
    return not np.iscomplexobj(data) and bool((data < 0).any())


def _require_reference(reference: Path | None) -> Path:
    if reference is None:
        raise InputError(
            "no reference is named: quality is measured against one",
            hint="name a file or folder of references; the input folder will do if its files "
            "hold full sampling",
        )
    if not reference.exists():
        raise InputError(f"{reference.name}: no such file or folder", hint="check the path")
    return reference


def _require_csv_name(csv_path: Path | None) -> None:
    # a table may be replaced, a scan named by mistake may not
    if csv_path is not None and csv_path.suffix.lower() != ".csv":
        raise OutputError(f"{csv_path.name}: not the name of a table", hint="let it end in .csv")
