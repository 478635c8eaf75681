"""The field test: every method at hand on a fixed simulated test set, scored against the truth."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from pathlib import Path

from mrcli.device import choose_device
from mrcli.errors import DataError, PartialFailure
from mrcli.metrics.sets import METRIC_SETS
from mrcli.provenance import NUMERICS_VERSION, software_versions
from mrcli.simulate.site_file import load_sites
from mrcli.simulate.sites import SiteSpec, choose_sites
from mrcli.tasks.field_cases import FULL, FieldCase, FieldDesign, FieldVersion
from mrcli.tasks.field_methods import FieldMethod, LeftOut, find_methods
from mrcli.tasks.field_scans import make_scan
from mrcli.tasks.field_scores import (
    METRIC_SET_NAMES,
    Call,
    FieldFailure,
    FieldRow,
    Outcome,
    Tuning,
    choose_weights,
    run_case,
)
from mrcli.tasks.field_summary import FieldSummary, compare, summarise
from mrcli.tasks.progress import OnProgress, say_nothing
from mrcli.tasks.results import ErrorReport, named_message, report_error

_REFERENCES = {
    "clean": "the noiseless truth of the simulation",
    "cmrxrecon2025": "root sum of squares of the coils of the noisy full sampling",
}


@dataclass(frozen=True)
class QualitySettings:
    """All that decides a field test; empty names mean all."""

    version: FieldVersion = FULL
    n_patients: int = 1
    sites: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    seed: int = 0
    device: str = "auto"
    model: str | None = None  # name or folder; None: the one that comes with this version

    def document(self) -> dict[str, object]:
        """Return the JSON form; of a folder only its name is told."""
        lists = {"sites": list(self.sites), "methods": list(self.methods)}
        return asdict(self) | lists | {"model": self.model and Path(self.model).name}


@dataclass(frozen=True)
class QualityResult:
    """All scores of a field test, how weights were chosen, and what failed."""

    settings: QualitySettings
    methods: tuple[FieldMethod, ...]
    left_out: tuple[LeftOut, ...]
    tuning_cases: tuple[FieldCase, ...]
    test_cases: tuple[FieldCase, ...]
    tunings: tuple[Tuning, ...]
    rows: tuple[FieldRow, ...]
    failures: tuple[FieldFailure, ...]
    seconds: float

    @cached_property
    def summary(self) -> tuple[FieldSummary, ...]:
        """Return the means of every level and method."""
        return summarise(self.rows)

    @cached_property
    def paired(self) -> tuple[FieldSummary, ...]:
        """Return the mean differences of every method to the common one."""
        return compare(self.rows)

    @property
    def exit_code(self) -> int:
        """Return 0, or 8 where a method failed on a case."""
        return PartialFailure.exit_code if self.failures else 0

    @property
    def reasons(self) -> tuple[ErrorReport, ...]:
        """Return a report per failure that names method and case."""
        return tuple(
            replace(
                one.error,
                message=named_message(one.case.name, f"{one.method}: {one.error.message}"),
            )
            for one in self.failures
        )

    def document(self) -> dict[str, object]:
        """Return the JSON form."""
        return {
            "what": "quality",
            "is_simulated": True,
            "settings": self.settings.document(),
            "metric_sets": {
                name: {"definition": METRIC_SETS[name].passport, "reference": _REFERENCES[name]}
                for name in METRIC_SET_NAMES
            },
            "intervals": "95 %, Student over patients; cases of a patient are averaged first",
            "methods": [one.document() for one in self.methods],
            "left_out": [asdict(one) for one in self.left_out],
            "n_tuning_cases": len(self.tuning_cases),
            "n_cases": len(self.test_cases),
            "tuning": [one.document() for one in self.tunings],
            "summary": [one.document() for one in self.summary],
            "paired": [one.document() for one in self.paired],
            "rows": [one.document() for one in self.rows],
            "failures": [one.document() for one in self.failures],
            "seconds": self.seconds,
            "numerics_version": NUMERICS_VERSION,
            "software": software_versions(),
        }


def run_quality(settings: QualitySettings, on_progress: OnProgress = say_nothing) -> QualityResult:
    """Reconstruct and score the test set with every method at hand.

    A method that fails on a case is listed and does not stop the others. Raises `InputError` for a
    site or method that is not there, `ResourceError` for a device that is not, `ModelError` for a
    model that is refused.
    """
    settings = replace(settings, device=choose_device(settings.device))
    methods, left_out = find_methods(settings.methods, settings.device, settings.model)
    return run_field_test(settings, methods, left_out, on_progress)


def run_field_test(
    settings: QualitySettings,
    methods: Sequence[FieldMethod],
    left_out: Sequence[LeftOut] = (),
    on_progress: OnProgress = say_nothing,
) -> QualityResult:
    """Run the test with these methods; weights are chosen before the test set is touched."""
    start = time.perf_counter()
    known = load_sites()
    design = FieldDesign(settings.version, settings.seed)
    is_tuning = any(method.weights for method in methods)
    tuning = design.tuning_cases(known) if is_tuning else ()
    cases = design.test_cases(_chosen(known, settings.sites), settings.n_patients)
    run = _Run(settings.device, len(tuning) + len(cases), on_progress)
    tried = run.tune(tuning, methods)
    tunings = choose_weights(tried, methods)
    outcomes = run.test(cases, methods, tunings, len(tuning))
    return QualityResult(
        settings,
        tuple(methods),
        tuple(left_out),
        tuning,
        cases,
        tunings,
        tuple(one for one in outcomes if isinstance(one, FieldRow)),
        tuple(one for one in (*tried, *outcomes) if isinstance(one, FieldFailure)),
        time.perf_counter() - start,
    )


@dataclass(frozen=True)
class _Run:
    """One call: where to simulate, how many scans there are, and who wants to know."""

    device: str
    n_scans: int
    on_progress: OnProgress

    def tune(self, cases: Sequence[FieldCase], methods: Sequence[FieldMethod]) -> list[Outcome]:
        """Try every weight of every grid on every tuning case."""
        calls = [(method, weight) for method in methods for weight in method.weights]
        return [one for index, case in enumerate(cases) for one in self._do(index, case, calls)]

    def test(
        self,
        cases: Sequence[FieldCase],
        methods: Sequence[FieldMethod],
        tunings: Sequence[Tuning],
        first: int,
    ) -> list[Outcome]:
        """Run every method with the weight chosen for the pattern on every test case."""
        chosen = {(one.method, one.pattern): one.chosen for one in tunings}
        outcomes: list[Outcome] = []
        for index, case in enumerate(cases, first):
            weights = [(one, chosen.get((one.name, case.pattern))) for one in methods]
            calls = [(one, weight) for one, weight in weights if _is_ready(one, weight)]
            outcomes += self._do(index, case, calls)
            outcomes += [
                _untuned(case, one) for one, weight in weights if not _is_ready(one, weight)
            ]
        return outcomes

    def _do(self, index: int, case: FieldCase, calls: Sequence[Call]) -> tuple[Outcome, ...]:
        outcomes = run_case(case, calls, partial(make_scan, device=self.device))
        self.on_progress(index, self.n_scans, case.name, 1, 1)
        return outcomes


def _is_ready(method: FieldMethod, weight: float | None) -> bool:
    return weight is not None or not method.weights


def _untuned(case: FieldCase, method: FieldMethod) -> FieldFailure:
    error = DataError(f"no weight could be chosen for {case.pattern}: each failed when tuning")
    return FieldFailure(case, method.name, report_error(error, case.name))


def _chosen(known: Sequence[SiteSpec], names: Sequence[str]) -> tuple[SiteSpec, ...]:
    return choose_sites(known, names) if names else tuple(known)
