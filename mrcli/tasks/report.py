"""Score a folder of reconstructions against references and gather what a quality report says."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from mrcli.errors import InputError, OutputError, QualityError
from mrcli.io.atomic import write_text_atomically
from mrcli.metrics.sets import METRIC_SETS, MetricSet, find_metric_sets
from mrcli.report.comparison import PairedComparison, compare_rows, unpaired_scans
from mrcli.report.csv_table import csv_text
from mrcli.report.limits import Limit, Offender, find_offenders, parse_limit
from mrcli.report.rows import Unscored
from mrcli.report.summary import GroupSummary, summarise
from mrcli.tasks.reconstructions import Reconstruction, find_reconstructions
from mrcli.tasks.results import ErrorReport, batch_exit_code, report_error
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
    limits: tuple[Limit, ...] = ()
    offenders: tuple[Offender, ...] = ()
    csv_path: Path | None = None

    @property
    def exit_code(self) -> int:
        """Return 9 if a limit is violated, else the code of the batch."""
        return QualityError.exit_code if self.offenders else self._batch_exit_code()

    def _batch_exit_code(self) -> int:
        errors = {one.path: report_error(one.error, one.path) for one in self.scored.unscored}
        # a scan scored in one set and failed in another is both: partial, never all
        n_items = max(self.scored.n_scans, len(errors) + bool(self.scored.rows))
        return batch_exit_code(list(errors.values()), n_items)

    def document(self) -> dict[str, object]:
        """Return the JSON form; a PSNR of null is infinite: the images are identical."""
        body: dict[str, object] = {
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
        return body | ({"error": self._gate_error().document()} if self.offenders else {})

    def _gate_error(self) -> ErrorReport:
        message = f"{len(self.offenders)} values violate a limit"
        hint = "the key offenders lists each"
        return report_error(QualityError(message, hint=hint))


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
    scored = score_reconstructions(_found_outside(path, root, compare), root, metric_sets)
    result = ReportResult(
        metric_sets,
        scored,
        summarise(scored.rows),
        limits=limits,
        offenders=find_offenders(scored.rows, limits),
        csv_path=csv_path,
    )
    if compare is not None:
        result = _compared(result, _counterparts(path, compare), root)
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


def _compared(result: ReportResult, others: Sequence[Reconstruction], root: Path) -> ReportResult:
    other = score_reconstructions(others, root, result.metric_sets)
    return replace(
        result,
        comparison=compare_rows(result.scored.rows, other.rows),
        unpaired=unpaired_scans(result.scored.rows, other.rows),
        unscored_others=other.unscored,
    )


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
