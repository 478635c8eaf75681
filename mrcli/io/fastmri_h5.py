"""Reads fastMRI HDF5 files: ``kspace (slice, coil, readout, phase encode)`` and an XML header."""

from dataclasses import dataclass, replace
from pathlib import Path

import h5py
import numpy as np

from mrcli.errors import DataError
from mrcli.findings import Finding, Severity
from mrcli.io.array_scan import KSpaceArray, array_scan, sliced_by, with_findings, with_mask
from mrcli.io.facts import fact_text
from mrcli.io.files import is_hdf5
from mrcli.io.hdf5 import (
    has_dataset,
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
    n_readout_kept,
    parse_header,
    require_two_dimensional,
    voxel_size_mm,
)
from mrcli.io.readout import crop_to, oversampling_findings
from mrcli.scan import Scan
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
            has_all = has_dataset(file, _KSPACE) and has_dataset(file, _XML)
    except DataError:
        return Match.NO
    return Match.YES if has_all else Match.NO


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
    return scan if content.image is None else _with_image(scan, *content.image)


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
        f"'{name}' has shape {image.shape}, k-space gives images of "
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
