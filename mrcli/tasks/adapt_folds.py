"""Fit and judge, fold by fold; an interrupted call goes on from the folds that it finished."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from mrcli.adapt.fit import FitSettings, Fitted, Material, OnStep, fit
from mrcli.adapt.folds import Fold
from mrcli.adapt.trials import Trial
from mrcli.adapters.adapter import Adapter
from mrcli.adapters.card import SITE, AdapterCard
from mrcli.io.atomic import write_text_atomically
from mrcli.models.bundle_files import read_bundle, write_bundle
from mrcli.models.store import Model
from mrcli.tasks.adapt_baseline import Baseline
from mrcli.tasks.adapt_scans import SiteScan
from mrcli.tasks.adapt_settings import AdaptSettings

OnFold = Callable[[str, int, int, float], None]  # what, step, of, gain in decibels

_WORK_NAME = "work/work"
_RESULT = "result.json"


@dataclass(frozen=True)
class Score:
    """One trial of a scan before and after, in decibels of error."""

    scan: str
    patient: str
    modality: str | None
    condition: str
    measure: str  # what judges: target or withheld
    baseline_db: float
    candidate_db: float
    classical_db: (
        float  # of the classical twin: `cs` after the iterations that the network starts from
    )

    @property
    def gain_db(self) -> float:
        """Return how much smaller the error became."""
        return self.baseline_db - self.candidate_db


@dataclass(frozen=True, eq=False)  # networks have no truth value to compare
class FoldResult:
    """The adapter of one fold, how it came to be, and what its judges say."""

    fold: Fold
    adapter: Adapter
    facts: dict[str, object]  # steps, checks
    scores: tuple[Score, ...]

    @property
    def best_step(self) -> int:
        """Return after how many steps the adapter was best."""
        return int(str(self.facts["best_step"]))


@dataclass(frozen=True, eq=False)
class Bench:
    """All that a fold needs."""

    model: Model
    baseline: Baseline
    scans: Sequence[SiteScan]
    settings: AdaptSettings
    on_fold: OnFold

    def trials_of(self, patients: Sequence[str]) -> tuple[Trial, ...]:
        """Return the trials of some patients."""
        return tuple(t for scan in self.scans if scan.patient in patients for t in scan.trials)

    def run(self, name: str, fold: Fold, fit_settings: FitSettings) -> FoldResult:
        """Return the result of a fold, that of an earlier call where it was finished."""
        folder = self.settings.work / name
        known = self._known(folder, fold)
        if known is not None:
            return known
        fitted = self.fit(name, fold, fit_settings)
        scores = tuple(self._scores(fold.judges, fitted.adapter))
        result = FoldResult(fold, fitted.adapter, _facts(fitted), scores)
        self._keep(folder, result)
        return result

    def fit(self, name: str, fold: Fold, fit_settings: FitSettings) -> Fitted:
        """Return the adapter of a fold."""
        material = Material(self.trials_of(fold.training), self.trials_of(fold.validation))
        first = self.baseline.first(self.settings)
        on_step = self._progress(name)
        return fit(self.baseline.frozen, first, material, fit_settings, on_step)

    def _progress(self, name: str) -> OnStep:
        def on_step(step: int, n_steps: int, gain_db: float) -> None:
            self.on_fold(name, step, n_steps, gain_db)

        return on_step

    def _scores(self, judges: Sequence[str], adapter: Adapter) -> list[Score]:
        return [
            self._score(scan, trial, adapter)
            for scan in self.scans
            if scan.patient in judges
            for trial in scan.trials
        ]

    def _score(self, scan: SiteScan, trial: Trial, adapter: Adapter) -> Score:
        frozen = self.baseline.frozen
        return Score(
            scan.name,
            scan.patient,
            scan.modality,
            trial.condition,
            trial.kind,
            self.baseline.decibels(trial),
            frozen.decibels(adapter, trial),
            trial.classical_db,
        )

    def _keep(self, folder: Path, result: FoldResult) -> None:
        card = AdapterCard(SITE, _WORK_NAME, self.model.sha256, {}, {})
        write_bundle(folder / "bundle", result.adapter, card)
        document = {
            "fold": result.fold.document(),
            "facts": result.facts,
            "scores": [vars(score) for score in result.scores],
        }
        write_text_atomically(folder / _RESULT, json.dumps(document), overwrite=True)

    def _known(self, folder: Path, fold: Fold) -> FoldResult | None:
        if not (folder / _RESULT).is_file():
            return None
        found = json.loads((folder / _RESULT).read_text(encoding="utf-8"))
        if found["fold"] != fold.document():
            return None
        own = read_bundle(folder / "bundle", self.model.backbone, self.model.sha256)
        scores = tuple(Score(**score) for score in found["scores"])
        return FoldResult(fold, own.adapter, found["facts"], scores)


def gains_of(scores: Sequence[Score]) -> dict[str, dict[str, float]]:
    """Return the mean gain of each scan, by patient."""
    collected: dict[str, dict[str, list[float]]] = {}
    for score in scores:
        of_patient = collected.setdefault(score.patient, {})
        of_patient.setdefault(score.scan, []).append(score.gain_db)
    return {
        patient: {scan: sum(gains) / len(gains) for scan, gains in scans.items()}
        for patient, scans in collected.items()
    }


def final_settings(settings: FitSettings, results: Sequence[FoldResult]) -> FitSettings:
    """Return how the adapter of all patients is fitted: as long as the folds needed, no longer."""
    best = round(median(result.best_step for result in results))
    n_steps = max(best, settings.check_every)
    return replace(settings, n_steps=n_steps, patience=n_steps)


def _facts(fitted: Fitted) -> dict[str, object]:
    return {
        "steps": fitted.n_steps,
        "best_step": fitted.best_step,
        "checks": [vars(check) for check in fitted.checks],
        "was_cut": fitted.was_cut,
    }
