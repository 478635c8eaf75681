"""The study of the demo: one simulated heart, fully sampled and undersampled two ways, on disk."""

from dataclasses import dataclass
from pathlib import Path

from mrcli.errors import OutputError
from mrcli.simulate.recipes import Reduction
from mrcli.tasks.simulate import simulate_study
from mrcli.tasks.simulate_files import TASK
from mrcli.tasks.simulate_result import SimulatedScan, SimulateSettings

PATTERNS = ("Uniform8", "ktGaussian8")
SPEC = SimulateSettings(
    n_scans=1,
    sites=("Center101/umr780.sim",),
    protocols=("cine",),
    view="sax",
    patterns=PATTERNS,
    reduction=Reduction(matrix=0.6, max_slices=2),
    overwrite=True,
)
_SET = Path("Cine/TrainingSet")
_SCAN = Path("Center101/UIH_30T_umr780.sim/P001/cine_sax")


@dataclass(frozen=True)
class DemoFolders:
    """Where the parts of the demo lie."""

    out: Path

    @property
    def study(self) -> Path:
        """What the simulator wrote."""
        return self.out / "study"

    @property
    def undersampled(self) -> Path:
        """The scans to reconstruct."""
        return self.study / "MultiCoil" / _SET / f"UnderSample_{TASK}"

    @property
    def full(self) -> Path:
        """Fully sampled k-space with noise: what a challenge scores against."""
        return self.study / "MultiCoil" / _SET / "FullSample"

    @property
    def truth(self) -> Path:
        """The image without noise, which only a simulation knows."""
        return self.study / "Truth"

    @property
    def truth_image(self) -> Path:
        """The file of the true image."""
        return self.truth / _SET / "FullSample" / f"{_SCAN}.nii.gz"

    @property
    def images(self) -> Path:
        """The reconstructions, a folder for each method."""
        return self.out / "images"

    def image(self, method: str, pattern: str) -> Path:
        """Return the reconstruction of one scan by one method."""
        return self.images / method / f"{_SCAN}_kus_{pattern}.nii.gz"


def write_study(folders: DemoFolders, spec: SimulateSettings) -> SimulatedScan:
    """Write the study, replacing an older one; raises `OutputError` where that fails."""
    scan = simulate_study(folders.study, spec).scans[0]
    if scan.error is not None:
        raise OutputError(scan.error.message, hint=scan.error.hint)
    return scan
