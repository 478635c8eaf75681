"""The scans that a site brings: read, checked, made into trials; what cannot be used is told."""

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from mrcli.adapt.build import require_frames_alike, supervised_trial, withheld_trials
from mrcli.adapt.sampling import Sampled, drawn_masks, is_one_fixed_lattice
from mrcli.adapt.trials import Trial
from mrcli.checks import Examination, examine
from mrcli.errors import DataError, MrcliError
from mrcli.findings import Finding, Severity
from mrcli.io.references import find_reference
from mrcli.io.registry import open_scan
from mrcli.physics.sampling import describe_sampling
from mrcli.pipeline import CalibratedSlice, Calibration, calibrate, calibrated_slice
from mrcli.scan import Scan
from mrcli.simulate.recipes import generator_of
from mrcli.tasks.adapt_settings import FULL, NONE, AdaptSettings
from mrcli.tasks.recon_plan import Job
from mrcli.tasks.recon_scan import require_usable
from mrcli.tasks.results import ErrorReport, report_error
from mrcli.types import KSpace, SamplingMask

OnScan = Callable[[int, int, str], None]  # index, of, name

_N_SPLITS = 4  # of what a scan without reference acquired
_PATIENT = re.compile(r"[Pp](atient)?[-_ ]?\d+")
_NOISE_MARGIN = 4.0  # of power: a reference may be another average of the same scan


@dataclass(frozen=True, eq=False)  # trials hold tensors
class SiteScan:
    """One scan that can be used."""

    name: str
    patient: str
    sha256: str  # of the samples of its middle slice
    n_coils: int
    modality: str | None
    trials: tuple[Trial, ...]
    mask: SamplingMask
    findings: tuple[Finding, ...] = ()

    @property
    def kind(self) -> str:
        """Return what its trials are judged by."""
        return self.trials[0].kind


@dataclass(frozen=True, eq=False)
class SiteScans:
    """All scans of a call: those that can be used, and why others cannot."""

    used: tuple[SiteScan, ...]
    failed: tuple[tuple[str, ErrorReport], ...]
    findings: tuple[Finding, ...]


def read_scans(jobs: Sequence[Job], settings: AdaptSettings, on_scan: OnScan) -> SiteScans:
    """Read every scan; one that fails is part of the answer and stops no other."""
    used: dict[str, SiteScan] = {}
    failed: list[tuple[str, ErrorReport]] = []
    findings: list[Finding] = []
    for index, job in enumerate(jobs):
        on_scan(index, len(jobs), job.name)
        try:
            one = _read(job, settings)
        except MrcliError as error:
            failed.append((job.name, report_error(error, str(job.path))))
            continue
        findings.extend(one.findings)
        if one.sha256 in used:
            findings.append(_repeated(job.name, used[one.sha256].name))
        else:
            used[one.sha256] = one
    scans = tuple(used.values())
    return SiteScans(scans, tuple(failed), (*findings, *_of_all(scans)))


def _read(job: Job, settings: AdaptSettings) -> SiteScan:
    scan = open_scan(job.path, reader=settings.reader, axes=settings.axes)
    _require_own_site(scan, settings)
    examination = examine(scan)
    require_usable(examination.findings)
    calibration = calibrate(scan, examination.noise_sigma if scan.noise is not None else 0.0)
    index = scan.header.n_slices // 2
    samples = scan.slice_kspace(index)
    digest = hashlib.sha256(samples.numpy().tobytes()).hexdigest()
    mask = examination.mask[:, index if examination.mask.shape[1] > 1 else 0]
    own = calibrated_slice(samples, mask, calibration)
    modality = settings.protocol or scan.header.protocol
    source = _Source(scan, examination, calibration, index, own, modality, digest)
    trials = tuple(one.to(settings.device) for one in source.trials(job.path, settings))
    if not trials:
        raise DataError(
            "nothing is left to judge by: no reference, and too few samples outside the ACS"
        )
    patient = _patient_of(job.path)
    return SiteScan(job.name, patient, digest, scan.header.n_coils, modality, trials, mask)


def _require_own_site(scan: Scan, settings: AdaptSettings) -> None:
    """Raise `DataError` for a scan that says that it comes from elsewhere."""
    site = scan.header.site
    wanted = (("center", site.center, settings.center), ("scanner", site.scanner, settings.scanner))
    for what, found, needed in wanted:
        if found and needed and found.casefold() != needed.casefold():
            raise DataError(
                f"the scan is of {what} {found}, asked was {needed}",
                hint="adapt each scanner by itself",
            )


def _patient_of(path: Path) -> str:
    """Return what tells patients apart: a folder called like one, else the file."""
    parents = [parent for parent in path.absolute().parents if _PATIENT.fullmatch(parent.name)]
    return parents[0].name if parents else str(path.absolute())


@dataclass(frozen=True, eq=False)
class _Source:
    """The slice of one scan that trials are made of."""

    scan: Scan
    examination: Examination
    calibration: Calibration
    index: int
    own: CalibratedSlice
    modality: str | None
    digest: str

    def trials(self, path: Path, settings: AdaptSettings) -> Iterator[Trial]:
        """Yield the trials that reference and settings allow; raises `DataError`."""
        full = None if settings.reference == NONE else self._full(path)
        if full is None and settings.reference == FULL:
            raise DataError("the scan has no fully sampled reference", hint="use --reference auto")
        random = generator_of(settings.seed, "masks", self.digest)
        if full is None:
            name = self._name_of_sampling()
            yield from withheld_trials(self.own, self.modality, name, random, _N_SPLITS)
            return
        for sampled in self._masks(full.kspace, settings, random):
            yield supervised_trial(
                full, sampled, self.modality, is_noise_measured=self.scan.noise is not None
            )

    def _masks(
        self, full: KSpace, settings: AdaptSettings, random: torch.Generator
    ) -> Iterator[Sampled]:
        if not bool(self.own.mask.all()):
            yield Sampled(self.own.mask, self._name_of_sampling())
            return
        n_frames, _, n_y, n_x = full.shape
        yield from drawn_masks(settings.patterns, n_frames, (n_y, n_x), random)

    def _full(self, path: Path) -> CalibratedSlice | None:
        """Return the fully sampled slice: the scan itself, one within its file, or one beside."""
        if bool(self.own.mask.all()):
            return self.own
        load = self.scan.load_reference_slice or self._load_beside(path)
        if load is None:
            return None
        everywhere = torch.ones(1, 1, self.own.kspace.shape[-2], 1, dtype=torch.bool)
        full = calibrated_slice(load(self.index), everywhere, self.calibration)
        energy = float((self.own.kspace.abs().square()).mean())
        limit = _NOISE_MARGIN * 2 * self.own.noise_sigma**2 / energy
        require_frames_alike(self.own, full, limit)
        return full

    def _load_beside(self, path: Path) -> Callable[[int], KSpace] | None:
        beside = find_reference(path, None)
        if beside is None:
            return None
        other = open_scan(beside)
        if other.header.slice_shape != self.scan.header.slice_shape:
            raise DataError(
                f"the reference {beside.name} has the shape {other.header.slice_shape}, "
                f"the scan {self.scan.header.slice_shape} (frame, coil, y, x)"
            )
        return other.slice_kspace

    def _name_of_sampling(self) -> str:
        sampling = describe_sampling(self.own.mask, self.own.kspace.shape[-1])
        nominal = sampling.nominal_acceleration
        return f"{sampling.pattern}{'' if nominal is None else f'{nominal:g}'}"


def _repeated(name: str, other: str) -> Finding:
    return Finding(
        "repeated-scan",
        Severity.WARNING,
        f"{name} holds the same samples as {other} and was left out",
        "give each scan once: a repeated one would be judged by what it was learned from",
    )


def _of_all(scans: Sequence[SiteScan]) -> Iterator[Finding]:
    acquired = [scan.mask for scan in scans if scan.kind == "withheld"]
    if len(acquired) > 1 and is_one_fixed_lattice(acquired):
        yield Finding(
            "one-fixed-mask",
            Severity.WARNING,
            "all scans share one mask that no frame changes: what it leaves out was never seen, "
            "and nothing can be learned about it",
            "acquire some scans with other lines, or some fully sampled",
        )
    coils = sorted({scan.n_coils for scan in scans})
    if len(coils) > 1:
        yield Finding(
            "other-coils",
            Severity.INFO,
            f"scans have {' and '.join(map(str, coils))} coils",
            "nothing to do: coils are compressed",
        )


def with_names(scans: Sequence[SiteScan]) -> tuple[SiteScan, ...]:
    """Return scans and patients called by their number: no identifier goes into the record."""
    numbers = {patient: n for n, patient in enumerate(sorted({s.patient for s in scans}), 1)}
    return tuple(
        replace(scan, name=f"scan {n}", patient=f"patient {numbers[scan.patient]}")
        for n, scan in enumerate(scans, 1)
    )
