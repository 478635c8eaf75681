"""Means of the field test with their uncertainty, and differences to a common method.

Cases of one patient are not independent: they are averaged first, and the 95 % interval is
Student's over patients. It says how certain the mean is for patients of these sites, not for sites.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from types import MappingProxyType

from mrcli.report.rows import METRICS
from mrcli.report.summary import Statistic, describe_values
from mrcli.tasks.field_scores import METRIC_SET_NAMES, FieldRow, case_document

COMMON_METHOD = "sense"

# what a mean is taken over: all cases that agree in these facts
LEVELS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "group": ("group",),
        "sampling": ("group", "pattern", "acceleration"),
        "protocol": ("group", "modality"),
        "site": ("group", "site"),
        "cell": ("group", "modality", "pattern", "acceleration"),
    }
)
Values = dict[str, dict[str, float]]  # by metric set and metric
Key = tuple[object, ...]


@dataclass(frozen=True)
class FieldSummary:
    """One method over the cases of one level that share its facts."""

    level: str
    facts: dict[str, object]
    method: str
    against: str | None  # not None: these are differences to that method
    n_cases: int
    statistics: dict[str, dict[str, Statistic]]  # by metric set and metric, over patients
    seconds: float  # mean per case

    def document(self) -> dict[str, object]:
        """Return the JSON form; `n` counts patients."""
        own = {"level": self.level, **self.facts, "method": self.method}
        if self.against is not None:
            own["against"] = self.against
        scores = {
            name: {metric: one.document() for metric, one in metrics.items()}
            for name, metrics in self.statistics.items()
        }
        return {**own, "n_cases": self.n_cases, "seconds": self.seconds, **scores}


@dataclass(frozen=True)
class Measured:
    """The numbers of one case, or their differences to those of another method."""

    row: FieldRow
    values: Values


def summarise(rows: Sequence[FieldRow]) -> tuple[FieldSummary, ...]:
    """Return the means of every level and method, in the order in which they first appear."""
    measured = [Measured(row, _values(row)) for row in rows]
    return tuple(one for level in LEVELS for one in _summaries(level, measured, None))


def compare(rows: Sequence[FieldRow], against: str = COMMON_METHOD) -> tuple[FieldSummary, ...]:
    """Return the means of the differences to one method, over the cases that both could do."""
    common = {row.case.name: row for row in rows if row.method == against}
    measured = [
        Measured(row, _differences(_values(row), _values(common[row.case.name])))
        for row in rows
        if row.method != against and row.case.name in common
    ]
    return tuple(one for level in LEVELS for one in _summaries(level, measured, against))


def _values(row: FieldRow) -> Values:
    return {
        name: {metric: float(getattr(row.qualities[name], metric)) for metric in METRICS}
        for name in METRIC_SET_NAMES
    }


def _differences(values: Values, others: Values) -> Values:
    return {
        name: {m: _difference(value, others[name][m]) for m, value in metrics.items()}
        for name, metrics in values.items()
    }


def _difference(value: float, other: float) -> float:
    return 0.0 if value == other else value - other  # two infinite values do not differ


def _summaries(
    level: str, measured: Sequence[Measured], against: str | None
) -> Iterator[FieldSummary]:
    groups: dict[Key, list[Measured]] = defaultdict(list)
    for one in measured:
        facts = case_document(one.row.case)
        groups[(*(facts[name] for name in LEVELS[level]), one.row.method)].append(one)
    for (*facts_of_group, method), members in groups.items():
        yield FieldSummary(
            level,
            dict(zip(LEVELS[level], facts_of_group, strict=True)),
            str(method),
            against,
            len(members),
            {name: _statistics(members, name) for name in METRIC_SET_NAMES},
            fmean(one.row.seconds for one in members),
        )


def _statistics(members: Sequence[Measured], metric_set: str) -> dict[str, Statistic]:
    return {metric: describe_values(_by_patient(members, metric_set, metric)) for metric in METRICS}


def _by_patient(members: Sequence[Measured], metric_set: str, metric: str) -> list[float]:
    """Return one number per patient, the mean over its cases."""
    patients: dict[str, list[float]] = defaultdict(list)
    for one in members:
        patients[one.row.case.patient].append(one.values[metric_set][metric])
    return [fmean(values) for values in patients.values()]
