"""fastMRI files: axes, oversampling, mask and reference."""

import h5py
import numpy as np
import pytest
import torch

from containers import mrd_xml, volume, write_fastmri
from mrcli.errors import DataError, MissingField, ShapeError
from mrcli.io.registry import open_scan
from mrcli.physics.encoding import crop_readout, fft2c
from mrcli.scan import MaskSource
from mrcli.site import Site

VALUES = volume((1, 2, 3, 5, 8))
N_SLICES, N_Y, N_X = 2, 5, 8


@pytest.fixture
def path(tmp_path):
    return tmp_path / "scan.h5"


def codes(scan):
    return [finding.code for finding in scan.findings]


def test_point_in_the_stored_image_lands_where_readout_is_x(path):
    image = torch.zeros(1, 1, 1, N_Y, N_X, dtype=torch.complex64)
    image[..., 1, 6] = 1
    write_fastmri(path, fft2c(image).numpy())
    with h5py.File(path) as file:
        assert file["kspace"].shape == (1, 1, N_X, N_Y)
    torch.testing.assert_close(open_scan(path).slice_kspace(0), fft2c(image)[:, 0])


def test_single_coil_is_one_coil(path):
    write_fastmri(path, VALUES[:, :, 0])
    scan = open_scan(path)
    assert scan.header.slice_shape == (1, 1, N_Y, N_X)
    np.testing.assert_array_equal(scan.slice_kspace(1)[0, 0], VALUES[0, 1, 0])


def test_facts_come_from_header_and_attribute_and_none_of_the_person(path):
    write_fastmri(path, VALUES)
    header = open_scan(path).header
    assert header.site == Site("North Hospital", "Prisma", "Siemens", 2.89)
    assert header.protocol == "AXT2"
    assert header.voxel_size_mm == (300 / N_X, 200 / N_Y, 8.0)
    assert "CANARY" not in repr(header)


def test_readout_oversampling_is_removed_with_a_finding(path):
    xml = mrd_xml(N_Y, N_X, fov=(560.0, 200, 8), recon_fov=(280.0, 200, 8))
    write_fastmri(path, VALUES, xml=xml)
    scan = open_scan(path)
    assert scan.header.matrix == (N_Y, 4)
    assert scan.header.voxel_size_mm[0] == 70.0
    stored = torch.from_numpy(VALUES[:, 1].copy())
    torch.testing.assert_close(scan.slice_kspace(1), crop_readout(stored, 4))
    assert codes(scan) == ["readout-oversampling-removed"]


@pytest.mark.parametrize("dtype", [bool, np.float32])
def test_mask_is_over_the_phase_encode_lines(dtype, path):
    lines = np.array([1, 0, 1, 1, 0])
    write_fastmri(path, VALUES, mask=lines.astype(dtype))
    scan = open_scan(path)
    assert scan.mask.shape == (1, 1, 1, N_Y, 1)
    np.testing.assert_array_equal(scan.mask.flatten(), lines == 1)
    assert scan.mask_source is MaskSource.FILE


def test_mask_over_the_readout_is_refused(path):
    write_fastmri(path, VALUES, mask=np.ones(N_X))
    with pytest.raises(ShapeError, match=r"scan\.h5"):
        open_scan(path)


def test_without_a_mask_none_is_claimed(path):
    write_fastmri(path, VALUES)
    assert open_scan(path).mask is None


@pytest.mark.parametrize("name", ["reconstruction_rss", "reconstruction_esc"])
def test_reference_image_gets_our_axes(name, path):
    image = np.arange(N_SLICES * N_X * N_Y, dtype=np.float32).reshape(N_SLICES, N_X, N_Y)
    write_fastmri(path, VALUES, **{name: image})
    scan = open_scan(path)
    assert scan.reference_image.shape == (1, N_SLICES, N_Y, N_X)
    assert scan.reference_image[0, 1, 2, 3] == image[1, 3, 2]


def test_reference_of_another_size_is_left_out_with_a_finding(path):
    write_fastmri(path, VALUES, reconstruction_rss=np.ones((N_SLICES, 4, 4), np.float32))
    scan = open_scan(path)
    assert scan.reference_image is None
    assert codes(scan) == ["reference-left-out"]
    assert "(2, 4, 4), k-space gives (2, 8, 5)" in scan.findings[0].message


def limits(first, last, center):
    return (
        f"<kspace_encoding_step_1><minimum>{first}</minimum><maximum>{last}</maximum>"
        f"<center>{center}</center></kspace_encoding_step_1>"
    )


@pytest.mark.parametrize("n_y", [92, 93])
@pytest.mark.parametrize("first", [0, 2])
def test_lines_beyond_the_encoding_limits_are_padding_and_not_acquired(first, n_y, path):
    values = volume((1, 1, 2, n_y, 8))
    acquired = np.arange(n_y)
    start, stop = n_y // 2 - 40 + first, n_y // 2 - 40 + 81
    acquired = (acquired >= start) & (acquired < stop)
    xml = mrd_xml(n_y, 8, limits=limits(first, 80, 40))
    lines = np.arange(n_y) % 4 == 0
    lines[:8] = lines[-8:] = True
    for fields, expected in (({}, acquired), ({"mask": lines}, lines & acquired)):
        write_fastmri(path, values, xml=xml, **fields)
        scan = open_scan(path)
        np.testing.assert_array_equal(scan.mask.flatten(), expected)
        assert scan.mask_source is MaskSource.FILE
        assert codes(scan) == ["zero-padding"]
        text = f"the {start} lines before and {n_y - stop} after them"
        assert text in scan.findings[0].message


def test_a_mask_that_leaves_the_padding_out_is_kept_as_it_is(path):
    xml = mrd_xml(N_Y, N_X, limits=limits(0, 2, 1))
    write_fastmri(path, VALUES, xml=xml, mask=np.array([0, 1, 1, 0, 0]))
    scan = open_scan(path)
    assert scan.mask.flatten().tolist() == [False, True, True, False, False]
    assert codes(scan) == []


NO_CENTER = limits(0, 2, 1).replace("<center>1</center>", "")
NO_MAXIMUM = limits(0, 2, 1).replace("<maximum>2</maximum>", "")


@pytest.mark.parametrize("unset", [limits(0, 0, 0), limits(0, 4, 2), NO_CENTER, NO_MAXIMUM])
def test_limits_that_are_unset_or_span_the_matrix_claim_no_mask(unset, path):
    write_fastmri(path, VALUES, xml=mrd_xml(N_Y, N_X, limits=unset))
    scan = open_scan(path)
    assert (scan.mask, codes(scan)) == (None, [])


def test_limits_beyond_the_matrix_are_not_used_and_that_is_said(path):
    write_fastmri(path, VALUES, xml=mrd_xml(N_Y, N_X, limits=limits(0, 9, 5)), mask=np.ones(N_Y))
    scan = open_scan(path)
    assert scan.mask.all()
    assert codes(scan) == ["encoding-limits-unused"]


@pytest.mark.parametrize(
    ("values", "axes"), [(VALUES, "slice,coil,x,y"), (VALUES[:, :, 0], "slice,x,y")]
)
def test_a_lost_header_is_named_with_the_axes_that_read_the_file_without_it(values, axes, path):
    write_fastmri(path, values, reconstruction_rss=np.ones((2, 4, 4), np.float32))
    with h5py.File(path, "r+") as file:
        del file["ismrmrd_header"]
    with pytest.raises(MissingField, match="no field 'ismrmrd_header'") as caught:
        open_scan(path)
    assert f"plain-h5 and the axes {axes}" in caught.value.hint
    scan = open_scan(path, reader="plain-h5", axes=axes)
    np.testing.assert_array_equal(scan.slice_kspace(1), values[:, 1].reshape(1, -1, N_Y, N_X))


def test_a_header_behind_a_link_is_refused_as_one(path):
    write_fastmri(path, VALUES)
    with h5py.File(path, "r+") as file:
        file.move("ismrmrd_header", "elsewhere")
        file["ismrmrd_header"] = h5py.SoftLink("/elsewhere")
    with pytest.raises(DataError, match="'ismrmrd_header' is a link"):
        open_scan(path)


@pytest.mark.parametrize("encoding", ["iso-8859-1", "ISO-8859-1", "windows-1252"])
def test_a_header_in_the_encoding_that_it_declares_is_read(encoding, path):
    declared = f'<?xml version="1.0" encoding="{encoding}"?>'
    xml = mrd_xml(N_Y, N_X).replace('<?xml version="1.0"?>', declared)
    xml = xml.replace("North Hospital", "Universit\xe4tsklinik").encode(encoding)
    write_fastmri(path, VALUES, xml=np.bytes_(xml))
    assert open_scan(path).header.site.center == "Universit\xe4tsklinik"


def test_a_header_of_bytes_that_are_no_text_is_refused_as_such(path):
    xml = mrd_xml(N_Y, N_X).replace("North Hospital", "Universit\xe4tsklinik").encode("latin-1")
    write_fastmri(path, VALUES, xml=np.bytes_(xml))
    with pytest.raises(DataError, match="'ismrmrd_header' holds bytes that are no text in UTF-8"):
        open_scan(path)


def test_other_numbers_of_axes_are_refused(path):
    write_fastmri(path, VALUES)
    with h5py.File(path, "r+") as file:
        del file["kspace"]
        file["kspace"] = VALUES
    with pytest.raises(DataError, match=r"needs \(slice, coil, readout, phase encode\)"):
        open_scan(path)


def test_a_header_that_is_no_text_or_lacks_the_matrix_is_refused(path):
    write_fastmri(path, VALUES, xml="<a/>")
    with pytest.raises(MissingField, match="'ismrmrd_header' has no encoding"):
        open_scan(path)
    write_fastmri(path, VALUES)
    with h5py.File(path, "r+") as file:
        del file["ismrmrd_header"]
        file["ismrmrd_header"] = 7
    with pytest.raises(DataError, match="is no text"):
        open_scan(path)
