"""The study of the demo: one simulated heart, fully sampled and undersampled two ways, on disk."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mrcli.image import ReconVolume
from mrcli.io.cmrxrecon_files import write_kspace_mat, write_mask_mat
from mrcli.io.nifti import write_nifti
from mrcli.physics.patterns import kt_gaussian_lines, uniform_lines
from mrcli.simulate.phantom import PhantomSpec, simulate_kspace, simulate_maps, simulate_truth
from mrcli.types import SamplingMask

ACCELERATION = 8
SPEC = PhantomSpec(
    n_frames=12, n_slices=2, n_coils=8, matrix=(128, 168), voxel_size_mm=(2.2, 2.2, 8.0)
)
_SET = Path("Cine/TrainingSet")
_PATIENT = Path("Center001/Simulated_30T_Phantom/P001")
_VIEW = "cine_sax"
_TASK = "Demo"


@dataclass(frozen=True)
class DemoFolders:
    """Where the parts of the demo lie."""

    out: Path

    @property
    def undersampled(self) -> Path:
        """The scans to reconstruct."""
        return self.out / "study" / _SET / f"UnderSample_{_TASK}"

    @property
    def masks(self) -> Path:
        """The sampling masks, in the sister tree that the folder convention names."""
        return self.out / "study" / _SET / f"Mask_{_TASK}"

    @property
    def full(self) -> Path:
        """Fully sampled k-space with noise: what a challenge scores against."""
        return self.out / "study" / _SET / "FullSample"

    @property
    def truth(self) -> Path:
        """The image without noise, which only a simulation knows."""
        return self.out / "truth"

    @property
    def truth_image(self) -> Path:
        """The file of the true image."""
        return self.truth / _PATIENT / f"{_VIEW}.nii.gz"

    @property
    def images(self) -> Path:
        """The reconstructions, a folder for each method."""
        return self.out / "images"

    def image(self, method: str, pattern: str) -> Path:
        """Return the reconstruction of one scan by one method."""
        return self.images / method / _PATIENT / f"{_VIEW}_kus_{pattern}.nii.gz"


def sampling_patterns(spec: PhantomSpec) -> Mapping[str, SamplingMask]:
    """Return the two masks by the names that the challenge gives them."""
    n_y = spec.matrix[0]
    return {
        f"Uniform{ACCELERATION}": uniform_lines(n_y, ACCELERATION),
        f"ktGaussian{ACCELERATION}": kt_gaussian_lines(
            spec.n_frames, n_y, ACCELERATION, seed=spec.seed
        ),
    }


def write_study(folders: DemoFolders, spec: PhantomSpec) -> None:
    """Write truth, fully sampled k-space, undersampled k-space and masks; replaces older ones."""
    truth, maps = simulate_truth(spec), simulate_maps(spec)
    image = np.ascontiguousarray(truth.abs().numpy())
    write_nifti(folders.truth_image, ReconVolume(image, spec.voxel_size_mm), overwrite=True)
    kspace = simulate_kspace(truth, maps, spec)
    write_kspace_mat(folders.full / _PATIENT / f"{_VIEW}.mat", "kspace", kspace.numpy())
    for name, mask in sampling_patterns(spec).items():
        undersampled = (kspace * mask.unsqueeze(1)).numpy()
        scan = folders.undersampled / _PATIENT / f"{_VIEW}_kus_{name}.mat"
        write_kspace_mat(scan, "kus", undersampled)
        samples = mask[:, 0].expand(spec.n_frames, *spec.matrix).numpy()
        write_mask_mat(folders.masks / _PATIENT / f"{_VIEW}_mask_{name}.mat", samples)
