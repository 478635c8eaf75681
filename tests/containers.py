"""Writes the same k-space, ``(frame, slice, coil, y, x)``, in every container that is read."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py
import ismrmrd
import numpy as np
import scipy.io

SHAPES = ((3, 2, 4, 5, 8), (2, 3, 2, 6, 7), (1, 1, 1, 5, 7), (1, 1, 3, 6, 6), (2, 1, 1, 7, 5))
DIRECTIONS = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


def volume(shape=SHAPES[0], seed=0, dtype=np.complex64):
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((2, *shape)) * np.exp(rng.uniform(-9, 9, shape))
    return (values[0] + 1j * values[1]).astype(dtype)


def record(values, real="real", imag="imag"):
    part = values.real.dtype
    records = np.empty(values.shape, [(real, part), (imag, part)])
    records[real], records[imag] = values.real, values.imag
    return records


def write_mat5(path: Path, values, name="kspace", **others):
    scipy.io.savemat(path, {name: values.T, **others}, do_compression=values.size % 2 == 0)


def write_mat73(path: Path, values, name="kspace", **others):
    first = next((i for i, n in enumerate(values.shape) if n > 1), values.ndim - 2)
    with h5py.File(path, "w", userblock_size=512) as file:
        trimmed = values.reshape(values.shape[min(first, 3) :])  # MATLAB drops trailing ones
        file.create_dataset(name, data=record(trimmed), chunks=True, compression="gzip")
        file[name].attrs["MATLAB_class"] = np.bytes_(b"single")
        for other, content in others.items():
            file[other] = content
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")


def write_npy(path: Path, values):
    np.save(path, values)


def write_npz(path: Path, values, name="kspace", **others):
    np.savez(path, **{name: values, **others})


def write_plain_h5(path: Path, values, name="kspace", **others):
    with h5py.File(path, "w") as file:
        file[name] = values
        for other, content in others.items():
            file[other] = content


def write_bart(path: Path, values):
    n_frames, n_slices, n_coils, n_y, n_x = values.shape
    dims = [n_x, n_y, 1, n_coils, *[1] * 6, n_frames, 1, 1, n_slices, 1, 1]
    path.with_suffix(".hdr").write_text(f"# Dimensions\n{' '.join(map(str, dims))} \n")
    reversed_dims = values.swapaxes(0, 1)  # slice 13 is slower than time 10
    path.with_suffix(".cfl").write_bytes(reversed_dims.astype("<c8").tobytes())


def mrd_xml(
    n_y,
    n_x,
    *,
    z=1,
    fov=(300.0, 200.0, 8.0),
    recon_fov=None,
    n_recon=None,
    trajectory="cartesian",
    limits="",
    extra="",
):
    def space(name, matrix, extent):
        sizes = "".join(f"<{a}>{n}</{a}>" for a, n in zip("xyz", matrix, strict=True))
        extents = "".join(f"<{a}>{n}</{a}>" for a, n in zip("xyz", extent, strict=True))
        return (
            f"<{name}><matrixSize>{sizes}</matrixSize>"
            f"<fieldOfView_mm>{extents}</fieldOfView_mm></{name}>"
        )

    recon = space("reconSpace", (n_recon or n_x, n_y, z), recon_fov or fov)
    return (
        '<?xml version="1.0"?><ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">'
        "<subjectInformation><patientName>CANARY^PATIENT</patientName></subjectInformation>"
        "<measurementInformation><protocolName>cine_sax</protocolName></measurementInformation>"
        "<acquisitionSystemInformation><systemVendor>Siemens</systemVendor>"
        "<systemModel>Prisma</systemModel><systemFieldStrength_T>2.89</systemFieldStrength_T>"
        "<institutionName>North Hospital</institutionName></acquisitionSystemInformation>"
        f"{extra}<encoding>{space('encodedSpace', (n_x, n_y, z), fov)}{recon}"
        f"<encodingLimits>{limits}</encodingLimits>"
        f"<trajectory>{trajectory}</trajectory></encoding></ismrmrdHeader>"
    )


def write_fastmri(path: Path, values, name="kspace", *, xml=None, **others):
    if values.shape[0] != 1:
        raise ValueError("fastMRI has no frames")
    stored = values[0].swapaxes(-1, -2)
    with h5py.File(path, "w") as file:
        file[name] = stored
        file["ismrmrd_header"] = xml or mrd_xml(*values.shape[-2:])
        file.attrs.update(acquisition="AXT2", patient_id="CANARY^PATIENT", max=1.0)
        for other, content in others.items():
            file[other] = content


@dataclass
class Line:
    """One readout for `write_lines`."""

    samples: np.ndarray  # (coil, sample)
    step: int = 0
    counters: dict[str, int] | None = None
    flags: tuple[int, ...] = ()
    center: int | None = None
    position: tuple[float, float, float] = (0.0, 0.0, 0.0)
    directions: tuple[tuple[float, float, float], ...] = DIRECTIONS
    head: dict[str, float] | None = None


def write_lines(path: Path, xml, lines, group="dataset"):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file = ismrmrd.Dataset(str(path), group, create_if_needed=True)
        file.write_xml_header(xml.encode())
        for line in lines:
            file.append_acquisition(_acquisition(line))
        file.close()


def _acquisition(line):
    n_coils, n_samples = line.samples.shape
    acquisition = ismrmrd.Acquisition()
    acquisition.resize(n_samples, n_coils)
    acquisition.data[:] = line.samples
    acquisition.idx.kspace_encode_step_1 = line.step
    acquisition.center_sample = n_samples // 2 if line.center is None else line.center
    acquisition.position = line.position
    acquisition.read_dir, acquisition.phase_dir, acquisition.slice_dir = line.directions
    for name, value in (line.counters or {}).items():
        setattr(acquisition.idx, name, value)
    for name, value in (line.head or {}).items():
        setattr(acquisition, name, value)
    for flag in line.flags:
        acquisition.set_flag(flag)
    return acquisition


def lines_of(values, spacing_mm=8.0):
    """Return the readouts of a volume, lines outermost, so that slices and frames interleave."""
    n_frames, n_slices, _, n_y, _ = values.shape
    return [
        Line(
            values[frame, index, :, y],
            y,
            {"phase": frame, "slice": index},
            position=(0.0, 0.0, spacing_mm * index),
        )
        for y in range(n_y)
        for index in range(n_slices)
        for frame in range(n_frames)
    ]


def write_mrd(path: Path, values, name="dataset"):
    write_lines(path, mrd_xml(*values.shape[-2:]), lines_of(values), name)


@dataclass(frozen=True)
class Container:
    """How a container is written, what reads it, and what it can hold."""

    reader: str
    suffix: str
    write: Callable
    has_frames: bool = True
    has_names: bool = True  # a field may be called something else
    has_doubles: bool = True

    def __str__(self):
        return self.write.__name__.removeprefix("write_")


CONTAINERS = (
    Container("cmrxrecon-mat", ".mat", write_mat5),
    Container("cmrxrecon-mat", ".mat", write_mat73),
    Container("fastmri-h5", ".h5", write_fastmri, has_frames=False),
    Container("ismrmrd-h5", ".mrd", write_mrd, has_names=False, has_doubles=False),
    Container("bart-cfl", ".cfl", write_bart, has_names=False, has_doubles=False),
    Container("npy", ".npy", write_npy, has_names=False),
    Container("npz", ".npz", write_npz),
    Container("plain-h5", ".h5", write_plain_h5),
)
