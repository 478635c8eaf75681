"""What decides a reconstruction, and what became of it."""

import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from mrcli.findings import Finding
from mrcli.provenance import recorded_command
from mrcli.tasks.recon_choice import NetworkSettings
from mrcli.tasks.results import ErrorReport, batch_exit_code, count_by_status


@dataclass(frozen=True)
class ReconSettings:
    """All that decides a reconstruction beside its input; None: as the file says."""

    method: str = "auto"
    model: str | None = None  # name or folder; None: the one that comes with this version
    adapter: str = "auto"
    precision: str = "auto"
    mask_path: Path | None = None
    reader: str | None = None
    axes: str | None = None
    writers: tuple[str, ...] = ("nifti",)
    center: str | None = None
    scanner: str | None = None
    protocol: str | None = None
    overwrite: bool = False
    dry_run: bool = False
    shard: tuple[int, int] | None = None  # (K, N), K from 1
    device: str = "auto"
    seed: int = 0
    command: tuple[str, ...] = field(default_factory=lambda: recorded_command(sys.argv[1:]))

    @property
    def network(self) -> NetworkSettings:
        """Return what decides the network, if one is taken."""
        return NetworkSettings(self.model, self.adapter, self.precision, self.device)


@dataclass(frozen=True)
class ReconScan:
    """What became of one scan: done, skipped, planned or failed."""

    path: str  # below the folder that was given
    status: str
    method: str | None = None
    reason: str | None = None
    output: tuple[str, ...] = ()
    consistency_residual: float | None = None
    seconds: float | None = None
    findings: tuple[Finding, ...] = ()
    error: ErrorReport | None = None
    model: Mapping[str, object] | None = None  # of the network: name and hash
    adapter: Mapping[str, object] | None = None  # name of all, hash of each, why these
    precision: str | None = None

    def document(self) -> dict[str, object]:
        """Return the JSON form; classical methods have neither model nor adapter."""
        own = asdict(self) | {"output": list(self.output)}
        own["findings"] = [asdict(finding) for finding in self.findings]
        return own | {"error": None if self.error is None else self.error.document()}


@dataclass(frozen=True)
class ReconResult:
    """All scans of one call."""

    scans: tuple[ReconScan, ...]
    seconds: float

    @property
    def exit_code(self) -> int:
        """Return 0, 8 where some scans failed, and the first one's code where all did."""
        errors = [scan.error for scan in self.scans if scan.error is not None]
        return batch_exit_code(errors, len(self.scans))

    def document(self) -> dict[str, object]:
        """Return the JSON form."""
        totals = count_by_status(self.scans) | {"seconds": self.seconds}
        return {"scans": [scan.document() for scan in self.scans], "totals": totals}
