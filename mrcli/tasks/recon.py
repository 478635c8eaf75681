"""Reconstruct scans: images, a sidecar and a manifest line each, or the reason why not.

A scan that fails never stops the others and leaves nothing half-written behind. Finished scans are
known by the hashes in the manifest and skipped the next time.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from mrcli.device import choose_device
from mrcli.errors import MrcliError, ResourceError
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
from mrcli.provenance import (
    NUMERICS_VERSION,
    InputFacts,
    input_facts,
    sha256_of,
    sha256_of_json,
)
from mrcli.scan import Scan
from mrcli.tasks.progress import OnProgress, say_nothing
from mrcli.tasks.recon_choice import Choice, Chooser, open_chooser
from mrcli.tasks.recon_plan import Job, plan_jobs
from mrcli.tasks.recon_record import sidecar
from mrcli.tasks.recon_result import ReconResult, ReconScan, ReconSettings
from mrcli.tasks.recon_scan import Done, reconstruct_scan
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
    `ResourceError` where the device is not there, `ModelError` where the model or the adapter is
    refused.
    """
    start = time.perf_counter()
    settings = replace(settings, device=choose_device(settings.device))
    jobs = plan_jobs(paths, settings.shard)
    chooser = open_chooser(settings.method, settings.network)
    share = "" if settings.shard is None else f"{settings.shard[0]}-of-{settings.shard[1]}"
    with nullcontext() if settings.dry_run else output_lock(out_dir, share):
        if settings.shard is None and not settings.dry_run:
            remove_leftovers(out_dir)
        manifest = read_manifest(out_dir / MANIFEST_NAME)
        run = _Run(out_dir, settings, writers_named(settings.writers), manifest, chooser)
        scans = [
            run.do(job, partial(on_progress, index, len(jobs), job.name))
            for index, job in enumerate(jobs)
        ]
    return ReconResult(tuple(scans), time.perf_counter() - start)


@dataclass(frozen=True, eq=False)  # networks have no truth value to compare
class _Run:
    """One call: where to write, how, and what is finished already."""

    out_dir: Path
    settings: ReconSettings
    writers: tuple[Writer, ...]
    manifest: Mapping[str, ManifestEntry]
    chooser: Chooser

    def do(self, job: Job, on_slice: OnSlice) -> ReconScan:
        """Do one scan; a failure is part of the answer."""
        try:
            with _memory_errors_named(job.name):
                return self._do(job, on_slice)
        except MrcliError as error:
            return ReconScan(job.name, "failed", error=report_error(error, str(job.path)))

    def _do(self, job: Job, on_slice: OnSlice) -> ReconScan:
        scan = _open(job.path, self.settings)
        choice = self.chooser.choose(scan.header)
        names = output_names(job.stem, self.writers)
        answer = planned(job.name, choice, names)
        facts = input_facts(scan.path)
        inputs, options = _hash_of_inputs(scan, facts), _hash_of_options(self.settings, choice)
        if self._is_finished(job.name, names, (inputs, options)):
            return as_recorded(answer, self.out_dir / names[-1])
        if self.settings.dry_run:
            return replace(answer, findings=scan.findings)
        entry = ManifestEntry(job.name, inputs, options, "done", {})
        return self._reconstruct(_Work(job, scan, facts, entry), choice, on_slice)

    def _is_finished(self, name: str, files: Sequence[str], hashes: tuple[str, str]) -> bool:
        """Say whether a scan need not be done; raises `OutputError` where other files are there."""
        if self.settings.overwrite:
            return False
        known = self.manifest.get(name)
        if is_done(known, self.out_dir, *hashes):
            return True
        if known is not None or not is_made_by(self.out_dir, files, *hashes):
            require_free(self.out_dir, files)
        return False

    def _reconstruct(self, work: "_Work", choice: Choice, on_slice: OnSlice) -> ReconScan:
        done = reconstruct_scan(work.scan, choice, self.settings.device, on_slice)
        names = output_names(work.job.stem, self.writers)
        answer = finished(planned(work.job.name, done.choice, names), done)
        record = sidecar(work.scan, work.facts, done, self.settings)
        record["resume"] = {
            "input_sha256": work.entry.input_sha256,
            "options_sha256": work.entry.options_sha256,
        }
        outputs = write_reconstruction(
            self.out_dir, work.job.stem, self.writers, done.volume, record
        )
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


def planned(name: str, choice: Choice, outputs: tuple[str, ...]) -> ReconScan:
    """Return what is known of a scan before it is reconstructed."""
    return ReconScan(
        name,
        "planned",
        choice.method,
        choice.reason,
        outputs,
        model=choice.model_document,
        adapter=choice.adapter_document,
        precision=choice.precision,
    )


def as_recorded(answer: ReconScan, record_path: Path) -> ReconScan:
    """Return the answer of a finished scan: what its record says, not what would be done now."""
    record = json.loads(record_path.read_text(encoding="utf-8"))
    known = ("method", "reason", "model", "adapter", "precision")
    own = {name: record[name] for name in known if name in record}
    return replace(answer, status="skipped", **own)


def finished(answer: ReconScan, done: Done) -> ReconScan:
    """Return the answer with what came out."""
    return replace(
        answer,
        status="done",
        consistency_residual=done.consistency_residual,
        findings=done.findings,
        seconds=done.seconds,
    )


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


def _hash_of_options(settings: ReconSettings, choice: Choice) -> str:
    """Return the hash of all that decides the files beside the input; not where it computes."""
    decisive = {
        "numerics_version": NUMERICS_VERSION,
        "method": choice.method,
        "mask_sha256": settings.mask_path and sha256_of(settings.mask_path),
        "reader": settings.reader,
        "axes": settings.axes,
        "writers": settings.writers,
        "site": [settings.center, settings.scanner, settings.protocol],
    }
    return sha256_of_json(decisive | choice.decisive())


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
