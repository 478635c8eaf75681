"""Builds a scan from an array of k-space and the optional fields that lie beside it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from mrcli.errors import DataError, ShapeError
from mrcli.findings import Finding, Severity
from mrcli.io.facts import fact_text, site_from_text, voxel_size_mm
from mrcli.io.layout import (
    Layout,
    as_complex64,
    complex_bytes,
    dtype_name,
    is_single_coil,
    precision_findings,
)
from mrcli.io.masks import fit_mask
from mrcli.scan import MaskSource, ReferenceImage, Scan, ScanHeader
from mrcli.site import UNKNOWN_SITE, Site
from mrcli.types import KSpace, NoiseSamples


@dataclass(frozen=True)
class KSpaceArray:
    """An array of k-space in some container: its type, its axes, and how one slice is read."""

    name: str
    dtype: np.dtype
    layout: Layout
    load_slice: Callable[[int], KSpace]


def array_scan(path: Path, container: str, kspace: KSpaceArray) -> Scan:
    """Return the scan that holds `kspace` alone; raises `DataError` unless it is complex."""
    require_complex(kspace.dtype, f"{path.name}: field '{kspace.name}'")
    header = ScanHeader(
        n_frames=kspace.layout.size("frame"),
        n_slices=kspace.layout.size("slice"),
        n_coils=kspace.layout.size("coil"),
        matrix=kspace.layout.matrix,
        dtype=dtype_name(kspace.dtype),
    )
    findings = (*precision_findings(kspace.dtype), *_coil_findings(kspace))
    return Scan(path, container, header, kspace.load_slice, findings=findings)


def _coil_findings(kspace: KSpaceArray) -> tuple[Finding, ...]:
    if "coil" in kspace.layout.axes or not is_single_coil(kspace.name):
        return ()
    return (
        Finding(
            "single-coil",
            Severity.INFO,
            f"'{kspace.name}' is one combined coil by its name: its axes were taken as "
            f"({', '.join(kspace.layout.axes)})",
            "rename the field if it holds several coils",
        ),
    )


def require_complex(dtype: np.dtype, label: str) -> None:
    """Raise `DataError` unless `dtype` is a complex number of single or double precision."""
    if not complex_bytes(dtype):
        raise DataError(
            f"{label} holds {dtype}, k-space is complex",
            hint="store complex numbers of single or double precision",
        )


Field = np.ndarray | str | None
ReadField = Callable[[str], Field]


def with_fields(scan: Scan, read: ReadField) -> Scan:
    """Add what the optional fields of a plain container say; `read` returns None for no field."""
    site, protocol = read("site"), read("protocol")
    voxel = _numbers(scan, read, "voxel_size_mm")
    header = replace(
        scan.header,
        site=site_from_text(_text(scan, site), _label(scan, "site"))
        if site is not None
        else UNKNOWN_SITE,
        protocol=fact_text(_text(scan, protocol)) if protocol is not None else None,
        voxel_size_mm=None
        if voxel is None
        else voxel_size_mm(voxel, _label(scan, "voxel_size_mm")),
    )
    mask, noise = _numbers(scan, read, "mask"), _numbers(scan, read, "noise")
    reference = _numbers(scan, read, "reference")
    scan = replace(scan, header=header)
    scan = scan if mask is None else with_mask(scan, mask)
    return replace(
        scan,
        noise=None if noise is None else _noise(noise, scan),
        reference_image=None if reference is None else _reference(reference, scan),
    )


def with_mask(scan: Scan, values: np.ndarray) -> Scan:
    """Add the mask that is stored with the k-space."""
    mask = fit_mask(values, scan.path.name, scan.header)
    return replace(scan, mask=mask, mask_source=MaskSource.FILE)


def with_place(scan: Scan, site: Site, protocol: str | None) -> Scan:
    """Add what is known about where and by which protocol the scan was made."""
    return replace(scan, header=replace(scan.header, site=site, protocol=protocol))


def with_findings(scan: Scan, *findings: Finding) -> Scan:
    """Add findings."""
    return replace(scan, findings=(*scan.findings, *findings))


def with_full_kspace(scan: Scan, full: KSpaceArray) -> Scan:
    """Add fully sampled k-space of the same shape, the reference; raises `ShapeError`."""
    require_complex(full.dtype, f"{scan.path.name}: field '{full.name}'")
    header = scan.header
    own = (header.n_slices, *header.slice_shape)
    sizes = [full.layout.size(axis) for axis in ("slice", "frame", "coil", "y", "x")]
    if tuple(sizes) != own:
        raise ShapeError(
            f"{scan.path.name}: field '{full.name}' has (slice, frame, coil, y, x) "
            f"{tuple(sizes)}, k-space has {own}"
        )
    return replace(scan, load_reference_slice=full.load_slice)


def _label(scan: Scan, name: str) -> str:
    return f"{scan.path.name}: field '{name}'"


def _numbers(scan: Scan, read: ReadField, name: str) -> np.ndarray | None:
    field = read(name)
    if field is None or (isinstance(field, np.ndarray) and field.dtype.kind in "biufc"):
        return field
    raise DataError(f"{_label(scan, name)} holds no numbers")


def _text(scan: Scan, field: Field) -> str:
    if isinstance(field, np.ndarray) and field.size == 1:
        field = field.item()
    if not isinstance(field, str):
        raise DataError(f"{scan.path.name}: site and protocol are text, found another type")
    return field


def _noise(values: np.ndarray, scan: Scan) -> NoiseSamples:
    n_coils = scan.header.n_coils
    if values.ndim != 2 or values.shape[0] != n_coils or values.dtype.kind != "c":
        raise ShapeError(
            f"{_label(scan, 'noise')} has shape {values.shape} of {values.dtype}, needed is "
            f"complex (coil, sample) for {n_coils} coils"
        )
    return torch.from_numpy(as_complex64(values, _label(scan, "noise")))


def _reference(values: np.ndarray, scan: Scan) -> ReferenceImage:
    header = scan.header
    needed = (header.n_frames, header.n_slices, *header.matrix)
    trailing = needed[4 - values.ndim :] if values.ndim <= 4 else ()
    leading = needed[: 4 - values.ndim]
    if values.dtype.kind not in "uif" or values.shape != trailing or max(leading, default=1) > 1:
        raise ShapeError(
            f"{_label(scan, 'reference')} has shape {values.shape} of {values.dtype}, needed is "
            f"a magnitude image (frame, slice, y, x) {needed}"
        )
    return values.reshape(needed).astype(np.float32)


def sliced_by(function: Callable[..., KSpace], *facts: object) -> Callable[[int], KSpace]:
    """Return `function` with all but the index of the slice given; can be sent to a process."""
    return partial(function, *facts)
