"""What every writer of k-space promises: our readers get the same bits, other programs the same."""

import errno
import os
from collections import namedtuple
from contextlib import contextmanager

import numpy as np
import pytest

from containers import SHAPES, volume
from mrcli.errors import DataError, OutputError
from mrcli.io import atomic
from mrcli.io.atomic import require_space
from mrcli.io.cmrxrecon_classic import write_classic_mat
from mrcli.io.cmrxrecon_files import write_kspace_mat
from mrcli.io.fastmri_files import write_fastmri_h5
from mrcli.io.ismrmrd_files import write_ismrmrd_h5
from mrcli.io.registry import open_scan
from mrcli.io.scan_facts import ScanFacts
from mrcli.site import UNKNOWN_SITE, Site

SITE = Site("North Hospital", "Prisma", "Siemens", 2.89)
FACTS = ScanFacts(SITE, "cine_sax", voxel_size_mm=(1.6, 2.1, 7.9), dwell_us=4.5)
T1W = (1, 11, 10, 6, 8)


def of_slices(values):
    return (values[:, index] for index in range(values.shape[1]))


def every_line(values):
    return np.ones((1, 1, values.shape[-2], 1), bool)


def to_mat73(path, values):
    write_kspace_mat(path, "kspace", values)


def to_classic(path, values):
    write_classic_mat(path, "kspace", values)


def to_fastmri(path, values):
    write_fastmri_h5(path, values[0], FACTS)


def to_ismrmrd(path, values):
    noise = np.ascontiguousarray(values[0, 0, :, 0])
    write_ismrmrd_h5(path, FACTS, of_slices(values), every_line(values), noise)


WRITERS = (to_mat73, to_classic, to_fastmri, to_ismrmrd)
FORMATS = ("cmrxrecon-mat", "cmrxrecon-mat", "fastmri-h5", "ismrmrd-h5")
for_every_writer = pytest.mark.parametrize("write", WRITERS)
every_format = pytest.mark.parametrize(
    ("write", "reader"), list(zip(WRITERS, FORMATS, strict=True))
)


def fitting(write, shape):
    return (1, *shape[1:]) if write is to_fastmri else shape


def bits(array):
    return np.ascontiguousarray(array).view(np.uint32)


def require_same_bits(scan, values):
    for index in range(values.shape[1]):
        np.testing.assert_array_equal(bits(scan.slice_kspace(index)), bits(values[:, index]))


@every_format
@pytest.mark.parametrize("shape", [*SHAPES, T1W, (1, 2, 1, 1, 5)])
def test_our_reader_gets_every_bit(write, reader, shape, tmp_path):
    values = volume(fitting(write, shape))
    write(tmp_path / "new" / "scan.dat", values)
    scan = open_scan(tmp_path / "new" / "scan.dat")
    n_frames, n_slices, n_coils, n_y, n_x = values.shape
    header = scan.header
    assert (scan.format, header.dtype) == (reader, "complex64")
    assert (header.n_frames, header.n_slices, header.n_coils) == (n_frames, n_slices, n_coils)
    assert header.matrix == (n_y, n_x)
    require_same_bits(scan, values)


@for_every_writer
@pytest.mark.parametrize("scale", [1e-3, 1e8])
def test_no_scale_loses_a_bit(write, scale, tmp_path):
    values = volume(fitting(write, SHAPES[0])) * np.float32(scale)
    write(tmp_path / "scan.dat", values)
    require_same_bits(open_scan(tmp_path / "scan.dat"), values)


@for_every_writer
def test_values_need_not_lie_one_after_another(write, tmp_path):
    values = volume(fitting(write, SHAPES[1])).swapaxes(-1, -2)
    write(tmp_path / "scan.dat", values)
    require_same_bits(open_scan(tmp_path / "scan.dat"), values)


@for_every_writer
def test_an_older_file_is_replaced(write, tmp_path):
    (tmp_path / "scan.dat").write_bytes(b"old" * 10**5)
    values = volume(fitting(write, SHAPES[0]))
    write(tmp_path / "scan.dat", values)
    require_same_bits(open_scan(tmp_path / "scan.dat"), values)
    assert list(tmp_path.iterdir()) == [tmp_path / "scan.dat"]


@for_every_writer
def test_the_same_scan_is_the_same_file(write, tmp_path, monkeypatch):
    values = volume(fitting(write, SHAPES[0]))
    write(tmp_path / "a", values)
    monkeypatch.setattr("time.asctime", lambda *_: "Thu Jan  1 00:00:00 1970")
    write(tmp_path / "b", values)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@contextmanager
def files_limited_to(n_bytes):
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@for_every_writer
@pytest.mark.parametrize("limit", [0, 500, 5000])
def test_a_file_that_the_system_cuts_short_leaves_the_old_one(write, limit, tmp_path):
    (tmp_path / "scan.dat").write_bytes(b"old")
    values = volume(fitting(write, (2, 3, 4, 20, 30)))
    with files_limited_to(limit), pytest.raises(OutputError, match=r"^scan\.dat: cannot be"):
        write(tmp_path / "scan.dat", values)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


@for_every_writer
def test_a_full_disk_is_found_before_anything_is_written(write, tmp_path, monkeypatch):
    def no_file(*_args, **_options):
        raise AssertionError

    usage = namedtuple("usage", "total used free")(2**30, 0, 20_000)
    monkeypatch.setattr(atomic.shutil, "disk_usage", lambda _: usage)
    monkeypatch.setattr(atomic, "_new_file_beside", no_file)
    with pytest.raises(OutputError, match=r"^scan\.dat: needs 0\.. MiB, 0\.0 MiB are free"):
        write(tmp_path / "scan.dat", volume(fitting(write, (2, 3, 4, 20, 30))))


@for_every_writer
def test_no_path_name_or_time_is_in_the_file(write, tmp_path):
    path = tmp_path / "CANARY_folder" / "CANARY_scan.dat"
    write(path, volume(fitting(write, SHAPES[0])))
    content = path.read_bytes()
    for word in (b"CANARY", b"Created", b"patientName", b"patient_id", b"Linux", b"posix"):
        assert word not in content


@pytest.mark.parametrize(
    "wrong",
    [
        {"voxel_size_mm": (1.0, 0.0, 1.0)},
        {"voxel_size_mm": (1.0, float("nan"), 1.0)},
        {"readout_oversampling": 0.5},
        {"readout_oversampling": float("inf")},
        {"dwell_us": -1.0},
    ],
)
def test_facts_that_cannot_be_are_refused(wrong):
    facts = {"voxel_size_mm": (1.0, 1.0, 1.0), **wrong}
    with pytest.raises(DataError, match="needed"):
        ScanFacts(UNKNOWN_SITE, "x", **facts)


def test_space_is_asked_of_the_nearest_folder_that_exists(tmp_path, monkeypatch):
    asked = []
    usage = namedtuple("usage", "total used free")(2**30, 0, 5 * 2**20)
    monkeypatch.setattr(atomic.shutil, "disk_usage", lambda folder: asked.append(folder) or usage)
    require_space(tmp_path / "new" / "newer" / "a.mat", 5 * 2**20)
    assert asked == [tmp_path]
    with pytest.raises(OutputError, match=r"^a\.mat: needs 5\.0 MiB, 5\.0 MiB are free$"):
        require_space(tmp_path / "a.mat", 5 * 2**20 + 1)


def test_space_that_cannot_be_asked_for_is_an_output_error(tmp_path, monkeypatch):
    def fail(_):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(atomic.shutil, "disk_usage", fail)
    with pytest.raises(OutputError, match=r"^a\.mat: cannot be written: permission denied"):
        require_space(tmp_path / "a.mat", 1)
