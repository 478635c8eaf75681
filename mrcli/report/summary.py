"""Means over scans with their uncertainty, per metric set and group; every scan weighs equally."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student_t

from mrcli.report.rows import (
    METRICS,
    SMALLER_IS_BETTER,
    Conditions,
    Row,
    conditions_document,
    finite_or_none,
)
from mrcli.site import Site

_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Statistic:
    """Mean of `n` values, their standard deviation and the 95 % interval of the mean.

    Both are None for one value, and where a value is infinite.
    """

    n: int
    mean: float
    sd: float | None
    ci95: tuple[float, float] | None

    def document(self) -> dict[str, object]:
        """Return the JSON form; a mean of null is infinite."""
        return {
            "n": self.n,
            "mean": finite_or_none(self.mean),
            "sd": self.sd,
            "ci95": None if self.ci95 is None else list(self.ci95),
        }


@dataclass(frozen=True)
class Worst:
    """The worst scan of a group for one metric."""

    value: float
    path: str


@dataclass(frozen=True)
class GroupSummary:
    """One metric set over the scans of one site, protocol, acceleration, pattern and method."""

    metric_set: str
    group: Conditions
    statistics: dict[str, Statistic]  # by metric
    worst: dict[str, Worst]

    def document(self) -> dict[str, object]:
        """Return the JSON form."""
        head = {"metric_set": self.metric_set, **conditions_document(self.group)}
        return {
            **head,
            "n": next(iter(self.statistics.values())).n,
            **{metric: self._metric_document(metric) for metric in METRICS},
        }

    def _metric_document(self, metric: str) -> dict[str, object]:
        worst = self.worst[metric]
        return {
            **self.statistics[metric].document(),
            "worst": finite_or_none(worst.value),
            "worst_path": worst.path,
        }


def describe_values(values: Sequence[float]) -> Statistic:
    """Return mean, standard deviation (n - 1) and Student's 95 % interval of the mean."""
    n, mean = len(values), float(np.mean(values))
    if n == 1 or not math.isfinite(mean):
        return Statistic(n, mean, None, None)
    sd = float(np.std(values, ddof=1))
    half = float(student_t.ppf((1 + _CONFIDENCE) / 2, n - 1)) * sd / math.sqrt(n)
    return Statistic(n, mean, sd, (mean - half, mean + half))


def summarise(rows: Sequence[Row]) -> tuple[GroupSummary, ...]:
    """Return one summary per metric set and group, in the order in which they first appear."""
    groups: dict[tuple[str, Conditions], list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.metric_set, _group(row.conditions)].append(row)
    return tuple(
        GroupSummary(
            name,
            group,
            {metric: describe_values([row.value(metric) for row in members]) for metric in METRICS},
            {metric: worst_of(members, metric) for metric in METRICS},
        )
        for (name, group), members in groups.items()
    )


def worst_of(rows: Sequence[Row], metric: str) -> Worst:
    """Return the row that a metric likes least."""
    choose = max if metric in SMALLER_IS_BETTER else min
    row = choose(rows, key=lambda one: one.value(metric))
    return Worst(row.value(metric), row.path)


def _group(conditions: Conditions) -> Conditions:
    """Keep what a group is made of; the true acceleration differs from matrix to matrix."""
    site = Site(conditions.site.center, conditions.site.scanner)
    return Conditions(
        conditions.method,
        site,
        conditions.protocol,
        conditions.pattern,
        conditions.nominal_acceleration,
    )
