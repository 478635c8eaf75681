"""MAT files of CMRxRecon, written slice by slice, as our reader and other programs see them."""

import errno
import gc
import io
import os
import tracemalloc
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io

from containers import SHAPES, volume
from mrcli.errors import OutputError, ShapeError
from mrcli.io.cmrxrecon_classic import write_classic_mask_mat, write_classic_mat
from mrcli.io.cmrxrecon_files import open_kspace_mat, write_kspace_mat, write_mask_mat
from mrcli.io.registry import open_scan


def test_slices_come_in_any_order(tmp_path):
    values = volume(SHAPES[1])
    with open_kspace_mat(tmp_path / "a.mat", "kus", values.shape) as write_slice:
        for index in (2, 0, 1):
            write_slice(index, values[:, index])
    scan = open_scan(tmp_path / "a.mat")
    for index in range(3):
        np.testing.assert_array_equal(scan.slice_kspace(index), values[:, index])


def test_the_file_appears_when_the_last_slice_is_written(tmp_path):
    values, seen = volume(SHAPES[0]), []
    with open_kspace_mat(tmp_path / "a.mat", "kus", values.shape) as write_slice:
        for index in range(2):
            write_slice(index, values[:, index])
            seen.append((tmp_path / "a.mat").exists())
    assert seen == [False, False]
    assert list(tmp_path.iterdir()) == [tmp_path / "a.mat"]


def write_slices(path, values, order):
    with open_kspace_mat(path, "kus", values.shape) as write_slice:
        for index in order:
            write_slice(index, values[:, max(0, min(index, values.shape[1] - 1))])


@pytest.mark.parametrize(
    ("order", "words"),
    [
        ((), "slice 0 was not written, 3 of 3 are missing"),
        ((0, 2), "slice 1 was not written, 1 of 3 are missing"),
        ((0, 1, 1), "slice 1 was written already"),
        ((0, 1, 2, 3), "slice 3 does not exist, there are 3"),
        ((-1,), "slice -1 does not exist"),
    ],
)
def test_a_slice_missing_twice_or_beyond_the_end_is_refused(order, words, tmp_path):
    with pytest.raises(ShapeError, match=rf"^a\.mat: {words}"):
        write_slices(tmp_path / "a.mat", volume(SHAPES[1]), order)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("shape", [(3, 2, 6, 7), (2, 3, 6, 7), (2, 2, 7, 6), (1, 2, 6, 7)])
def test_a_slice_of_another_shape_is_refused(shape, tmp_path):
    path = tmp_path / "a.mat"
    with (
        pytest.raises(ShapeError, match=r"^a\.mat: slice 1 .*, needed is \(2, 2, 6, 7\)$"),
        open_kspace_mat(path, "kus", SHAPES[1]) as write_slice,
    ):
        write_slice(1, np.zeros(shape, np.complex64))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("axis", range(5))
def test_an_empty_axis_is_refused(axis, tmp_path):
    shape = tuple(0 if i == axis else n for i, n in enumerate(SHAPES[0]))
    with pytest.raises(ShapeError, match="is empty"):
        write_kspace_mat(tmp_path / "a.mat", "kus", np.zeros(shape, np.complex64))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("failure", [KeyboardInterrupt, ValueError, MemoryError])
def test_an_interrupted_file_leaves_the_old_one_and_nothing_else(failure, tmp_path):
    values, path = volume(SHAPES[0]), tmp_path / "a.mat"
    path.write_bytes(b"old")

    def write_half():
        with open_kspace_mat(path, "kus", values.shape) as write_slice:
            write_slice(0, values[:, 0])
            raise failure

    with pytest.raises(failure):
        write_half()
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"old"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_disk_that_fills_up_between_slices_is_named_and_leaves_nothing(
    code, tmp_path, monkeypatch
):
    values = volume(SHAPES[1])
    opened = Path.open

    class Filling(io.BufferedRandom):
        def write(self, content):
            if self.tell() > 2000:
                raise OSError(code, os.strerror(code))
            return super().write(content)

    monkeypatch.setattr(Path, "open", lambda self, _: Filling(opened(self, "r+b", buffering=0)))
    with pytest.raises(OutputError, match=rf"^a\.mat: .*: {os.strerror(code).lower()}$"):
        write_slices(tmp_path / "a.mat", values, range(3))
    assert list(tmp_path.iterdir()) == []


def test_memory_holds_a_slice_and_not_the_file(tmp_path):
    shape = (2, 40, 4, 64, 64)
    block = volume((2, 1, *shape[2:]))[:, 0]
    write_slices(tmp_path / "warm.mat", block[:, None], [0])
    gc.collect()
    tracemalloc.start()
    with open_kspace_mat(tmp_path / "a.mat", "kus", shape) as write_slice:
        for index in range(shape[1]):
            write_slice(index, block)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * block.nbytes < (tmp_path / "a.mat").stat().st_size / 20


def test_a_mat73_file_is_hdf5_behind_a_matlab_header(tmp_path):
    values = volume(SHAPES[0])
    write_kspace_mat(tmp_path / "a.mat", "kspace_full", values)
    head = (tmp_path / "a.mat").read_bytes()[:128]
    assert head == b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM"
    with h5py.File(tmp_path / "a.mat") as file:
        dataset = file["kspace_full"]
        assert (list(file), file.userblock_size) == (["kspace_full"], 512)
        assert dict(dataset.attrs) == {"MATLAB_class": b"single"}
        assert dataset.dtype == np.dtype([("real", "<f4"), ("imag", "<f4")])
        np.testing.assert_array_equal(dataset["real"], values.real)
        np.testing.assert_array_equal(dataset["imag"], values.imag)


def test_a_mat73_file_has_no_byte_beside_header_and_values(tmp_path):
    values = volume(SHAPES[0])
    write_kspace_mat(tmp_path / "a.mat", "kspace", values)
    content = (tmp_path / "a.mat").read_bytes()
    assert content.endswith(values.tobytes())
    assert len(content) - values.nbytes < 4096


@pytest.mark.parametrize(
    ("shape", "dims"),
    [
        ((1, 11, 10, 248, 512), (512, 248, 10, 11)),  # as the T1w files of CMRxRecon2025
        ((3, 2, 4, 5, 8), (8, 5, 4, 2, 3)),
        ((2, 1, 1, 5, 8), (8, 5, 1, 1, 2)),
        ((1, 1, 3, 5, 8), (8, 5, 3)),
        ((1, 1, 1, 5, 8), (8, 5)),
        ((1, 1, 1, 1, 1), (1, 1)),
    ],
)
def test_a_classic_file_lacks_trailing_axes_as_matlab_does(shape, dims, tmp_path):
    values = volume(shape)
    write_classic_mat(tmp_path / "a.mat", "kspace", values)
    assert scipy.io.whosmat(tmp_path / "a.mat") == [("kspace", dims, "single")]
    loaded = scipy.io.loadmat(tmp_path / "a.mat")["kspace"]
    np.testing.assert_array_equal(loaded.reshape(shape[::-1]), values.T)
    assert loaded.dtype == np.complex64


def test_a_classic_file_refuses_what_the_format_cannot_count(tmp_path):
    shape = (2, 16, 16, 1024, 512)
    kspace = np.broadcast_to(np.zeros((), np.complex64), shape)
    with pytest.raises(OutputError, match=r"^a\.mat: .*'kus' has 2147483648 bytes") as caught:
        write_classic_mat(tmp_path / "a.mat", "kus", kspace)
    assert "7.3" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("write_mask", [write_mask_mat, write_classic_mask_mat])
@pytest.mark.parametrize("n_frames", [1, 3])
def test_a_mask_of_either_kind_is_read_back(write_mask, n_frames, tmp_path):
    values = volume((n_frames, 2, 2, 6, 7))
    mask = np.random.default_rng(0).random((n_frames, 6, 7)) < 0.5
    write_kspace_mat(tmp_path / "a.mat", "kus", values)
    write_mask(tmp_path / "mask.mat", mask)
    scan = open_scan(tmp_path / "a.mat", mask_path=tmp_path / "mask.mat")
    np.testing.assert_array_equal(scan.mask[:, 0, 0], mask)
