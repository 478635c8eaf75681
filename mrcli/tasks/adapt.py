"""Fit a site's adapter from a few scans, prove on patients that it has not seen that it helps.

    read -> divide and fix the protocol -> fit and judge fold by fold -> gate -> fit all -> bundle

OUT/evidence/    the record, also of a refusal (`mrcli.tasks.adapt_record`)
OUT/bundle/      the adapter, only if it was accepted
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import rmtree
from statistics import fmean

from mrcli.adapt.fit import FitSettings
from mrcli.adapt.folds import Fold, divide, whole
from mrcli.adapt.gate import Verdict, half_width, judge
from mrcli.adapters.adapter import Adapter
from mrcli.adapters.card import SITE, AdapterCard
from mrcli.device import choose_device
from mrcli.errors import DataError
from mrcli.io.lock import output_lock
from mrcli.models.bundle_files import write_bundle
from mrcli.models.store import load_adapter, load_model
from mrcli.nn.backbone import count_parameters
from mrcli.precision import choose_precision
from mrcli.provenance import program_version
from mrcli.tasks.adapt_baseline import baseline_of
from mrcli.tasks.adapt_folds import Bench, FoldResult, OnFold, final_settings, gains_of
from mrcli.tasks.adapt_page import write_page
from mrcli.tasks.adapt_pictures import Picture, bars, curve_picture, pictures_of, slot_shares
from mrcli.tasks.adapt_record import (
    CHANGE,
    IMPACT,
    MEASURES,
    SOUP,
    change_document,
    fingerprint,
    fix_protocol,
    impact_document,
    protocol_document,
    soup_document,
    write_json,
)
from mrcli.tasks.adapt_result import AdaptResult
from mrcli.tasks.adapt_scans import OnScan, SiteScan, SiteScans, read_scans, with_names
from mrcli.tasks.adapt_settings import AdaptSettings, require_valid
from mrcli.tasks.recon_choice import default_model
from mrcli.tasks.recon_plan import plan_jobs

__all__ = ["AdaptResult", "AdaptSettings", "adapt_paths"]

_MOST_PICTURES = 3
_CURVE = (2, 4, 8)  # patients
_UNKNOWN_SCANNER = "unknown"


@dataclass(frozen=True)
class Watchers:
    """Who wants to know how far it is."""

    on_scan: OnScan
    on_fold: OnFold


def adapt_paths(paths: Sequence[Path], settings: AdaptSettings, watch: Watchers) -> AdaptResult:
    """Adapt to the scans below `paths`; an interrupted call goes on with the folds it finished.

    Raises `InputError` where there is no k-space or the protocol was fixed otherwise, `ModelError`
    for a model that is refused, `LockedError` where another run owns the folder, `OutputError`
    where nothing can be written, `DataError` where no scan can be used.
    """
    start = time.perf_counter()
    require_valid(settings)
    jobs = plan_jobs(paths)
    settings = replace(settings, device=choose_device(settings.device))
    precision, _ = choose_precision(settings.precision, settings.device)
    settings = replace(settings, precision=precision)
    model = load_model(settings.model or default_model(settings.device) or "small")
    with output_lock(settings.out_dir):
        found = read_scans(jobs, settings, watch.on_scan)
        _require_some(found)
        scans = with_names(found.used)
        modalities = (scan.modality for scan in scans)
        baseline = baseline_of(model, modalities, precision, settings.device)
        bench = Bench(model, baseline, scans, settings, watch.on_fold)
        outcome = _Run(bench, found, len(jobs)).carry_out()
    return replace(outcome, seconds=time.perf_counter() - start)


def _require_some(found: SiteScans) -> None:
    if not found.used:
        name, report = found.failed[0]
        raise DataError(f"no scan can be used; {name}: {report.message}", hint=report.hint)


@dataclass(frozen=True, eq=False)  # networks have no truth value to compare
class _Run:
    """One adaptation whose scans have been read."""

    bench: Bench
    found: SiteScans
    n_jobs: int

    @property
    def settings(self) -> AdaptSettings:
        return self.bench.settings

    @property
    def patients(self) -> list[str]:
        return sorted({scan.patient for scan in self.bench.scans})

    @property
    def site(self) -> str:
        return f"{self.settings.center}/{self.settings.scanner or _UNKNOWN_SCANNER}"

    def carry_out(self) -> AdaptResult:
        """Fix the protocol, fit, judge, and write what follows from it."""
        own, model = self.settings, self.bench.model
        share = own.share_of_holdout(len(self.patients))
        folds = divide(self.patients, share, own.seed)
        reasons = self.bench.baseline.reasons
        protocol = protocol_document(own, model, self.bench.scans, folds, reasons)
        fix_protocol(own.evidence, protocol)
        results = self._results(folds)
        verdict = judge(gains_of([s for one in results for s in one.scores]), own.limits)
        curve = self._curve(folds) if own.with_curve else []
        impact = impact_document(verdict, results, curve)
        adapter = self._final(results) if verdict.accepted else None
        write_json(own.evidence / IMPACT, impact)
        write_json(own.evidence / SOUP, soup_document())
        shown = adapter or (results[0].adapter if results else None)
        pictures = self._pictures(shown, results, curve)
        findings = [vars(one) for one in self.found.findings]
        write_page(own.evidence, self.site, protocol, impact, pictures, findings)
        sha256 = self._write_bundle(adapter, verdict)
        write_json(own.evidence / CHANGE, change_document(model, adapter, sha256))
        rmtree(own.work, ignore_errors=True)
        return self._result(verdict, results, adapter)

    def _results(self, folds: Sequence[Fold]) -> tuple[FoldResult, ...]:
        fit = self._fit_settings(len(folds) + 1)
        named = ((f"fold {n} of {len(folds)}", fold) for n, fold in enumerate(folds, 1))
        return tuple(self.bench.run(name, fold, fit) for name, fold in named)

    def _fit_settings(self, n_fits: int) -> FitSettings:
        return replace(self.settings.fit, minutes=self.settings.minutes / n_fits)

    def _final(self, results: Sequence[FoldResult]) -> Adapter:
        """Return the adapter that goes out: the one that was judged, or that of all patients."""
        if len(results) == 1:
            return results[0].adapter
        fit = final_settings(self._fit_settings(len(results) + 1), results)
        return self.bench.run("all patients", whole(self.patients), fit).adapter

    def _curve(self, folds: Sequence[Fold]) -> list[dict[str, float]]:
        """Return what fewer patients would have given, by the judges of the first fold."""
        if not folds:
            return []
        first, points = folds[0], []
        for n in (n for n in _CURVE if n <= len(first.training)):
            own = Fold(first.training[:n], first.validation, first.judges)
            result = self.bench.run(f"curve {n}", own, self._fit_settings(1))
            gains = [fmean(scans.values()) for scans in gains_of(result.scores).values()]
            half = half_width(gains, self.settings.limits.confidence)
            points.append(
                {"n_patients": float(n), "mean_gain_db": fmean(gains), "half_width_db": half}
            )
        return points

    def _pictures(
        self,
        adapter: Adapter | None,
        results: Sequence[FoldResult],
        curve: Sequence[Mapping[str, float]],
    ) -> list[Picture]:
        if adapter is None:
            return []
        frozen, universal = self.bench.baseline.frozen, self.bench.baseline.universal
        shown = [
            pictures_of(frozen, universal, _judged_by(results, scan) or adapter, scan.trials[0],
                        scan.name)
            for scan in self.bench.scans[:_MOST_PICTURES]
        ]  # fmt: skip
        shares = slot_shares(frozen, universal, adapter, self.bench.scans[0].trials[0])
        drawn = [curve_picture(curve)] if len(curve) > 1 else []
        return [*shown, bars(shares), *drawn]

    def _write_bundle(self, adapter: Adapter | None, verdict: Verdict) -> str | None:
        if adapter is None:
            return None
        card = AdapterCard(
            kind=SITE,
            name=self.site,
            backbone_sha256=self.bench.model.sha256,
            data_fingerprint=fingerprint(self.bench.scans),
            training=self._training(),
            acceptance=self._acceptance(verdict),
        )
        write_bundle(self.settings.bundle, adapter, card)
        return load_adapter(self.settings.bundle, self.bench.model).sha256

    def _training(self) -> dict[str, object]:
        own = self.settings.document()
        kinds = sorted({scan.kind for scan in self.bench.scans})
        head = {"program_version": program_version(), "n_scans": len(self.bench.scans)}
        return {**head, "judged_by": kinds, **own}

    def _acceptance(self, verdict: Verdict) -> dict[str, object]:
        measures = {scan.kind: MEASURES[scan.kind] for scan in self.bench.scans}
        return {**verdict.document(), "measures": measures}

    def _result(
        self, verdict: Verdict, results: Sequence[FoldResult], adapter: Adapter | None
    ) -> AdaptResult:
        scores = [score for one in results for score in one.scores]
        judges = {score.scan for score in scores}
        n_parameters = count_parameters(adapter or self.bench.baseline.first(self.settings))
        backbone = count_parameters(self.bench.model.backbone)
        return AdaptResult(
            verdict=verdict,
            site=self.site,
            baseline=self.bench.baseline.reasons,
            scores=tuple(scores),
            n_scans={"used": len(self.bench.scans), "holdout": len(judges), "given": self.n_jobs},
            trained_parameters=n_parameters,
            parameter_fraction=n_parameters / backbone,
            backbone_sha256=self.bench.model.sha256,
            bundle=self.settings.bundle if adapter is not None else None,
            evidence=self.settings.evidence,
            failed=self.found.failed,
            findings=self.found.findings,
        )


def _judged_by(results: Sequence[FoldResult], scan: SiteScan) -> Adapter | None:
    """Return the adapter that has not seen the patient of a scan."""
    own = (result.adapter for result in results if scan.patient in result.fold.judges)
    return next(own, None)
