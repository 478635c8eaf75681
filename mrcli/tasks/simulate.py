"""Write a simulated study: scans of several sites with known truth, in real containers.

A scan is complete or absent: its files grow in a folder of their own and take their names when all
are whole, k-space last. Finished scans are known by the manifest and skipped the next time.
"""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from hashlib import sha256
from math import prod
from pathlib import Path

from mrcli.device import choose_device
from mrcli.errors import InputError, MrcliError
from mrcli.io.lock import output_lock
from mrcli.io.manifest import MANIFEST_NAME, ManifestEntry, append_entry, is_done, read_manifest
from mrcli.io.recon_files import require_free
from mrcli.io.staging import publish, remove_files, remove_leftovers, staging_folder
from mrcli.memory import return_freed_memory
from mrcli.physics.pattern_names import draw_mask, parse_pattern
from mrcli.provenance import NUMERICS_VERSION, program_version, sha256_of, sha256_of_json
from mrcli.simulate.scans import ScanPlan, plan_scan, wanted_lines
from mrcli.tasks.progress import OnProgress, say_nothing
from mrcli.tasks.results import report_error
from mrcli.tasks.simulate_files import STUDY_WRITERS, OnSlice, ScanFiles, StudyWriter, write_record
from mrcli.tasks.simulate_plan import StudyScan, plan_study
from mrcli.tasks.simulate_result import SimulatedScan, SimulateResult, SimulateSettings
from mrcli.types import SamplingMask

_N_BYTES = 8  # of a complex sample

Masks = dict[str, SamplingMask]


def simulate_study(
    out_dir: Path, settings: SimulateSettings, on_progress: OnProgress = say_nothing
) -> SimulateResult:
    """Write the scans of a study below `out_dir`.

    A scan that fails does not stop the others. Raises `InputError` for a site, protocol, pattern,
    container or file that is not there, `LockedError` where another run owns the folder.
    """
    start = time.perf_counter()
    settings = replace(settings, device=choose_device(settings.device))
    for text in settings.patterns:
        parse_pattern(text)
    run = _Run(out_dir, settings, _writers_named(settings.writers))
    study = plan_study(settings)
    if settings.dry_run:
        return SimulateResult(tuple(map(run.plan, study)), time.perf_counter() - start)
    with output_lock(out_dir):
        remove_leftovers(out_dir)
        manifest = read_manifest(out_dir / MANIFEST_NAME)
        scans = [
            run.do(scan, manifest, partial(on_progress, index, len(study), scan.place))
            for index, scan in enumerate(study)
        ]
    return SimulateResult(tuple(scans), time.perf_counter() - start)


def _writers_named(names: tuple[str, ...]) -> tuple[StudyWriter, ...]:
    unknown = next((name for name in names if name not in STUDY_WRITERS), None)
    if unknown is not None or not names:
        raise InputError(
            f"no container is called {unknown!r}", hint=f"known are {', '.join(STUDY_WRITERS)}"
        )
    return tuple(STUDY_WRITERS[name] for name in dict.fromkeys(names))


@dataclass(frozen=True)
class _Run:
    """One call: where to write, what, and how."""

    out_dir: Path
    settings: SimulateSettings
    writers: tuple[StudyWriter, ...]

    def plan(self, scan: StudyScan) -> SimulatedScan:
        """Say what a scan would be."""
        answer = _answer(scan, "planned")
        try:
            plan = plan_scan(scan.recipe, scan.images)
            answer = _described(answer, ScanFiles(self.out_dir, scan, plan, self._masks(plan)))
        except MrcliError as error:
            return replace(answer, status="failed", error=report_error(error, answer.path))
        # zeros take space in most containers
        n_copies = (1 + len(answer.true_accelerations)) * len(self.writers)
        return replace(answer, n_bytes=n_copies * _N_BYTES * prod(answer.shape))

    def do(
        self, scan: StudyScan, manifest: Mapping[str, ManifestEntry], on_slice: OnSlice
    ) -> SimulatedScan:
        """Do one scan; a failure is part of the answer."""
        answer = _answer(scan, "done")
        entry = ManifestEntry(
            answer.path, _hash_of_recipe(scan), self._hash_of_options(), "done", {}
        )
        known = manifest.get(answer.path)
        hashes = entry.input_sha256, entry.options_sha256
        try:
            if not self.settings.overwrite and is_done(known, self.out_dir, *hashes):
                return replace(answer, status="skipped")
            return self._do(scan, answer, entry, on_slice)
        except MrcliError as error:
            return replace(answer, status="failed", error=report_error(error, answer.path))

    def _do(
        self, scan: StudyScan, answer: SimulatedScan, entry: ManifestEntry, on_slice: OnSlice
    ) -> SimulatedScan:
        start = time.perf_counter()
        plan = plan_scan(scan.recipe, scan.images)
        with staging_folder(self.out_dir) as stage:
            files = ScanFiles(stage, scan, plan, self._masks(plan))
            answer = _described(answer, files)
            names = [files.write_full(self.settings.device, on_slice)]
            resume = [entry.input_sha256, entry.options_sha256]
            names.append(write_record(files, answer.true_accelerations, resume))
            for write in self.writers:
                written, findings = write(files)
                names += written
                answer = replace(answer, findings=(*answer.findings, *findings))
            if not self.settings.overwrite:
                require_free(self.out_dir, names)
            entry = replace(entry, outputs={name: sha256_of(stage / name) for name in names})
            n_bytes = sum((stage / name).stat().st_size for name in names)
            publish(stage, self.out_dir, names)
        self._record(entry)
        return_freed_memory()
        seconds = time.perf_counter() - start
        return replace(answer, output=tuple(names), n_bytes=n_bytes, seconds=seconds)

    def _record(self, entry: ManifestEntry) -> None:
        try:
            append_entry(self.out_dir / MANIFEST_NAME, entry)
        except BaseException:  # an interrupt too: what is not recorded is not done
            remove_files(self.out_dir, list(entry.outputs))
            raise

    def _masks(self, plan: ScanPlan) -> Masks:
        """Return the masks by pattern: those asked for, else those of the site."""
        names = self.settings.patterns or plan.recipe.site.patterns
        return {text: _mask(plan, *parse_pattern(text)) for text in names}

    def _hash_of_options(self) -> str:
        decisive = {
            "numerics_version": NUMERICS_VERSION,
            "version": program_version(),
            "patterns": self.settings.patterns,
            "writers": self.settings.writers,
        }
        return sha256_of_json(decisive)


def _answer(scan: StudyScan, status: str) -> SimulatedScan:
    recipe = scan.recipe
    path = f"{recipe.protocol.modality}/{scan.set_name}/{scan.place}/{recipe.protocol.contrast}"
    return SimulatedScan(path, status, recipe.site.name, recipe.protocol.contrast)


def _described(answer: SimulatedScan, files: ScanFiles) -> SimulatedScan:
    accelerations = {name: _true_acceleration(mask) for name, mask in files.masks.items()}
    return replace(answer, shape=files.shape, true_accelerations=accelerations)


def _mask(plan: ScanPlan, name: str, acceleration: int) -> SamplingMask:
    sizes = plan.sizes
    seed = plan.recipe.random(f"mask {name}{acceleration}").initial_seed()
    mask = draw_mask(name, acceleration, n_frames=sizes.n_frames, matrix=sizes.matrix, seed=seed)
    return mask & wanted_lines(plan)[:, None]


def _hash_of_recipe(scan: StudyScan) -> str:
    images = None if scan.images is None else sha256(scan.images.numpy().tobytes()).hexdigest()
    facts = asdict(scan.recipe)
    facts["site"]["anatomy"] = None  # the images count, not where they lie
    return sha256_of_json([facts, images])


def _true_acceleration(mask: SamplingMask) -> float:
    return mask.numel() / int(mask.sum())
