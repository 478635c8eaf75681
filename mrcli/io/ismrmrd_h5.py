"""Reads ISMRMRD HDF5 files: a table of readouts and an XML header, Cartesian and 2-D.

Through h5py, so that the guards for hostile files apply; see ADR 0002.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import h5py
import numpy as np
import torch

from mrcli.errors import DataError, MissingField
from mrcli.findings import Finding
from mrcli.io.array_scan import sliced_by
from mrcli.io.files import is_hdf5
from mrcli.io.hdf5 import has_dataset, listed, names_in, opened, read_text, require_dataset
from mrcli.io.interface import Match, Reader
from mrcli.io.layout import require_slice
from mrcli.io.mrd_geometry import locate
from mrcli.io.mrd_header import (
    MAX_XML_BYTES,
    Encoding,
    MrdHeader,
    n_readout_kept,
    parse_header,
    require_two_dimensional,
    voxel_size_mm,
)
from mrcli.io.mrd_noise import noise_scale, require_noise_coils
from mrcli.io.mrd_placement import Placement, covered_points, place, sampling_mask
from mrcli.io.mrd_readouts import Readouts, noise_rows, require_fields, sort_readouts
from mrcli.io.readout import crop_to, oversampling_findings
from mrcli.scan import MaskSource, Scan, ScanHeader
from mrcli.types import KSpace, NoiseSamples

_NAME = "ismrmrd-h5"
_SINGLE_PRECISION = "complex64"


def _group_name(file: h5py.File) -> str | None:
    groups = [
        name
        for name in names_in(file)
        if has_dataset(file, f"{name}/data") and has_dataset(file, f"{name}/xml")
    ]
    return groups[0] if len(groups) == 1 else None


def _sniff(path: Path) -> Match:
    if not is_hdf5(path):
        return Match.NO
    try:
        with opened(path) as file:
            return Match.NO if _group_name(file) is None else Match.YES
    except DataError:
        return Match.NO


@dataclass(frozen=True)
class _Table:
    path: Path
    name: str

    @property
    def label(self) -> str:
        return f"{self.path.name}: field '{self.name}'"


def _read(path: Path) -> tuple[_Table, np.ndarray, MrdHeader]:
    with opened(path) as file:
        group = _group_name(file)
        if group is None:
            raise MissingField(
                f"{path.name}: no group with 'data' and 'xml' as {_NAME} needs, the file holds "
                f"{listed(names_in(file))}",
                hint="convert one measurement to one file",
            )
        table = _Table(path, f"{group}/data")
        dataset = _require_table(file, table)
        require_fields(dataset.dtype["head"], table.label)
        heads = dataset.fields("head")[:]
        xml = read_text(require_dataset(file, f"{group}/xml"), MAX_XML_BYTES)
    return table, heads, parse_header(xml, f"{path.name}: field '{group}/xml'")


def _require_table(file: h5py.File, table: _Table) -> h5py.Dataset:
    dataset = require_dataset(file, table.name)
    names = dataset.dtype.names or ()
    if "head" not in names or "data" not in names or dataset.ndim != 1:
        raise MissingField(f"{table.label} is no table of readouts with 'head' and 'data'")
    if h5py.check_vlen_dtype(dataset.dtype["data"]) != np.dtype("<f4"):
        raise DataError(f"{table.label} holds samples of another type than single precision")
    return dataset


def _open(path: Path) -> Scan:
    table, heads, header = _read(path)
    readouts, sorted_findings = sort_readouts(heads, table.label)
    encoding = _encoding(header, readouts, table.label)
    n_x_stored, n_y, _ = encoding.encoded.matrix
    n_x = n_readout_kept(encoding, n_x_stored)
    placement, placed = place(readouts, (n_y, n_x_stored), encoding.y_center, table.label)
    voxel = voxel_size_mm(encoding, n_y, n_x_stored)
    affine, voxel, located = locate(readouts, (n_y, n_x), voxel)
    noise, noise_findings = _noise(table, heads, readouts)
    facts = ScanHeader(
        n_frames=readouts.n_frames,
        n_slices=readouts.n_slices,
        n_coils=readouts.n_coils,
        matrix=(n_y, n_x),
        dtype=_SINGLE_PRECISION,
        site=header.site,
        protocol=header.protocol,
        voxel_size_mm=voxel,
        affine=affine,
    )
    load = sliced_by(_load_slice, table, readouts, placement, n_x)
    mask = sampling_mask(readouts, placement, n_x)
    cropped = oversampling_findings(n_x_stored, n_x)
    findings = (*sorted_findings, *placed, *cropped, *located, *noise_findings)
    scan = Scan(path, _NAME, facts, load, noise=noise, findings=findings)
    return replace(scan, mask=mask, mask_source=MaskSource.FILE)


def _encoding(header: MrdHeader, readouts: Readouts, label: str) -> Encoding:
    reference = int(readouts.heads["encoding_space_ref"][0])
    if reference >= len(header.encodings):
        raise DataError(
            f"{label} uses encoding {reference}, the header has {len(header.encodings)}"
        )
    require_two_dimensional(header.encodings[reference], label)
    return header.encodings[reference]


def _load_slice(
    table: _Table, readouts: Readouts, placement: Placement, n_x: int, index: int
) -> KSpace:
    require_slice(index, readouts.n_slices)
    chosen = np.flatnonzero(readouts.slice == index)
    shape = (readouts.n_frames, readouts.n_coils, placement.n_y, placement.n_x)
    stored = np.zeros(shape, np.complex64)
    n_averages = np.zeros((readouts.n_frames, placement.n_y), int)
    samples = read_samples(table.path, table.name, readouts.rows[chosen], readouts.heads[chosen])
    for i, readout in zip(chosen, samples, strict=True):
        frame, y = readouts.frame[i], placement.y[i]
        line, values = stored[frame, :, y], _placed(readout, placement, int(i))
        line[:] = line + values if n_averages[frame, y] else values
        n_averages[frame, y] += 1
    if n_averages.max() > 1:
        stored /= np.maximum(n_averages, 1)[:, None, :, None].astype(np.float32)
    kspace = crop_to(torch.from_numpy(stored), n_x)
    return (
        kspace if placement.is_complete else _unacquired_zeroed(kspace, readouts, placement, chosen)
    )


def _placed(readout: np.ndarray, placement: Placement, i: int) -> np.ndarray:
    forwards = readout[:, ::-1] if placement.is_reversed[i] else readout
    first, n, start = placement.first[i], placement.n_samples[i], placement.x_start[i]
    values = np.zeros((readout.shape[0], placement.n_x), np.complex64)
    values[:, start : start + n] = forwards[:, first : first + n]
    return values


def _unacquired_zeroed(
    kspace: KSpace, readouts: Readouts, placement: Placement, chosen: np.ndarray
) -> KSpace:
    n_frames, _, n_y, n_x = kspace.shape
    mask = torch.zeros(n_frames, 1, n_y, n_x, dtype=torch.bool)
    covered = torch.from_numpy(covered_points(placement, n_x)[chosen])
    mask[readouts.frame[chosen], 0, placement.y[chosen]] = covered
    return kspace.where(mask, torch.zeros((), dtype=kspace.dtype))


def read_samples(
    path: Path, name: str, rows: np.ndarray, heads: np.ndarray
) -> Iterator[np.ndarray]:
    """Read the samples of ascending `rows`, each complex64 ``(coil, sample)``."""
    with opened(path) as file:
        dataset = _require_table(file, _Table(path, name)).fields("data")
        values = [row for run in _runs(rows) for row in dataset[run]]
    for value, row, head in zip(values, rows, heads, strict=True):
        shape = (int(head["active_channels"]), int(head["number_of_samples"]), 2)
        if value.size != np.prod(shape):
            raise DataError(
                f"{path.name}: field '{name}': readout {row} has {value.size} numbers, its header "
                f"needs {shape[0]} coils x {shape[1]} samples x 2"
            )
        yield np.ascontiguousarray(value, np.float32).view(np.complex64).reshape(shape[:2])


def _runs(rows: np.ndarray) -> Iterator[slice]:
    breaks = np.flatnonzero(np.diff(rows) != 1) + 1
    for run in np.split(rows, breaks):
        if run.size:
            yield slice(int(run[0]), int(run[-1]) + 1)


def _noise(
    table: _Table, heads: np.ndarray, readouts: Readouts
) -> tuple[NoiseSamples | None, tuple[Finding, ...]]:
    rows = noise_rows(heads)
    if rows.size == 0:
        return None, ()
    require_noise_coils(heads[rows], readouts, table.label)
    samples = np.concatenate(list(read_samples(table.path, table.name, rows, heads[rows])), axis=1)
    scale, findings = noise_scale(heads[rows], readouts)
    return torch.from_numpy(samples * np.float32(scale) if findings else samples), findings


READER = Reader(
    name=_NAME,
    describes="ISMRMRD (MRD) HDF5 files, Cartesian, two-dimensional",
    needs="a group with 'data' (readouts) and 'xml' (header with matrix and trajectory)",
    sniff=_sniff,
    open=_open,
)
