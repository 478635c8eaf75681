"""What decides a simulated study, and what became of it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from mrcli.findings import Finding
from mrcli.simulate.recipes import Cohort, Reduction
from mrcli.simulate.site_file import BUILT_IN
from mrcli.tasks.results import ErrorReport, batch_exit_code, count_by_status


@dataclass(frozen=True)
class SimulateSettings:
    """All that decides a study; empty names mean all."""

    n_scans: int = 8
    sites: tuple[str, ...] = ()
    site_file: Path = BUILT_IN
    protocols: tuple[str, ...] = ()  # contrasts or modalities
    view: str | None = None  # None: drawn from those of the protocol
    patterns: tuple[str, ...] = ()  # empty: those of each site
    writers: tuple[str, ...] = ("cmrxrecon",)
    anatomy_path: Path | None = None
    cohort: Cohort = Cohort.TRAIN
    reduction: Reduction = field(default_factory=lambda: Reduction(max_slices=1))
    seed: int = 0
    device: str = "auto"
    overwrite: bool = False
    dry_run: bool = False


@dataclass(frozen=True)
class SimulatedScan:
    """What became of one scan: done, skipped, planned or failed."""

    path: str  # of the scan below the modality, without suffix
    status: str
    site: str
    protocol: str
    shape: tuple[int, ...] = ()  # (frame, slice, coil, y, x)
    true_accelerations: Mapping[str, float] = field(default_factory=dict)
    output: tuple[str, ...] = ()
    n_bytes: int = 0
    seconds: float | None = None
    findings: tuple[Finding, ...] = ()
    error: ErrorReport | None = None

    def document(self) -> dict[str, object]:
        """Return the JSON form."""
        own = asdict(self) | {"output": list(self.output), "shape": list(self.shape)}
        own["findings"] = [asdict(finding) for finding in self.findings]
        return own | {"error": None if self.error is None else self.error.document()}


@dataclass(frozen=True)
class SimulateResult:
    """All scans of one call."""

    scans: tuple[SimulatedScan, ...]
    seconds: float

    @property
    def exit_code(self) -> int:
        """Return 0, 8 where some scans failed, and the first one's code where all did."""
        errors = [scan.error for scan in self.scans if scan.error is not None]
        return batch_exit_code(errors, len(self.scans))

    def document(self) -> dict[str, object]:
        """Return the JSON form."""
        n_bytes = sum(scan.n_bytes for scan in self.scans)
        totals = count_by_status(self.scans) | {"n_bytes": n_bytes, "seconds": self.seconds}
        return {
            "is_simulated": True,
            "scans": [scan.document() for scan in self.scans],
            "totals": totals,
        }
