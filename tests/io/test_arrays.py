"""Plain arrays: axes by number or by name, and the optional fields beside k-space."""

import json
import zipfile

import h5py
import numpy as np
import pytest

from containers import volume, write_fastmri, write_npz, write_plain_h5
from mrcli.errors import DataError, InputError, MissingField, ShapeError
from mrcli.io.hdf5 import HARMLESS_BYTES
from mrcli.io.npy import list_members
from mrcli.io.registry import open_scan
from mrcli.scan import MaskSource
from mrcli.site import UNKNOWN_SITE, Site

VALUES = volume((3, 2, 4, 5, 8))
in_both = pytest.mark.parametrize("write", [write_npz, write_plain_h5])


@pytest.fixture
def path(tmp_path):
    return tmp_path / "scan.npz"


def save_npy(path, values):
    with path.open("wb") as file:
        np.save(file, values)
    return path


@pytest.mark.parametrize("n_axes", [5, 4, 3, 2])
def test_leading_axes_may_lack_and_a_matrix_is_one_coil(n_axes, path):
    values = VALUES[(0,) * (5 - n_axes)]
    header = open_scan(save_npy(path, values)).header
    sizes = (header.n_frames, header.n_slices, header.n_coils, *header.matrix)
    assert sizes == (1,) * (5 - n_axes) + values.shape


@pytest.mark.parametrize("shape", [(), (8,), (1, 1, 1, 1, 5, 8)])
def test_other_numbers_of_axes_are_refused(shape, path):
    with pytest.raises(ShapeError, match="needed are 2 to 5"):
        open_scan(save_npy(path, np.ones(shape, np.complex64)))


@pytest.mark.parametrize("order", ["x,y,coil,slice,frame", "coil, y ,x,frame,slice"])
def test_named_axes_bring_any_order_back(order, path):
    names = [name.strip() for name in order.split(",")]
    canonical = ["frame", "slice", "coil", "y", "x"]
    stored = VALUES.transpose([canonical.index(name) for name in names])
    scan = open_scan(save_npy(path, stored), axes=order)
    np.testing.assert_array_equal(scan.slice_kspace(1), VALUES[:, 1])


def test_named_axes_may_leave_out_those_of_length_one(path):
    scan = open_scan(save_npy(path, VALUES[0, 0, 0].T), axes="x,y")
    np.testing.assert_array_equal(scan.slice_kspace(0)[0, 0], VALUES[0, 0, 0])


@pytest.mark.parametrize(
    ("axes", "error", "words"),
    [
        ("coil,y", InputError, "y and x are needed"),
        ("y,x,x", InputError, "no axis twice"),
        ("y,x,channel", InputError, "'channel' is no axis"),
        ("y,x", ShapeError, r"name 2 axes, k-space of shape \(4, 5, 8\) has 3"),
    ],
)
def test_axes_that_cannot_be_are_refused(axes, error, words, path):
    with pytest.raises(error, match=words):
        open_scan(save_npy(path, VALUES[0, 0]), axes=axes)


def test_axes_for_a_container_that_knows_its_own_are_refused(tmp_path):
    write_fastmri(tmp_path / "scan.h5", VALUES[:1])
    with pytest.raises(InputError, match="states its own axes"):
        open_scan(tmp_path / "scan.h5", axes="x,y,coil,slice")


@pytest.mark.parametrize("shape", [(240, 180, 8), (129, 200, 200), (12, 6, 8)])
def test_a_coil_axis_that_cannot_be_one_is_refused_with_the_shape(shape, path):
    with pytest.raises(ShapeError, match="coils for a matrix of") as caught:
        open_scan(save_npy(path, np.ones(shape, np.complex64)))
    assert str(shape) in caught.value.message
    assert "--axes" in caught.value.hint


def test_column_major_files_are_read(path):
    stored = np.asfortranarray(VALUES)
    np.testing.assert_array_equal(open_scan(save_npy(path, stored)).slice_kspace(1), VALUES[:, 1])
    write_npz(path, stored)
    np.testing.assert_array_equal(open_scan(path).slice_kspace(1), VALUES[:, 1])


@pytest.mark.parametrize("values", [VALUES.real, VALUES.real.astype(int), VALUES.real > 0])
def test_arrays_that_are_not_complex_are_refused(values, path):
    with pytest.raises(DataError, match="k-space is complex"):
        open_scan(save_npy(path, values))


def test_objects_are_never_unpickled(path):
    with path.open("wb") as file:
        np.save(file, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError):
        open_scan(path)
    np.savez(path, kspace=np.array([{"a": 1}], dtype=object))
    with pytest.raises(DataError):
        open_scan(path)


def test_bytes_behind_the_array_are_refused(path):
    save_npy(path, VALUES)
    with path.open("ab") as file:
        file.write(b"more")
    with pytest.raises(DataError, match="bytes, an array of shape"):
        open_scan(path)


@pytest.mark.parametrize("shape", ["(-1, 5, 8)", "(99999999, 99999999, 8)", "(10**9,)", "'a'"])
def test_impossible_shapes_are_refused(shape, path):
    text = f"{{'descr': '<c8', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode())
    with pytest.raises(DataError):
        open_scan(path)


def test_a_file_that_shrinks_after_it_was_opened_is_refused(path):
    scan = open_scan(save_npy(path, VALUES))
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(DataError):
        scan.slice_kspace(0)


# fields


@in_both
def test_all_fields_are_read(write, path):
    mask = np.arange(5) % 2
    noise = VALUES[0, 0].reshape(4, -1)
    reference = np.abs(VALUES[:, :, 0])
    write(
        path,
        VALUES,
        mask=mask,
        noise=noise,
        reference=reference,
        kspace_full=2 * VALUES,
        voxel_size_mm=np.array([1.5, 2, 8]),
        site="North Hospital",
        protocol="cine",
    )
    scan = open_scan(path)
    assert (scan.mask.flatten().tolist(), scan.mask_source) == (mask.tolist(), MaskSource.FILE)
    np.testing.assert_array_equal(scan.noise, noise)
    np.testing.assert_array_equal(scan.reference_image, reference)
    np.testing.assert_array_equal(scan.load_reference_slice(1), 2 * VALUES[:, 1])
    assert scan.header.voxel_size_mm == (1.5, 2.0, 8.0)
    assert (scan.header.site, scan.header.protocol) == (Site(center="North Hospital"), "cine")


@in_both
def test_full_kspace_alone_is_the_scan(write, path):
    write(path, VALUES, name="kspace_full")
    np.testing.assert_array_equal(open_scan(path).slice_kspace(0), VALUES[:, 0])


@in_both
def test_single_coil_kspace_has_no_axis_of_coils_unless_one_is_named(write, path):
    values = VALUES[:, :, 0]
    write(path, values, name="kspace_single_full")
    scan = open_scan(path)
    np.testing.assert_array_equal(scan.slice_kspace(1)[:, 0], values[:, 1])
    assert [finding.code for finding in scan.findings] == ["single-coil"]
    named = open_scan(path, axes="frame,coil,y,x")
    np.testing.assert_array_equal(named.slice_kspace(0), values)
    assert named.findings == ()


@in_both
def test_a_mask_of_slices_belongs_to_its_slices(write, path):
    mask = np.array([[1, 0, 1, 1, 0], [0, 1, 1, 0, 0]]).reshape(2, 1, 5, 1)
    write(path, VALUES, mask=mask)
    for index in range(2):
        lines = open_scan(path).slice_mask(index)
        assert lines.shape == (1, 1, 5, 1)
        np.testing.assert_array_equal(lines.flatten(), mask[index].ravel() == 1)


@in_both
def test_a_site_may_be_told_in_full(write, path):
    site = {"center": "Center001", "vendor": "UIH", "scanner": "umr780", "field_strength_t": 3}
    write(path, VALUES, site=json.dumps(site))
    assert open_scan(path).header.site == Site("Center001", "umr780", "UIH", 3.0)


@in_both
def test_without_fields_nothing_is_claimed(write, path):
    write(path, VALUES)
    scan = open_scan(path)
    assert (scan.mask, scan.noise, scan.reference_image) == (None, None, None)
    assert (scan.header.site, scan.header.voxel_size_mm) == (UNKNOWN_SITE, None)


@pytest.mark.parametrize("shape", [(5, 8), (2, 5, 8), (3, 2, 5, 8)])
def test_reference_may_leave_out_axes_of_length_one(shape, path):
    n_frames, n_slices = (1, 1, *shape[:-2])[-2:]
    image = np.ones(shape)
    write_npz(path, VALUES[:n_frames, :n_slices], reference=image)
    assert open_scan(path).reference_image.shape == (n_frames, n_slices, 5, 8)


@in_both
@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"mask": np.ones((5, 7))}, "does not fit"),
        ({"mask": np.full(5, 0.5)}, "other than 0 and 1"),
        ({"noise": np.ones((3, 9), np.complex64)}, r"'noise' has shape \(3, 9\)"),
        ({"noise": np.ones((4, 9))}, "'noise' has shape"),
        ({"reference": np.ones((5, 8))}, r"'reference' has shape \(5, 8\)"),
        ({"reference": np.ones((3, 2, 5, 8), complex)}, "'reference' has shape"),
        ({"kspace_full": VALUES[:, :, :3]}, "'kspace_full' has"),
        ({"kspace_full": VALUES.real}, "k-space is complex"),
        ({"voxel_size_mm": np.array([1.0, 2])}, "no three sizes"),
        ({"voxel_size_mm": np.array([1.0, 2, -3])}, "no three sizes"),
        ({"voxel_size_mm": np.array([1.0, 2, np.nan])}, "no three sizes"),
        ({"voxel_size_mm": np.array([1.0, 2, np.inf])}, "no three sizes"),
        ({"site": '{"centre": "a"}'}, "has a key 'centre'"),
        ({"site": '{"center"'}, "no JSON"),
        ({"protocol": np.ones(3)}, "are text"),
    ],
)
def test_a_field_that_cannot_be_is_refused(write, fields, words, path):
    write(path, VALUES, **fields)
    with pytest.raises(DataError, match=words):
        open_scan(path)


# archives


def test_an_archive_of_other_things_lists_them(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "words")
    with pytest.raises(DataError, match="a ZIP archive"):
        open_scan(path)
    with pytest.raises(MissingField, match="'kspace'"):
        open_scan(path, reader="npz")


def test_an_archive_that_claims_far_more_than_it_stores_is_refused(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("kspace.npy", bytes(HARMLESS_BYTES + 1))
    with pytest.raises(DataError, match="the limit is 200 to 1"):
        open_scan(path, reader="npz")


def test_a_changed_byte_in_an_archive_is_noticed(path):
    write_npz(path, VALUES)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="truncated, corrupt"):
        open_scan(path).slice_kspace(0)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_stands_twice_is_refused(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("kspace.npy", b"a")
        archive.writestr("kspace.npy", b"b")
    with pytest.raises(DataError, match="each name once"):
        list_members(path)


def test_site_of_plain_hdf5_may_be_an_attribute(path):
    write_plain_h5(path, VALUES)
    with h5py.File(path, "r+") as file:
        file.attrs["site"] = "North Hospital"
    assert open_scan(path).header.site.center == "North Hospital"
