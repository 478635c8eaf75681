"""Quality limits: which rows fall below what was demanded."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mrcli.errors import MrcliError
from mrcli.report.rows import METRICS, SMALLER_IS_BETTER, Row, finite_or_none

_SHORT_NAMES = {"psnr": "psnr_db"}


class LimitError(MrcliError):
    """A limit cannot be understood: a usage error."""

    exit_code = 2


@dataclass(frozen=True)
class Limit:
    """The least quality that every scan must have, in one metric set or in all chosen ones."""

    metric: str
    value: float
    metric_set: str | None = None

    def is_violated_by(self, row: Row) -> bool:
        """Say whether a row is worse than the limit."""
        if self.metric_set not in (None, row.metric_set):
            return False
        found = row.value(self.metric)
        if self.metric in SMALLER_IS_BETTER:
            return not found <= self.value
        return not found >= self.value


@dataclass(frozen=True)
class Offender:
    """A scan below a limit."""

    path: str
    metric_set: str
    metric: str
    value: float
    limit: float

    def sentence(self) -> str:
        """Say in words which value of which scan is worse than demanded."""
        side = "above" if self.metric in SMALLER_IS_BETTER else "below"
        name = f"{self.metric_set}.{self.metric}"
        return f"{self.path}: {name} {self.value:.5g} is {side} {self.limit:g}"

    def document(self) -> dict[str, object]:
        """Return the JSON form."""
        return {
            "path": self.path,
            "metric_set": self.metric_set,
            "metric": self.metric,
            "value": finite_or_none(self.value),
            "limit": self.limit,
        }


def parse_limit(text: str, metric_sets: Sequence[str]) -> Limit:
    """Read ``psnr=30``, ``psnr_db=30`` or ``clean.ssim=0.9``; raises `LimitError`.

    Without the name of a set the limit holds in every chosen set. A limit on NMSE is the largest
    that passes.
    """
    name, _, number = text.partition("=")
    metric_set, _, metric = name.strip().rpartition(".")
    metric = _SHORT_NAMES.get(metric, metric)
    value = _number(number)
    if metric not in METRICS or value is None or metric_set not in ("", *metric_sets):
        raise LimitError(
            f"limit {text!r} cannot be understood",
            hint="write METRIC=VALUE, such as psnr=30 or "
            f"{metric_sets[0]}.ssim=0.9; metrics: psnr, ssim, nmse; "
            f"chosen sets: {', '.join(metric_sets)}",
        )
    return Limit(metric, value, metric_set or None)


def find_offenders(rows: Sequence[Row], limits: Sequence[Limit]) -> tuple[Offender, ...]:
    """Return every row that violates a limit, once per limit."""
    return tuple(
        Offender(row.path, row.metric_set, limit.metric, row.value(limit.metric), limit.value)
        for row in rows
        for limit in limits
        if limit.is_violated_by(row)
    )


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
