"""Reconstruct scans: images, a sidecar and a manifest line each, or the reason why not.

A scan that fails never stops the others and leaves nothing half-written behind. Finished scans are
known by the hashes in the manifest and skipped the next time.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Complex64

from mrcli.checks import Examination, examine
from mrcli.device import choose_device
from mrcli.errors import DataError, MrcliError, ResourceError
from mrcli.findings import Severity
from mrcli.image import ReconVolume
from mrcli.io.image_files import Writer, writers_named
from mrcli.io.lock import output_lock
from mrcli.io.manifest import MANIFEST_NAME, ManifestEntry, append_entry, is_done, read_manifest
from mrcli.io.recon_files import (
    is_made_by,
    output_names,
    require_free,
    write_reconstruction,
)
from mrcli.io.registry import open_scan
from mrcli.io.staging import remove_files, remove_leftovers
from mrcli.memory import return_freed_memory
from mrcli.pipeline import Calibration, ReconSlice, calibrate, reconstruct
from mrcli.provenance import (
    NUMERICS_VERSION,
    InputFacts,
    Provenance,
    input_facts,
    peak_memory_bytes,
    sha256_of,
    sha256_of_json,
)
from mrcli.scan import Scan, ScanMask
from mrcli.tasks.inspect import sampling_document
from mrcli.tasks.progress import OnProgress, say_nothing
from mrcli.tasks.recon_plan import Job, plan_jobs
from mrcli.tasks.recon_result import ReconResult, ReconScan, ReconSettings
from mrcli.tasks.results import report_error

OnSlice = Callable[[int, int], None]


def recon_paths(
    paths: Sequence[Path],
    out_dir: Path,
    settings: ReconSettings,
    on_progress: OnProgress = say_nothing,
) -> ReconResult:
    """Reconstruct every scan below `paths` into `out_dir`, which mirrors the input tree.

    Raises `InputError` where there is no scan, `LockedError` where another run owns the folder,
    `ResourceError` where the device is not there.
    """
    start = time.perf_counter()
    settings = replace(settings, device=choose_device(settings.device))
    jobs = plan_jobs(paths, settings.shard)
    share = "" if settings.shard is None else f"{settings.shard[0]}-of-{settings.shard[1]}"
    with nullcontext() if settings.dry_run else output_lock(out_dir, share):
        if settings.shard is None and not settings.dry_run:
            remove_leftovers(out_dir)
        manifest = read_manifest(out_dir / MANIFEST_NAME)
        run = _Run(out_dir, settings, writers_named(settings.writers), manifest)
        scans = [
            run.do(job, partial(on_progress, index, len(jobs), job.name))
            for index, job in enumerate(jobs)
        ]
    return ReconResult(tuple(scans), time.perf_counter() - start)


def choose_method(method: str) -> tuple[str, str]:
    """Return the method to take and why."""
    if method == "auto":
        return "sense", "auto: no network comes with this version, so sense"
    return method, "asked for"


@dataclass(frozen=True)
class _Run:
    """One call: where to write, how, and what is finished already."""

    out_dir: Path
    settings: ReconSettings
    writers: tuple[Writer, ...]
    manifest: Mapping[str, ManifestEntry]

    def do(self, job: Job, on_slice: OnSlice) -> ReconScan:
        """Do one scan; a failure is part of the answer."""
        try:
            with _memory_errors_named(job.name):
                return self._do(job, on_slice)
        except MrcliError as error:
            return ReconScan(job.name, "failed", error=report_error(error, str(job.path)))

    def _do(self, job: Job, on_slice: OnSlice) -> ReconScan:
        names = output_names(job.stem, self.writers)
        method, reason = choose_method(self.settings.method)
        answer = ReconScan(job.name, "planned", method, reason, names)
        scan = _open(job.path, self.settings)
        facts = input_facts(scan.path)
        entry = ManifestEntry(
            job.name, _hash_of_inputs(scan, facts), _hash_of_options(self.settings), "done", {}
        )
        hashes = entry.input_sha256, entry.options_sha256
        if not self.settings.overwrite:
            known = self.manifest.get(job.name)
            if is_done(known, self.out_dir, *hashes):
                return replace(answer, status="skipped")
            if known is not None or not is_made_by(self.out_dir, names, *hashes):
                require_free(self.out_dir, names)
        if self.settings.dry_run:
            return replace(answer, findings=scan.findings)
        work = _Work(job, scan, facts, entry)
        return self._reconstruct(work, replace(answer, status="done"), on_slice)

    def _reconstruct(self, work: "_Work", answer: ReconScan, on_slice: OnSlice) -> ReconScan:
        start, scan = time.perf_counter(), work.scan
        examination = examine(scan)
        _require_usable(examination)
        return_freed_memory()
        calibration = calibrate(scan, examination.noise_sigma)
        image, slices = _image_of(
            scan, examination.mask, calibration, answer.method or "", self.settings.device, on_slice
        )
        answer = replace(
            answer,
            consistency_residual=_largest_residual(slices),
            findings=(
                *examination.findings,
                *calibration.findings,
                *(finding for one in slices for finding in one.findings),
            ),
            seconds=time.perf_counter() - start,
        )
        record = _sidecar(work, examination, calibration, answer, self.settings)
        record["resume"] = {
            "input_sha256": work.entry.input_sha256,
            "options_sha256": work.entry.options_sha256,
        }
        volume = ReconVolume(image, scan.header.voxel_size_mm, scan.header.affine)
        outputs = write_reconstruction(self.out_dir, work.job.stem, self.writers, volume, record)
        self._record(replace(work.entry, outputs=outputs))
        return answer

    def _record(self, entry: ManifestEntry) -> None:
        try:
            append_entry(self.out_dir / MANIFEST_NAME, entry)
        except BaseException:  # an interrupt too: what is not recorded is not done
            remove_files(self.out_dir, list(entry.outputs))
            raise


@dataclass(frozen=True, eq=False)  # a scan may hold tensors
class _Work:
    """A scan that has to be done: its input is hashed once, for sidecar and manifest."""

    job: Job
    scan: Scan
    facts: InputFacts
    entry: ManifestEntry


def _open(path: Path, settings: ReconSettings) -> Scan:
    """Open the scan; what the user says of the site goes before what the file says."""
    scan = open_scan(path, reader=settings.reader, mask_path=settings.mask_path, axes=settings.axes)
    own = scan.header.site
    site = replace(
        own, center=settings.center or own.center, scanner=settings.scanner or own.scanner
    )
    protocol = settings.protocol or scan.header.protocol
    return replace(scan, header=replace(scan.header, site=site, protocol=protocol))


def _hash_of_inputs(scan: Scan, facts: InputFacts) -> str:
    """Return the hash of the scan's file, or of all files where there are others beside it."""
    if not scan.beside:
        return facts.sha256
    return sha256_of_json([facts.sha256, *map(sha256_of, scan.beside)])


def _hash_of_options(settings: ReconSettings) -> str:
    """Return the hash of all that decides the files beside the input; not where it computes."""
    decisive = {
        "numerics_version": NUMERICS_VERSION,
        "method": choose_method(settings.method)[0],
        "mask_sha256": settings.mask_path and sha256_of(settings.mask_path),
        "reader": settings.reader,
        "axes": settings.axes,
        "writers": settings.writers,
        "site": [settings.center, settings.scanner, settings.protocol],
    }
    return sha256_of_json(decisive)


def _require_usable(examination: Examination) -> None:
    for finding in examination.findings:
        if finding.severity is Severity.ERROR:
            raise DataError(finding.message, hint=finding.remedy)


def _image_of(
    scan: Scan,
    mask: ScanMask,
    calibration: Calibration,
    method: str,
    device: str,
    on_slice: OnSlice,
) -> tuple[Complex64[np.ndarray, "frame slice y x"], list[ReconSlice]]:
    header = scan.header
    image = np.empty((header.n_frames, header.n_slices, *header.matrix), np.complex64)
    slices: list[ReconSlice] = []
    for one in reconstruct(scan, mask, calibration, method, device=device):
        image[:, one.index] = one.image.cpu().numpy()
        slices.append(replace(one, image=one.image[:0]))  # keep the facts, not the pixels twice
        return_freed_memory()
        on_slice(len(slices), header.n_slices)
    return image, slices


def _largest_residual(slices: Sequence[ReconSlice]) -> float | None:
    known = [s.consistency_residual for s in slices if s.consistency_residual is not None]
    return max(known, default=None)


def _sidecar(
    work: _Work,
    examination: Examination,
    calibration: Calibration,
    answer: ReconScan,
    settings: ReconSettings,
) -> dict[str, object]:
    scan = work.scan
    header = scan.header
    provenance = Provenance(
        command=settings.command,
        input=work.facts,
        method=answer.method or "",
        reason=answer.reason or "",
        device=settings.device,
        precision="fp32",
        seed=settings.seed,
        sampling=sampling_document(examination),
        noise={
            "sigma": calibration.noise_sigma,
            "source": "noise scan" if calibration.whitening is not None else "edges of k-space",
            "is_whitened": calibration.whitening is not None and not calibration.findings,
        },
        consistency_residual=answer.consistency_residual,
        findings=answer.findings,
        seconds=answer.seconds or 0.0,
        peak_memory_bytes=peak_memory_bytes(),
        geometry_source="unknown" if header.affine is None else f"header of {scan.format}",
    )
    facts = {"site": asdict(header.site), "protocol": header.protocol, "format": scan.format}
    return provenance.document() | facts


@contextmanager
def _memory_errors_named(name: str) -> Iterator[None]:
    """Turn every way of running out of memory into one error; anything else passes."""
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise _out_of_memory(name) from error
    except RuntimeError as error:
        if "allocate memory" not in str(error):
            raise
        raise _out_of_memory(name) from error


def _out_of_memory(name: str) -> ResourceError:
    return ResourceError(
        f"{name}: not enough memory for one slice of this scan",
        hint="close other programs, or use a machine with more memory",
    )
