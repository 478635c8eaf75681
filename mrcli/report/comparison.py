"""Two folders of reconstructions of the same scans: differences scan by scan."""

from collections.abc import Sequence
from dataclasses import dataclass

from mrcli.report.rows import METRICS, Row, finite_or_none
from mrcli.report.summary import Statistic, describe_values


@dataclass(frozen=True)
class Difference:
    """One scan in this report minus the same scan in the other."""

    scan: str
    value: float


@dataclass(frozen=True)
class PairedComparison:
    """Paired differences of one metric of one set, this report minus the other."""

    metric_set: str
    metric: str
    statistic: Statistic
    differences: tuple[Difference, ...]

    def document(self) -> dict[str, object]:
        """Return the JSON form."""
        return {
            "metric_set": self.metric_set,
            "metric": self.metric,
            **self.statistic.document(),
            "differences": [
                {"scan": one.scan, "difference": finite_or_none(one.value)}
                for one in self.differences
            ],
        }


def compare_rows(rows: Sequence[Row], others: Sequence[Row]) -> tuple[PairedComparison, ...]:
    """Pair rows by scan and metric set and return the differences per set and metric."""
    counterpart = {(row.scan, row.metric_set): row for row in others}
    pairs = [
        (row, counterpart[row.scan, row.metric_set])
        for row in rows
        if (row.scan, row.metric_set) in counterpart
    ]
    return tuple(
        _compare(name, metric, [pair for pair in pairs if pair[0].metric_set == name])
        for name in dict.fromkeys(row.metric_set for row, _ in pairs)
        for metric in METRICS
    )


def _compare(name: str, metric: str, pairs: Sequence[tuple[Row, Row]]) -> PairedComparison:
    differences = tuple(
        Difference(row.scan, _difference(row.value(metric), other.value(metric)))
        for row, other in pairs
    )
    statistic = describe_values([one.value for one in differences])
    return PairedComparison(name, metric, statistic, differences)


def _difference(value: float, other: float) -> float:
    return 0.0 if value == other else value - other  # two infinite values do not differ
