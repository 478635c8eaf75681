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
