"""The reference of a reconstruction: where it is, and the image that a metric set compares with."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from jaxtyping import Float32
from torch.linalg import vector_norm

from mrcli.checks import resolve_mask
from mrcli.errors import DataError, InputError, UnknownFormat
from mrcli.findings import Finding, Severity
from mrcli.io.image_files import read_image
from mrcli.io.references import find_reference
from mrcli.io.registry import open_scan
from mrcli.metrics.sets import ReferenceKind
from mrcli.physics.encoding import ifft2c
from mrcli.physics.sampling import Pattern, describe_sampling
from mrcli.pipeline import reference_image
from mrcli.provenance import sha256_of
from mrcli.scan import MaskSource, Scan
from mrcli.tasks.reconstructions import Reconstruction
from mrcli.types import KSpace

Volume = Float32[np.ndarray, "frame slice y x"]

_IMAGE_SUFFIXES = (".nii.gz", ".nii")
_KSPACE_SUFFIXES = (".mat", ".h5", ".hdf5", ".npy", ".npz", ".cfl", ".dat")
_UNDERSAMPLED_STEM = re.compile(r"_kus_[A-Za-z]+\d+$")
_UNDERSAMPLED_DIR = re.compile(r"UnderSample(_\w+)?")


@dataclass(frozen=True)
class Reference:
    """An opened reference; `image` gives the volume for one kind and says in words what it is."""

    path: Path
    image: Callable[[ReferenceKind], tuple[Volume, str]]


def locate_reference(reconstruction: Reconstruction, root: Path) -> Path:
    """Return the reference file of a reconstruction; raises `InputError` where there is none.

    In a folder it has the same relative path and stem. A leading folder named after the method may
    be missing there. By the CMRxRecon convention ``UnderSample*`` becomes ``FullSample`` and
    ``_kus_<Pattern><R>`` is left out.
    """
    if root.is_file():
        return root
    for folder in (root, *sorted(root.rglob("FullSample*"))):
        for relative in _mirrored(reconstruction):
            matches = _files_with_stem(folder / relative.parent, relative.name)
            if matches:
                return _the_one(matches, reconstruction)
    by_convention = find_reference(_input_like(reconstruction), root)
    if by_convention is not None:
        return by_convention
    raise InputError(
        f"{reconstruction.relative}: no reference below {root.name or root}",
        hint="keep references at the same relative path and stem as the reconstructions",
    )


def _input_like(reconstruction: Reconstruction) -> Path:
    suffix = Path(reconstruction.input_name or "scan.mat").suffix
    return reconstruction.path.with_name(f"{PurePosixPath(reconstruction.scan).name}{suffix}")


def _mirrored(reconstruction: Reconstruction) -> list[PurePosixPath]:
    own = PurePosixPath(reconstruction.scan)
    paths = [own]
    if len(own.parts) > 1 and own.parts[0] == reconstruction.conditions.method:
        paths.append(PurePosixPath(*own.parts[1:]))
    # the fully sampled one first: in the tree of the inputs the own path is the scan itself
    return list(dict.fromkeys([*map(_fully_sampled_path, paths), *paths]))


def _fully_sampled_path(path: PurePosixPath) -> PurePosixPath:
    folders = [_UNDERSAMPLED_DIR.sub("FullSample", part) for part in path.parent.parts]
    return PurePosixPath(*folders, _UNDERSAMPLED_STEM.sub("", path.name))


def _files_with_stem(folder: Path, stem: str) -> list[Path]:
    suffixes = (*_IMAGE_SUFFIXES, *_KSPACE_SUFFIXES)
    candidates = [folder / f"{stem}{suffix}" for suffix in suffixes]
    return [path for path in candidates if path.is_file()]


def _the_one(matches: list[Path], reconstruction: Reconstruction) -> Path:
    """Return the only match, or the input file itself; raises `DataError` where several fit."""
    inputs = [path for path in matches if path.name == reconstruction.input_name]
    # the folder of the reconstructions may hold the references too, never the image itself
    others = inputs or [p for p in matches if p.resolve() != reconstruction.path.resolve()]
    if len(others) != 1:
        names = ", ".join(path.name for path in others) or "only the reconstruction itself"
        raise DataError(
            f"{reconstruction.relative}: not one reference but {names}",
            hint="keep one reference per scan, or name it",
        )
    return others[0]


def input_findings(reconstruction: Reconstruction, reference_path: Path) -> tuple[Finding, ...]:
    """Warn where the reference is the input itself, or an input that has changed since."""
    is_input = reference_path.name == reconstruction.input_name
    recorded = reconstruction.input_sha256
    if not is_input or recorded is None:
        return ()
    if sha256_of(reference_path) == recorded:
        return _reference_is_input(reconstruction)
    message = f"{reference_path.name} is not the file that was reconstructed: its hash differs"
    remedy = "reconstruct again, or name the reference that belongs to the scan"
    return (Finding("input-changed", Severity.WARNING, message, remedy),)


def _reference_is_input(reconstruction: Reconstruction) -> tuple[Finding, ...]:
    if reconstruction.conditions.true_acceleration != 1:
        return ()
    message = "the reference is the scan itself: nothing was left out, nothing had to be found"
    remedy = "score scans that were undersampled"
    return (Finding("reference-is-input", Severity.WARNING, message, remedy),)


def open_reference(path: Path) -> Reference:
    """Open a reference, image or fully sampled k-space; raises `DataError`."""
    if path.name.endswith(_IMAGE_SUFFIXES):
        return _image_reference(path)
    try:
        scan = open_scan(path)
    except UnknownFormat:
        return _image_reference(path)  # raises for what is no image either
    if scan.reference_image is not None:
        stored = np.abs(np.asarray(scan.reference_image, np.float32))
        return Reference(
            path, lambda _: (stored, f"image stored in {path.name}, for every metric set")
        )
    return _kspace_reference(fully_sampled(scan))


def fully_sampled(scan: Scan) -> Scan:
    """Return the scan whose k-space is the reference; raises `DataError` if samples lack.

    Lines at the border that are zero in all of them are fill, not undersampling.
    """
    if scan.load_reference_slice is not None:
        scan = replace(scan, load_slice=scan.load_reference_slice, mask=None)
    mask, _, _ = resolve_mask(scan)
    n_y, n_x = scan.header.matrix
    for index in range(mask.shape[1]):
        sampling = describe_sampling(mask[:, index], n_x)
        if sampling.pattern not in (Pattern.FULL, Pattern.REDUCED_RESOLUTION):
            percent = 100 / sampling.true_acceleration
            raise DataError(
                f"{scan.path.name}: not a reference: {percent:.1f} % of k-space was acquired",
                hint="name fully sampled k-space or an image",
            )
    everything = torch.ones(1, 1, 1, n_y, 1, dtype=torch.bool)
    return replace(scan, mask=everything, mask_source=MaskSource.FULL, load_reference_slice=None)


def rss_image(scan: Scan) -> Volume:
    """Return the root-sum-of-squares over coils, ``(frame, slice, y, x)``; one frame at a time."""
    slices = [
        np.stack([_rss(frame) for frame in scan.slice_kspace(index)])
        for index in range(scan.header.n_slices)
    ]
    return np.stack(slices, axis=1)


def _rss(kspace: KSpace) -> Float32[np.ndarray, "y x"]:
    # double precision: the square of a small sample would vanish in single precision
    coil_images = ifft2c(kspace.to(torch.complex128))
    return vector_norm(coil_images, dim=-3).to(torch.float32).numpy()


def _image_reference(path: Path) -> Reference:
    stored = read_image(path).magnitude
    words = f"image {path.name}, for every metric set"
    return Reference(path, lambda _: (stored, words))


def _kspace_reference(scan: Scan) -> Reference:
    compute = {ReferenceKind.COMBINED: reference_image, ReferenceKind.RSS: rss_image}

    @cache  # coil maps are costly, and several reconstructions share them
    def image(kind: ReferenceKind) -> tuple[Volume, str]:
        return compute[kind](scan), f"{kind}: {scan.path.name}"

    return Reference(scan.path, image)
