"""The rows of a report as CSV that a spreadsheet may open: no cell is taken for a formula."""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from mrcli.report.rows import METRICS, Row, Unscored

COLUMNS = (
    "path",
    "metric_set",
    "psnr_db",
    "ssim",
    "nmse",
    "n_frames",
    "worst_frame",
    "worst_slice",
    "worst_psnr_db",
    "worst_ssim",
    "worst_nmse",
    "method",
    "center",
    "scanner",
    "vendor",
    "field_strength_t",
    "protocol",
    "pattern",
    "nominal_acceleration",
    "true_acceleration",
    "reference",
    "findings",
    "error",
)
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")


def csv_text(rows: Sequence[Row], unscored: Sequence[Unscored]) -> str:
    """Return one line per row, then one per scan that was not scored; an infinite PSNR is inf."""
    buffer = io.StringIO(newline="")
    writer = csv.DictWriter(buffer, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for cells in (*map(_row_cells, rows), *map(_unscored_cells, unscored)):
        writer.writerow({column: safe_cell(value) for column, value in cells.items()})
    return buffer.getvalue()


def safe_cell(value: object) -> str:
    """Return the text of a cell; what a spreadsheet would compute gets an apostrophe in front.

    Bytes of a file name that are not UTF-8 show as their numbers: every text can be written.
    """
    if value is None:
        return ""
    writable = str(value).encode("utf-8", "backslashreplace").decode("utf-8")
    text = " ".join(writable.split("\x00"))
    is_formula = text.lstrip(" ").startswith(_FORMULA_STARTS) and not _NUMBER.fullmatch(text)
    return f"'{text}" if is_formula else text


def _row_cells(row: Row) -> Mapping[str, object]:
    worst, conditions = row.scores.worst, row.conditions
    facts = asdict(conditions)
    site = facts.pop("site")
    return {
        "path": row.path,
        "metric_set": row.metric_set,
        **asdict(row.scores.volume),
        "n_frames": len(row.scores.frames),
        "worst_frame": worst.frame,
        "worst_slice": worst.slice,
        **{f"worst_{metric}": getattr(worst.quality, metric) for metric in METRICS},
        **facts,
        **site,
        "reference": row.reference,
        "findings": "; ".join(finding.message for finding in row.findings),
    }


def _unscored_cells(one: Unscored) -> Mapping[str, object]:
    return {"path": one.path, "metric_set": one.metric_set, "error": one.error.message}
