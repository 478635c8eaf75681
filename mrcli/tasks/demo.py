"""The whole line on a simulated heart: make a study, inspect it, reconstruct it, score it."""

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from textwrap import wrap

import numpy as np

from mrcli.errors import OutputError
from mrcli.io.atomic import write_text_atomically
from mrcli.io.image_files import read_image
from mrcli.io.montage import Series, write_montage
from mrcli.methods import METHODS
from mrcli.models.store import list_models
from mrcli.network_method import INCONSISTENT
from mrcli.report.rows import Row
from mrcli.tasks.demo_study import PATTERNS, SPEC, DemoFolders, write_study
from mrcli.tasks.inspect import InspectResult, InspectSettings, inspect_paths
from mrcli.tasks.progress import OnProgress, say_nothing
from mrcli.tasks.recon import recon_paths
from mrcli.tasks.recon_choice import NETWORK, NO_MODEL
from mrcli.tasks.recon_result import ReconResult, ReconSettings
from mrcli.tasks.report import ReportResult, report_folder
from mrcli.tasks.results import TaskResult
from mrcli.tasks.simulate_result import SimulatedScan

_ROW_SHARE = 0.5  # of the height: a line through the heart
_SHOWN_SLICE = 0
_MARKER = ".mrcli-demo"


@dataclass(frozen=True)
class DemoResult:
    """What was done, in plain words and as data."""

    lines: tuple[str, ...]
    facts: Mapping[str, object]
    exit_code: int

    def document(self) -> dict[str, object]:
        """Return the JSON form."""
        return {**self.facts, "lines": list(self.lines)}


def run_demo(
    out_dir: Path, *, device: str = "auto", seed: int = 0, on_progress: OnProgress = say_nothing
) -> DemoResult:
    """Write a study, previews, images by all methods, a report and pictures below `out_dir`.

    The network is among them where a model is installed, and where not, the reason is told.

    Files of an earlier demo are replaced. Raises `OutputError` where the folder is not writable, or
    holds files that are not from a demo.
    """
    start = time.perf_counter()
    _own(out_dir)
    folders = DemoFolders(out_dir)
    simulated = write_study(folders, replace(SPEC, seed=seed))
    previews = InspectSettings(preview_dir=out_dir / "previews")
    inspected = inspect_paths([folders.undersampled], previews, on_progress)
    methods, absence = demo_methods()
    recons: dict[str, ReconResult] = {
        method: recon_paths(
            [folders.undersampled],
            folders.images / method,
            ReconSettings(method=method, device=device, seed=seed, overwrite=True),
            on_progress,
        )
        for method in methods
    }
    clean = report_folder(folders.images, reference=folders.truth, csv_path=out_dir / "report.csv")
    challenge = report_folder(folders.images, reference=folders.full, metrics=("cmrxrecon2025",))
    pictures = tuple(_draw(folders, pattern, methods) for pattern in PATTERNS)
    facts = {"clean": clean.document(), "cmrxrecon2025": challenge.document()}
    text = json.dumps(facts, indent=2, default=str) + "\n"
    write_text_atomically(out_dir / "report.json", text, overwrite=True)
    seconds = time.perf_counter() - start
    lines = (
        *_tell_study(folders, simulated),
        *_tell_inspection(inspected),
        *_tell_methods(recons, absence),
        *_tell_scores(clean, challenge),
        *_tell_pictures(out_dir, pictures, seconds),
    )
    results: tuple[TaskResult, ...] = (inspected, *recons.values(), clean, challenge)
    codes = [result.exit_code for result in results]
    return DemoResult(lines, facts | {"seconds": seconds}, max(codes))


def demo_methods() -> tuple[tuple[str, ...], str | None]:
    """Return the methods that are shown, and why the network is not among them, if it is not."""
    if list_models():
        return (*METHODS, NETWORK), None
    return tuple(METHODS), NO_MODEL


def _own(out_dir: Path) -> None:
    marker = out_dir / _MARKER
    if out_dir.is_dir() and any(out_dir.iterdir()) and not marker.exists():
        raise OutputError(
            f"{out_dir.name}: holds files that are not from a demo", hint="choose a new folder"
        )
    write_text_atomically(marker, "made by mrcli demo, which may replace it\n", overwrite=True)


def _draw(folders: DemoFolders, pattern: str, methods: Sequence[str]) -> Path:
    truth = _shown(folders.truth_image)
    series = {method: _shown(folders.image(method, pattern)) for method in methods}
    picture = folders.out / f"{pattern}.png"
    row = round(_ROW_SHARE * truth.shape[1])
    write_montage(picture, truth, series, f"simulated heart, {pattern}", row)
    return picture


def _shown(path: Path) -> Series:
    """Return one slice the way it is looked at: front up, without the oversampled margins."""
    image = read_image(path).magnitude[:, _SHOWN_SLICE]
    n_x = image.shape[-1]
    return np.ascontiguousarray(image[..., n_x // 4 : n_x - n_x // 4].swapaxes(-1, -2))


def _tell_study(folders: DemoFolders, scan: SimulatedScan) -> Iterator[str]:
    n_frames, n_slices, n_coils, n_y, n_x = scan.shape
    yield "1. A simulated beating heart in a thorax was measured, as a scanner would."
    yield (
        f"   {n_frames} frames, {n_slices} slices, {n_coils} coils, {n_y} x {n_x}; "
        "undersampled two ways, with noise."
    )
    yield f"   The scans: {folders.undersampled}"


def _tell_inspection(inspected: InspectResult) -> Iterator[str]:
    yield ""
    yield "2. inspect looked at each scan:"
    for scan in inspected.scans:
        if scan.examination is None or scan.error is not None:
            yield f"   {scan.path.name}: {scan.status}"
            continue
        found = scan.examination.sampling
        nominal = "?" if found.nominal_acceleration is None else f"{found.nominal_acceleration:g}"
        yield f"   {scan.path.name}: {scan.status}"
        yield f"     {found.pattern}, R {nominal}, truly {found.true_acceleration:.1f}"
        yield from _wrapped(f"{one.severity}: {one.message}" for one in scan.findings)


def _tell_methods(recons: Mapping[str, ReconResult], absence: str | None) -> Iterator[str]:
    yield ""
    yield f"3. recon made images of both, {len(recons)} ways:"
    for method, result in recons.items():
        n_done = sum(scan.status == "done" for scan in result.scans)
        yield f"   {method:<12} {n_done} of {len(result.scans)} scans in {result.seconds:.1f} s"
    if absence is not None:
        yield f"   {NETWORK:<12} left out: {absence}"
    yield from _wrapped(_network_words(recons))


def _network_words(recons: Mapping[str, ReconResult]) -> Iterator[str]:
    """Yield once what decided the network, and whatever it is to be doubted for."""
    scans = recons[NETWORK].scans if NETWORK in recons else ()
    yield from dict.fromkeys(f"{NETWORK}: {scan.reason}" for scan in scans if scan.reason)
    for scan in scans:
        yield from (one.message for one in scan.findings if one.code == INCONSISTENT)


def _wrapped(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        yield from wrap(text, width=80, initial_indent="     ", subsequent_indent="       ")


def _tell_scores(clean: ReportResult, challenge: ReportResult) -> Iterator[str]:
    yield ""
    yield "4. report compared them with what is known. PSNR in dB, SSIM; more is better:"
    yield f"   {'':<24}{'against the truth':>20}{'as challenges score':>22}"
    as_scored = {row.path: row for row in challenge.scored.rows}
    for row in sorted(clean.scored.rows, key=lambda row: (row.conditions.pattern or "", row.path)):
        name = f"{row.conditions.pattern} {row.conditions.method}"
        yield f"   {name:<24}{_score(row):>20}{_score(as_scored.get(row.path)):>22}"
    yield "   Left: metric set clean, the noiseless truth of the simulation. Right: metric"
    yield "   set cmrxrecon2025, root sum of squares of the noisy full sampling."


def _score(row: Row | None) -> str:
    if row is None:
        return ""
    return f"{row.scores.volume.psnr_db:.1f}  {row.scores.volume.ssim:.3f}"


def _tell_pictures(out_dir: Path, pictures: tuple[Path, ...], seconds: float) -> Iterator[str]:
    yield ""
    yield "5. Look at it:"
    yield from (f"   {picture}" for picture in pictures)
    yield f"   {out_dir / 'images'}   NIfTI images, each with a record of how it was made"
    yield f"   {out_dir / 'previews'}   what inspect saw"
    yield f"   {out_dir / 'report.csv'}, {out_dir / 'report.json'}   all numbers"
    yield ""
    yield f"Done in {seconds:.0f} s. All of this is simulated: it shows how the methods compare,"
    yield "not how well they do on patients. For research use, not for diagnosis."
