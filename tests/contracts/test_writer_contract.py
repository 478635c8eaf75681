"""What every image format promises, asked of all of them."""

import errno
import os

import numpy as np
import pytest

from mrcli.errors import DataError, InputError, NotFinite, OutputError, ShapeError, UnknownFormat
from mrcli.image import ReconVolume
from mrcli.io import atomic
from mrcli.io.image_files import WRITERS, read_image, writers_named

for_every_writer = pytest.mark.parametrize("writer", WRITERS, ids=lambda writer: writer.name)
OBLIQUE = np.array([[0, -1.5, 0, 7], [2, 0, 0, -3], [0, 0, 8, 11], [0, 0, 0, 1.0]])
SIZE_MM = (2.0, 1.5, 8.0)


def volume(*shape, scale=1.0, **geometry):
    values = np.random.default_rng(0).standard_normal(shape) * scale
    return ReconVolume(np.abs(values).astype(np.float32), **geometry)


@for_every_writer
@pytest.mark.parametrize("shape", [(2, 3, 5, 4), (1, 1, 5, 4), (1, 3, 1, 1), (2, 1, 1, 7)])
def test_what_was_written_is_read_back(tmp_path, writer, shape):
    path = tmp_path / f"image{writer.suffix}"
    written = volume(*shape, voxel_size_mm=SIZE_MM, affine=OBLIQUE)
    writer.write(path, written, overwrite=False)
    found = read_image(path)
    np.testing.assert_array_equal(found.data, written.data)
    np.testing.assert_allclose(found.affine, OBLIQUE, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(found.voxel_size_mm, SIZE_MM, rtol=1e-6)


@for_every_writer
@pytest.mark.parametrize("size_mm", [None, SIZE_MM])
def test_unknown_geometry_stays_unknown(tmp_path, writer, size_mm):
    path = tmp_path / f"image{writer.suffix}"
    writer.write(path, volume(1, 2, 3, 4, voxel_size_mm=size_mm), overwrite=False)
    found = read_image(path)
    assert found.affine is None
    assert found.voxel_size_mm == size_mm


@for_every_writer
@pytest.mark.parametrize("scale", [1e-20, 1e-9, 1e9, 1e20])
def test_no_scale_is_lost(tmp_path, writer, scale):
    path = tmp_path / f"image{writer.suffix}"
    written = volume(1, 2, 3, 4, scale=scale)
    writer.write(path, written, overwrite=False)
    np.testing.assert_array_equal(read_image(path).data, written.data)


@for_every_writer
def test_the_format_is_told_by_content_not_by_name(tmp_path, writer):
    path = tmp_path / f"image{writer.suffix}"
    written = volume(1, 2, 3, 4)
    writer.write(path, written, overwrite=False)
    renamed = path.rename(tmp_path / "image.dat")
    np.testing.assert_array_equal(read_image(renamed).data, written.data)


@for_every_writer
def test_the_same_image_gives_the_same_bytes(tmp_path, writer):
    for name in "ab":
        writer.write(tmp_path / f"{name}{writer.suffix}", volume(2, 2, 3, 4), overwrite=False)
    first, second = sorted(tmp_path.iterdir())
    assert first.read_bytes() == second.read_bytes()


@for_every_writer
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_not_written(tmp_path, writer, value):
    bad = volume(1, 2, 3, 4)
    bad.data[0, 1, 2, 3] = value
    with pytest.raises(NotFinite, match="1 of 24 values"):
        writer.write(tmp_path / f"image{writer.suffix}", bad, overwrite=False)
    assert list(tmp_path.iterdir()) == []


@for_every_writer
def test_an_image_is_replaced_only_on_request(tmp_path, writer):
    path = tmp_path / f"image{writer.suffix}"
    path.write_bytes(b"precious")
    with pytest.raises(OutputError, match="exists already"):
        writer.write(path, volume(1, 1, 2, 2), overwrite=False)
    assert path.read_bytes() == b"precious"
    writer.write(path, volume(1, 1, 2, 2), overwrite=True)
    assert read_image(path).data.shape == (1, 1, 2, 2)


@for_every_writer
def test_a_full_disk_leaves_nothing(tmp_path, writer, monkeypatch):
    def fail(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(atomic.os, "fsync", fail)
    with pytest.raises(OutputError, match="no space left"):
        writer.write(tmp_path / f"image{writer.suffix}", volume(1, 1, 2, 2), overwrite=False)
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == []


@for_every_writer
def test_a_file_cut_off_anywhere_is_a_data_error(tmp_path, writer):
    path = tmp_path / f"image{writer.suffix}"
    writer.write(path, volume(1, 2, 9, 8, affine=OBLIQUE), overwrite=False)
    whole = path.read_bytes()
    for n_bytes in np.linspace(1, len(whole) - 1, 60, dtype=int):
        path.write_bytes(whole[:n_bytes])
        with pytest.raises(DataError, match=path.name):
            read_image(path)


@for_every_writer
def test_bytes_changed_at_random_give_an_image_or_a_data_error(tmp_path, writer):
    path = tmp_path / f"image{writer.suffix}"
    writer.write(path, volume(1, 1, 4, 4, affine=OBLIQUE), overwrite=False)
    whole, random = path.read_bytes(), np.random.default_rng(1)
    n_refused = 0
    for position in random.integers(len(whole), size=150):
        changed = bytearray(whole)
        changed[position] ^= 1 << random.integers(8)
        path.write_bytes(changed)
        try:
            read_image(path)
        except DataError:  # anything else fails the test
            n_refused += 1
    assert n_refused > 0


def test_complex_values_survive_in_hdf5(tmp_path):
    values = np.random.default_rng(0).standard_normal((2, 1, 2, 3, 4))
    image = ReconVolume((values[0] + 1j * values[1]).astype(np.complex64))
    (writer,) = writers_named(["h5"])
    writer.write(tmp_path / "image.h5", image, overwrite=False)
    np.testing.assert_array_equal(read_image(tmp_path / "image.h5").data, image.data)


@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 4), (5, 2, 3, 4)])
def test_plain_arrays_gain_the_leading_axes_that_they_lack(tmp_path, shape):
    np.save(tmp_path / "image.npy", np.ones(shape))
    expected = (1,) * (4 - len(shape)) + shape
    assert read_image(tmp_path / "image.npy").data.shape == expected


def test_what_is_no_image_is_refused(tmp_path):
    (tmp_path / "photo.h5").write_bytes(b"\xff\xd8\xff\xe0")
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    np.save(tmp_path / "line.npy", np.ones(3))
    with pytest.raises(UnknownFormat, match=r"photo\.h5"):
        read_image(tmp_path / "photo.h5")
    with pytest.raises(DataError, match=r"objects\.npy"):
        read_image(tmp_path / "objects.npy")
    with pytest.raises(DataError, match="1 axes"):
        read_image(tmp_path / "line.npy")
    with pytest.raises(InputError, match="no such file"):
        read_image(tmp_path / "absent.nii")
    with pytest.raises(InputError, match="a folder"):
        read_image(tmp_path)


def test_writers_are_found_by_name_in_order_and_once():
    assert [writer.name for writer in writers_named(["h5", "nifti", "h5"])] == ["h5", "nifti"]
    with pytest.raises(InputError, match="'tiff'"):
        writers_named(["tiff"])


@pytest.mark.parametrize("shape", [(2, 3, 4), (1, 1, 0, 4), (1, 1, 1, 1, 1)])
def test_a_volume_has_four_axes_none_of_them_empty(shape):
    with pytest.raises(ShapeError, match="needed is"):
        ReconVolume(np.zeros(shape, np.float32))


@pytest.mark.parametrize("affine", [np.zeros((4, 4)), np.full((4, 4), np.nan), np.eye(3)])
def test_an_affine_that_places_nothing_is_refused(affine):
    with pytest.raises(ShapeError, match="affine"):
        volume(1, 1, 2, 2, affine=affine)
