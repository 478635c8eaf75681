"""Reads fastMRI HDF5 files: ``kspace (slice, coil, readout, phase encode)`` and an XML header."""

from dataclasses import dataclass, replace
from pathlib import Path

import h5py
import numpy as np
import torch

from mrcli.errors import DataError, MissingField
from mrcli.findings import Finding, Severity
from mrcli.io.array_scan import KSpaceArray, array_scan, sliced_by, with_findings, with_mask
from mrcli.io.facts import fact_text
from mrcli.io.files import is_hdf5
from mrcli.io.hdf5 import (
    has_dataset,
    listed,
    names_in,
    opened,
    read_slice,
    read_text,
    read_values,
    require_dataset,
)
from mrcli.io.interface import Match, Reader
from mrcli.io.layout import Axis, Layout
from mrcli.io.mrd_header import (
    MAX_XML_BYTES,
    MrdHeader,
    line_extent,
    n_readout_kept,
    parse_header,
    require_two_dimensional,
    voxel_size_mm,
)
from mrcli.io.readout import crop_to, oversampling_findings
from mrcli.scan import MaskSource, Scan
from mrcli.types import KSpace

_NAME = "fastmri-h5"
_KSPACE, _XML, _MASK = "kspace", "ismrmrd_header", "mask"
_IMAGES = ("reconstruction_rss", "reconstruction_esc")
_AXES: dict[int, tuple[Axis, ...]] = {
    3: ("slice", "x", "y"),
    4: ("slice", "coil", "x", "y"),
}


def _sniff(path: Path) -> Match:
    if not is_hdf5(path):
        return Match.NO
    try:
        with opened(path) as file:
            has_all = has_dataset(file, _KSPACE) and _XML in names_in(file)
            return Match.YES if has_all or lost_its_header(file) else Match.NO
    except DataError:
        return Match.NO


def lost_its_header(file: h5py.File) -> bool:
    """Say whether k-space of fastMRI, told by the images beside it, stands without its header.

    Its axes are those of fastMRI all the same, and would be taken for others.
    """
    if not any(has_dataset(file, name) for name in _IMAGES) or not has_dataset(file, _KSPACE):
        return False
    kspace = file[_KSPACE]
    is_matlab = kspace.dtype.names is not None or "MATLAB_class" in kspace.attrs
    return _XML not in names_in(file) and kspace.ndim in _AXES and not is_matlab


@dataclass(frozen=True, eq=False)
class _Content:
    shape: tuple[int, ...]
    dtype: np.dtype
    xml: str
    mask: np.ndarray | None
    image: tuple[str, np.ndarray] | None
    acquisition: str | None


def _read(path: Path) -> _Content:
    with opened(path) as file:
        kspace = require_dataset(file, _KSPACE)
        _require_header(file, kspace.ndim, path)
        names = names_in(file)
        image = next((name for name in _IMAGES if name in names), None)
        return _Content(
            shape=kspace.shape,
            dtype=kspace.dtype,
            xml=read_text(require_dataset(file, _XML), MAX_XML_BYTES),
            mask=_values(file, _MASK) if _MASK in names else None,
            image=None if image is None else (image, _values(file, image)),
            acquisition=fact_text(file.attrs.get("acquisition")),
        )


def _require_header(file: h5py.File, n_axes: int, path: Path) -> None:
    if _XML not in names_in(file):
        axes = "slice,coil,x,y" if n_axes == 4 else "slice,x,y"
        raise MissingField(
            f"{path.name}: no field '{_XML}' as {_NAME} needs, the file holds "
            f"{listed(names_in(file))}",
            hint=f"without its header, name the reader plain-h5 and the axes {axes}",
        )


def _values(file: h5py.File, name: str) -> np.ndarray:
    return read_values(require_dataset(file, name))


def _open(path: Path) -> Scan:
    content = _read(path)
    layout = _layout(content.shape, path)
    header = parse_header(content.xml, f"{path.name}: field '{_XML}'")
    n_y, n_stored = layout.matrix
    n_x = n_readout_kept(header.encodings[0], n_stored)
    load = sliced_by(_load_slice, path, layout, n_x)
    scan = array_scan(path, _NAME, KSpaceArray(_KSPACE, content.dtype, layout, load))
    scan = with_findings(scan, *oversampling_findings(n_stored, n_x))
    scan = _with_header(scan, header, (n_y, n_x), n_stored, content.acquisition)
    scan = scan if content.mask is None else with_mask(scan, content.mask.ravel())
    scan = _without_padding(scan, line_extent(header.encodings[0], n_y))
    return scan if content.image is None else _with_image(scan, *content.image)


def _without_padding(scan: Scan, extent: tuple[int, int] | None) -> Scan:
    """Count lines beyond the limits of the header as not acquired, whatever the mask says."""
    n_y = scan.header.matrix[0]
    if extent is None or extent == (0, n_y):
        return scan
    start, stop = extent
    if not 0 <= start < stop <= n_y:
        return with_findings(scan, _limits_unused(start, stop, n_y))
    inside = torch.zeros(1, 1, 1, n_y, 1, dtype=torch.bool)
    inside[..., start:stop, :] = True
    mask = inside if scan.mask is None else scan.mask & inside
    if scan.mask is not None and torch.equal(mask, scan.mask):
        return scan
    scan = replace(scan, mask=mask, mask_source=MaskSource.FILE)
    return with_findings(scan, _padding(start, stop, n_y))


def _padding(start: int, stop: int, n_y: int) -> Finding:
    return Finding(
        "zero-padding",
        Severity.INFO,
        f"the header's encodingLimits span lines {start} to {stop - 1}: the {start} lines before "
        f"and {n_y - stop} after them are zero padding and count as not acquired",
        "nothing, this is how such files are made",
    )


def _limits_unused(start: int, stop: int, n_y: int) -> Finding:
    return Finding(
        "encoding-limits-unused",
        Severity.WARNING,
        f"the header's encodingLimits span lines {start} to {stop - 1}, k-space has {n_y}: they "
        "say nothing about zero padding",
        "name the mask if k-space is padded with zeros",
    )


def _layout(shape: tuple[int, ...], path: Path) -> Layout:
    if len(shape) not in _AXES:
        raise DataError(
            f"{path.name}: field '{_KSPACE}' has shape {shape}, {_NAME} needs "
            "(slice, coil, readout, phase encode) or (slice, readout, phase encode)"
        )
    return Layout(_AXES[len(shape)], shape)


def _load_slice(path: Path, layout: Layout, n_x: int, index: int) -> KSpace:
    return crop_to(read_slice(path, _KSPACE, layout, index), n_x)


def _with_header(
    scan: Scan, header: MrdHeader, matrix: tuple[int, int], n_stored: int, protocol: str | None
) -> Scan:
    encoding = header.encodings[0]
    require_two_dimensional(encoding, f"{scan.path.name}: field '{_XML}'")
    facts = replace(
        scan.header,
        matrix=matrix,
        site=header.site,
        protocol=protocol or header.protocol,
        voxel_size_mm=voxel_size_mm(encoding, matrix[0], n_stored),
    )
    return replace(scan, header=facts)


def _with_image(scan: Scan, name: str, image: np.ndarray) -> Scan:
    n_y, n_x = scan.header.matrix
    if image.shape != (scan.header.n_slices, n_x, n_y) or image.dtype.kind != "f":
        return with_findings(scan, _image_left_out(scan, name, image))
    canonical = np.ascontiguousarray(image.swapaxes(1, 2)[None], dtype=np.float32)
    return replace(scan, reference_image=canonical)


def _image_left_out(scan: Scan, name: str, image: np.ndarray) -> Finding:
    n_y, n_x = scan.header.matrix
    return Finding(
        "reference-left-out",
        Severity.INFO,
        f"'{name}' is left out: it has (slice, readout, phase encode) {image.shape}, k-space gives "
        f"{(scan.header.n_slices, n_x, n_y)}",
        "give a reference of the same size to measure the reconstruction",
    )


READER = Reader(
    name=_NAME,
    describes="fastMRI HDF5 files",
    needs="complex 'kspace' (slice, coil, readout, phase encode) and 'ismrmrd_header'",
    sniff=_sniff,
    open=_open,
)
