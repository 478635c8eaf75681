"""Run one method on one case and score it; tune the weights of those that have some."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

import torch

from mrcli.errors import MrcliError, ResourceError
from mrcli.metrics.cmrxrecon2025 import frame_choice
from mrcli.metrics.image import Quality
from mrcli.metrics.sets import METRIC_SETS
from mrcli.report.rows import finite_or_none, quality_document
from mrcli.tasks.field_cases import PATTERNS, FieldCase
from mrcli.tasks.field_methods import FieldMethod
from mrcli.tasks.field_scans import FieldScan, Frames
from mrcli.tasks.results import ErrorReport, report_error

METRIC_SET_NAMES = ("clean", "cmrxrecon2025")  # against the truth; as challenges score
Call = tuple[FieldMethod, float | None]  # a method with its weight
MakeScan = Callable[[FieldCase], FieldScan]


@dataclass(frozen=True)
class FieldRow:
    """What one method made of one case."""

    case: FieldCase
    method: str
    weight: float | None
    qualities: dict[str, Quality]  # by metric set
    true_acceleration: float
    shape: tuple[int, int, int]  # (frame, y, x)
    seconds: float

    def document(self) -> dict[str, object]:
        """Return the JSON form; a PSNR of null is infinite."""
        return {
            **case_document(self.case),
            "true_acceleration": self.true_acceleration,
            "shape": list(self.shape),
            "method": self.method,
            "weight": self.weight,
            "seconds": self.seconds,
            **{name: quality_document(one) for name, one in self.qualities.items()},
        }


@dataclass(frozen=True)
class FieldFailure:
    """A case that a method could not do, and why."""

    case: FieldCase
    method: str
    error: ErrorReport

    def document(self) -> dict[str, object]:
        """Return the JSON form."""
        facts = case_document(self.case)
        return {**facts, "method": self.method, "error": self.error.document()}


Outcome = FieldRow | FieldFailure


@dataclass(frozen=True)
class Tuning:
    """How the weight of a method was chosen for one pattern; `chosen` is None if all failed."""

    method: str
    pattern: str
    scores: tuple[tuple[float, int, float], ...]  # weight, number of cases, mean PSNR in dB
    chosen: float | None

    def document(self) -> dict[str, object]:
        """Return the JSON form."""
        return {
            "method": self.method,
            "pattern": self.pattern,
            "metric": "psnr_db of the set clean, mean over the tuning cases of the pattern",
            "scores": [
                {"weight": weight, "n": n, "psnr_db": finite_or_none(psnr_db)}
                for weight, n, psnr_db in self.scores
            ],
            "chosen": self.chosen,
        }


def case_document(case: FieldCase) -> dict[str, object]:
    """Return what is known of a case before it is reconstructed."""
    return {
        "case": case.name,
        "group": case.group.value,
        "site": case.recipe.site.name,
        "modality": case.modality,
        "protocol": case.recipe.protocol.contrast,
        "patient": case.patient,
        "cohort": case.recipe.cohort.value,
        "pattern": case.pattern,
        "acceleration": case.acceleration,
    }


def run_method(
    case: FieldCase, scan: FieldScan, method: FieldMethod, weight: float | None
) -> Outcome:
    """Return the scores of a method on a case, or why there are none."""
    start = time.perf_counter()
    try:
        image = method.run(scan.scan, weight)
        seconds = time.perf_counter() - start
        qualities = score_image(case, scan, image)
    except MrcliError as error:
        return FieldFailure(case, method.name, report_error(error, case.name))
    except (MemoryError, torch.OutOfMemoryError):
        lack = ResourceError("not enough memory for this scan")
        return FieldFailure(case, method.name, report_error(lack, case.name))
    n_frames, n_y, n_x = scan.truth.shape
    return FieldRow(
        case,
        method.name,
        weight,
        qualities,
        scan.true_acceleration,
        (n_frames, n_y, n_x),
        seconds,
    )


def score_image(case: FieldCase, scan: FieldScan, image: Frames) -> dict[str, Quality]:
    """Score magnitudes in both metric sets; raises `DataError` where they cannot be scored."""
    choice = frame_choice(case.recipe.protocol.contrast)
    references = {"clean": scan.truth, "cmrxrecon2025": scan.rss}
    return {
        name: METRIC_SETS[name].score(image[:, None], reference[:, None], choice).volume
        for name, reference in references.items()
    }


def run_case(case: FieldCase, calls: Sequence[Call], make_scan: MakeScan) -> tuple[Outcome, ...]:
    """Return the outcome of each method, with its weight, on a case that is simulated once."""
    try:
        scan = make_scan(case)
    except MrcliError as error:
        failure = report_error(error, case.name)
        return tuple(FieldFailure(case, method.name, failure) for method, _ in calls)
    return tuple(run_method(case, scan, method, weight) for method, weight in calls)


def choose_weights(
    outcomes: Sequence[Outcome], methods: Sequence[FieldMethod]
) -> tuple[Tuning, ...]:
    """Return per method and pattern the weight of the highest mean PSNR against the truth.

    A weight counts only if it failed no more often than the others.
    """
    tunable = [method for method in methods if method.weights]
    return tuple(
        _choose(method, pattern.value, outcomes) for method in tunable for pattern in PATTERNS
    )


def _choose(method: FieldMethod, pattern: str, outcomes: Sequence[Outcome]) -> Tuning:
    rows = [
        one
        for one in outcomes
        if isinstance(one, FieldRow) and (one.method, one.case.pattern) == (method.name, pattern)
    ]
    scores = tuple(
        (weight, len(values), fmean(values))
        for weight in method.weights
        if (values := [r.qualities["clean"].psnr_db for r in rows if r.weight == weight])
    )
    best = max(scores, key=lambda one: one[1:], default=None)
    return Tuning(method.name, pattern, scores, None if best is None else best[0])
