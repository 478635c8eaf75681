"""The files of one simulated scan: truth, reference, undersampled k-space, in each container."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from jaxtyping import Bool, Complex64

from mrcli.findings import Finding, Severity
from mrcli.image import ReconVolume
from mrcli.io.atomic import write_text_atomically
from mrcli.io.cmrxrecon_classic import write_classic_mask_mat, write_classic_mat
from mrcli.io.cmrxrecon_files import open_kspace_mat, write_mask_mat
from mrcli.io.fastmri_files import write_fastmri_h5
from mrcli.io.ismrmrd_files import write_ismrmrd_h5
from mrcli.io.nifti import write_nifti
from mrcli.io.registry import open_scan
from mrcli.io.scan_facts import KSpaceShape, ScanFacts
from mrcli.physics.encoding import ifft2c, is_constant_along_readout
from mrcli.provenance import software_versions
from mrcli.scan import Scan
from mrcli.simulate.scans import ScanPlan, measured_lines, noise_scan, simulate_slice
from mrcli.simulate.sites import Container
from mrcli.tasks.simulate_plan import StudyScan
from mrcli.types import SamplingMask

OnSlice = Callable[[int, int], None]
SliceArray = Complex64[np.ndarray, "frame coil y x"]

TASK = "Sim"
_FULL = "full.mat"  # in the stage: all other files are made from it, slice by slice


@dataclass(frozen=True, eq=False)  # a plan holds tensors
class ScanFiles:
    """One scan in the making: where its files grow, and what they are called."""

    stage: Path
    scan: StudyScan
    plan: ScanPlan
    masks: Mapping[str, SamplingMask]  # by pattern, such as Uniform8

    @property
    def stem(self) -> str:
        """Return the name that all files of the scan begin with."""
        return self.scan.stem(self.plan.sizes.view)

    @property
    def shape(self) -> KSpaceShape:
        """Return the shape of k-space."""
        sizes = self.plan.sizes
        return (sizes.n_frames, sizes.n_slices, self.plan.n_coils, *sizes.matrix)

    @property
    def facts(self) -> ScanFacts:
        """Return what a header states."""
        site, protocol = self.scan.recipe.site, self.scan.recipe.protocol
        return ScanFacts(
            site.site, protocol.modality, self.plan.voxel_size_mm, site.readout_oversampling
        )

    def name(self, kind: str, folder: str, suffix: str) -> str:
        """Return the name of a file below the study: kind of tree, folder of the set, suffix."""
        scan = self.scan
        modality = scan.recipe.protocol.modality
        return f"{kind}/{modality}/{scan.set_name}/{folder}/{scan.place}/{self.stem}{suffix}"

    def write_full(self, device: str, on_slice: OnSlice) -> str:
        """Simulate all slices; write the truth, and fully sampled k-space into the stage."""
        sizes = self.plan.sizes
        truth = np.empty((sizes.n_frames, sizes.n_slices, *sizes.matrix), np.float32)
        with open_kspace_mat(self.stage / _FULL, "kspace", self.shape) as write_slice:
            for index in range(sizes.n_slices):
                one = simulate_slice(self.plan, index, device)
                truth[:, index] = one.truth.abs().cpu().numpy()
                write_slice(index, one.kspace.cpu().numpy())
                on_slice(index + 1, sizes.n_slices)
        name = self.name("Truth", "FullSample", ".nii.gz")
        volume = ReconVolume(truth, self.plan.voxel_size_mm)
        write_nifti(self.stage / name, volume, overwrite=False)
        return name

    def full(self) -> Scan:
        """Open the fully sampled k-space of the stage."""
        return open_scan(self.stage / _FULL)

    def slices(self, mask: SamplingMask | None = None) -> Iterator[SliceArray]:
        """Yield the slices of k-space, zero where `mask` says that nothing was acquired."""
        full = self.full()
        for index in range(self.plan.sizes.n_slices):
            kspace = full.slice_kspace(index)
            yield (kspace if mask is None else kspace * mask).numpy()

    def mask_array(self, mask: SamplingMask) -> Bool[np.ndarray, "frame y x"]:
        """Return a mask with all its axes."""
        n_frames, _, _, n_y, n_x = self.shape
        return mask[:, 0].expand(n_frames, n_y, n_x).numpy()


Written = tuple[list[str], list[Finding]]


def write_cmrxrecon(files: ScanFiles) -> Written:
    """Write reference, masks and undersampled k-space as the challenge lays them out."""
    is_classic = files.scan.recipe.protocol.container is Container.CLASSIC
    write_mask = write_classic_mask_mat if is_classic else write_mask_mat
    names = []
    for pattern, samples in files.masks.items():
        name = files.name("MultiCoil", f"Mask_{TASK}", f"_mask_{pattern}.mat")
        write_mask(files.stage / name, files.mask_array(samples))
        names.append(name)
    scans: list[tuple[str, str, SamplingMask | None]] = [
        (files.name("MultiCoil", "FullSample", ".mat"), "kspace", None),
        *(
            (files.name("MultiCoil", f"UnderSample_{TASK}", f"_kus_{pattern}.mat"), "kus", samples)
            for pattern, samples in files.masks.items()
        ),
    ]
    for name, variable, mask in scans:
        _write_mat(files, files.stage / name, variable, mask, is_classic=is_classic)
        names.append(name)
    return names, []


def _write_mat(
    files: ScanFiles, path: Path, variable: str, mask: SamplingMask | None, *, is_classic: bool
) -> None:
    if is_classic:
        write_classic_mat(path, variable, np.stack(list(files.slices(mask)), axis=1))
        return
    with open_kspace_mat(path, variable, files.shape) as write_slice:
        for index, kspace in enumerate(files.slices(mask)):
            write_slice(index, kspace)


def write_fastmri(files: ScanFiles) -> Written:
    """Write a file per frame: the format has no frames. The image inside is the reference."""
    names, findings = [], []
    masks: dict[str, SamplingMask | None] = {"full": None, **files.masks}
    for pattern, mask in masks.items():
        if mask is not None and not is_constant_along_readout(mask):
            findings.append(_not_lines(pattern, "fastMRI"))
            continue
        kspace = np.stack(list(files.slices(mask)), axis=1)
        for frame, one in enumerate(kspace):
            number = f"_frame{frame + 1:02d}" if len(kspace) > 1 else ""
            name = files.name("fastMRI", pattern, f"{number}.h5")
            lines = None if mask is None else mask[frame if len(mask) > 1 else 0, 0, :, 0].numpy()
            image = _root_sum_of_squares(files, one) if mask is None else None
            write_fastmri_h5(
                files.stage / name, one, files.facts, mask=lines, reconstruction_rss=image
            )
            names.append(name)
    return names, findings


def write_ismrmrd(files: ScanFiles) -> Written:
    """Write noise scan and acquired lines, each pattern in a file."""
    names, findings = [], []
    noise = noise_scan(files.plan).numpy()
    measured = measured_lines(files.plan)[None, None, :, None]
    masks = {pattern: mask & measured for pattern, mask in files.masks.items()}
    for pattern, mask in {"full": measured, **masks}.items():
        if not is_constant_along_readout(mask):
            findings.append(_not_lines(pattern, "ISMRMRD"))
            continue
        name = files.name("ISMRMRD", pattern, ".h5")
        lines = mask[..., :1].numpy()
        write_ismrmrd_h5(files.stage / name, files.facts, files.slices(), lines, noise)
        names.append(name)
    return names, findings


StudyWriter = Callable[[ScanFiles], Written]

STUDY_WRITERS: Mapping[str, StudyWriter] = MappingProxyType(
    {"cmrxrecon": write_cmrxrecon, "fastmri": write_fastmri, "ismrmrd": write_ismrmrd}
)


def write_record(files: ScanFiles, accelerations: Mapping[str, float], resume: object) -> str:
    """Write what decided the scan, beside its truth; it is all that tells that it is simulated."""
    recipe, plan = files.scan.recipe, files.plan
    record = {
        "is_simulated": True,
        "site": asdict(recipe.site) | {"protocols": None, "anatomy": None},
        "protocol": asdict(recipe.protocol),
        "patient": recipe.patient,
        "cohort": recipe.cohort,
        "seed": recipe.seed,
        "anatomy": "procedural" if files.scan.images is None else "real images",
        "reduction": asdict(recipe.reduction),
        "sizes": asdict(plan.sizes),
        "voxel_size_mm": plan.voxel_size_mm,
        "noise_sigma": float(plan.covariance.diagonal().real.mean().sqrt()),
        "true_accelerations": dict(accelerations),
        "software": software_versions(),
        "resume": resume,
    }
    name = files.name("Truth", "FullSample", ".json")
    text = json.dumps(record, indent=2, allow_nan=False) + "\n"
    write_text_atomically(files.stage / name, text, overwrite=False)
    return name


def _root_sum_of_squares(files: ScanFiles, kspace: SliceArray) -> np.ndarray:
    """Return the image ``(slice, y, x)`` without readout oversampling."""
    image = ifft2c(torch.from_numpy(kspace)).abs().square().sum(1).sqrt().numpy()
    n_x = files.facts.n_x_image(image.shape[-1])
    start = image.shape[-1] // 2 - n_x // 2
    return np.ascontiguousarray(image[..., start : start + n_x])


def _not_lines(pattern: str, container: str) -> Finding:
    return Finding(
        "pattern-left-out",
        Severity.INFO,
        f"{pattern} is no set of lines: {container} files hold whole lines, so it was left out",
        "take it from the CMRxRecon tree",
    )
