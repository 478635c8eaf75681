"""Say what k-space files hold and what is wrong with them; one bad file never stops the others."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from mrcli.checks import Examination, OnSlice, examine
from mrcli.errors import DataError, MrcliError, OutputError
from mrcli.findings import Finding, Severity
from mrcli.io.discovery import Candidate, discover
from mrcli.io.preview import preview_of, write_preview
from mrcli.io.registry import all_readers, open_scan
from mrcli.physics.sampling import Sampling
from mrcli.provenance import sha256_of
from mrcli.scan import MaskSource, Scan, ScanHeader
from mrcli.survey import middle_slice
from mrcli.tasks.progress import OnProgress, say_nothing
from mrcli.tasks.results import ErrorReport, batch_exit_code, named_message, report_error


@dataclass(frozen=True)
class InspectSettings:
    """How files are opened, and where pictures go; None: nowhere."""

    mask_path: Path | None = None
    reader: str | None = None
    axes: str | None = None
    preview_dir: Path | None = None


DEFAULT_SETTINGS = InspectSettings()


@dataclass(frozen=True, eq=False)  # tensors have no truth value to compare
class InspectedScan:
    """One file: what it holds, or why it is refused."""

    path: Path
    format: str | None = None
    header: ScanHeader | None = None
    examination: Examination | None = None
    sha256: str | None = None
    error: ErrorReport | None = None
    preview_error: ErrorReport | None = None  # of the picture; the scan is as good as it was

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Return what was noticed, errors first."""
        found = self.examination.findings if self.examination is not None else ()
        order = list(reversed(Severity))
        return tuple(sorted(found, key=lambda finding: order.index(finding.severity)))

    @property
    def status(self) -> str:
        """Return refused, warning or ok."""
        if self.error is not None:
            return "refused"
        has_warning = any(finding.severity is Severity.WARNING for finding in self.findings)
        return "warning" if has_warning else "ok"

    def document(self) -> dict[str, object]:
        """Return the JSON form; what is not known is null."""
        header, examination = self.header, self.examination
        return {
            "path": str(self.path),
            "format": self.format,
            "status": self.status,
            **_facts(header),
            "sampling": None if examination is None else sampling_document(examination),
            "noise_sigma": None if examination is None else examination.noise_sigma,
            "peak": None if examination is None else examination.peak,
            "sha256": self.sha256,
            "findings": [asdict(finding) for finding in self.findings],
            "error": None if self.error is None else self.error.document(),
            "preview_error": self.preview_error and self.preview_error.document(),
        }


@dataclass(frozen=True)
class InspectResult:
    """All scans of one call."""

    scans: tuple[InspectedScan, ...]

    @property
    def exit_code(self) -> int:
        """Return 0, 8 where some scans are refused, and the first one's code where all are.

        A picture that cannot be written is a failure of the output, of no scan.
        """
        errors = [scan.error for scan in self.scans if scan.error is not None]
        has_no_picture = any(scan.preview_error is not None for scan in self.scans)
        batch = batch_exit_code(errors, len(self.scans))
        return batch or (OutputError.exit_code if has_no_picture else 0)

    @property
    def reasons(self) -> tuple[ErrorReport, ...]:
        """Return why scans are refused and pictures are missing, each naming its scan."""
        return tuple(
            replace(error, message=named_message(str(scan.path), error.message))
            for scan in self.scans
            for error in (scan.error, scan.preview_error)
            if error is not None
        )

    def document(self) -> dict[str, object]:
        """Return the JSON form."""
        return {"scans": [scan.document() for scan in self.scans]}


@dataclass(frozen=True)
class ReadersResult:
    """The formats that can be read."""

    exit_code: int = 0

    def document(self) -> dict[str, object]:
        """Return name, description and needs of each; no scan was looked at."""
        return {
            "scans": [],
            "readers": [
                {"name": reader.name, "describes": reader.describes, "needs": reader.needs}
                for reader in all_readers()
            ],
        }


def inspect_paths(
    paths: Sequence[Path],
    settings: InspectSettings = DEFAULT_SETTINGS,
    on_progress: OnProgress = say_nothing,
) -> InspectResult:
    """Examine every scan below `paths`; raises `InputError` where there is none.

    Every slice is read once. A scan that cannot be used is listed with the reason.
    """
    candidates = discover(paths)
    return InspectResult(
        tuple(
            _inspect(
                candidate,
                settings,
                partial(on_progress, index, len(candidates), str(candidate.relative)),
            )
            for index, candidate in enumerate(candidates)
        )
    )


def _inspect(candidate: Candidate, settings: InspectSettings, on_slice: OnSlice) -> InspectedScan:
    found = InspectedScan(candidate.path)
    try:
        scan = open_scan(
            candidate.path,
            reader=settings.reader,
            mask_path=settings.mask_path,
            axes=settings.axes,
        )
        found = replace(found, format=scan.format, header=scan.header)
        found = replace(found, sha256=sha256_of(candidate.path))
        found = replace(found, examination=examine(scan, on_slice))
        found = replace(found, error=_error_of(found))
        if settings.preview_dir is not None and found.error is None:
            place = settings.preview_dir / candidate.relative
            found = replace(found, preview_error=_write_preview(scan, found, place))
    except MrcliError as error:
        return replace(found, error=report_error(error, str(candidate.path)))
    return found


def _error_of(scan: InspectedScan) -> ErrorReport | None:
    """Turn the first finding that makes a scan unusable into its error."""
    for finding in scan.findings:
        if finding.severity is Severity.ERROR:
            refusal = DataError(f"{scan.path.name}: {finding.message}", hint=finding.remedy)
            return report_error(refusal, str(scan.path))
    return None


def _write_preview(scan: Scan, found: InspectedScan, place: Path) -> ErrorReport | None:
    """Write the picture and return None, or the reason why it cannot be written."""
    if found.examination is None:
        return None
    middle = scan.header.n_slices // 2
    preview = preview_of(scan.slice_kspace(middle), middle_slice(found.examination.mask))
    title = f"{scan.path.name}, slice {middle} of {scan.header.n_slices}"
    png = place.with_name(f"{place.name}.png")
    try:
        write_preview(png, preview, title, scan.header.voxel_size_mm)
    except OutputError as error:
        return report_error(error, str(png))
    return None


def _facts(header: ScanHeader | None) -> dict[str, object]:
    """Return what the header says; every key is there, header or not."""
    return {
        "n_frames": header and header.n_frames,
        "n_slices": header and header.n_slices,
        "n_coils": header and header.n_coils,
        "matrix": header and list(header.matrix),
        "dtype": header and header.dtype,
        "site": header and asdict(header.site),
        "protocol": header and header.protocol,
        "voxel_size_mm": header and header.voxel_size_mm and list(header.voxel_size_mm),
    }


def sampling_document(examination: Examination) -> dict[str, object]:
    """Return the JSON form of the sampling that was found."""
    sampling = examination.sampling
    return {
        "pattern": str(sampling.pattern),
        "nominal_acceleration": sampling.nominal_acceleration,
        "true_acceleration": sampling.true_acceleration,
        "acs": _acs_document(sampling),
        "is_partial_fourier": sampling.is_partial_fourier,
        "is_inferred": examination.mask_source is MaskSource.ZEROS,
        "mask_source": str(examination.mask_source),
    }


def _acs_document(sampling: Sampling) -> dict[str, object] | None:
    acs = sampling.acs
    if acs is None:
        return None
    return {"y": list(acs.y), "x": None if acs.x is None else list(acs.x)}
