"""fastMRI files of ours: keys, axes and attributes of fastMRI, and nothing about a person."""

import h5py
import ismrmrd
import numpy as np
import pytest
import torch

from containers import volume
from mrcli.errors import ShapeError
from mrcli.io.fastmri_files import write_fastmri_h5
from mrcli.io.registry import open_scan
from mrcli.io.scan_facts import ScanFacts
from mrcli.physics.encoding import crop_readout
from mrcli.site import UNKNOWN_SITE, Site

SITE = Site("North Hospital", "Prisma", "Siemens", 2.89)
FACTS = ScanFacts(SITE, "cine_sax", voxel_size_mm=(1.6, 2.1, 7.9))


def test_a_fastmri_file_has_the_keys_and_axes_of_fastmri(tmp_path):
    kspace = volume((1, 2, 4, 5, 8))[0]
    image = np.abs(kspace[:, 0]).astype(np.float32)
    mask = np.array([True, False, True, True, False])
    write_fastmri_h5(tmp_path / "a.h5", kspace, FACTS, mask=mask, reconstruction_rss=image)
    with h5py.File(tmp_path / "a.h5") as file:
        assert sorted(file) == ["ismrmrd_header", "kspace", "mask", "reconstruction_rss"]
        assert sorted(file.attrs) == ["acquisition", "max", "norm"]
        assert file.attrs["acquisition"] == "cine_sax"
        assert file.attrs["max"] == image.max()
        assert file.attrs["norm"] == pytest.approx(np.sqrt((image.astype(float) ** 2).sum()))
        np.testing.assert_array_equal(file["kspace"], kspace.transpose(0, 1, 3, 2))
        np.testing.assert_array_equal(file["reconstruction_rss"], image.transpose(0, 2, 1))
        header = ismrmrd.xsd.CreateFromDocument(file["ismrmrd_header"][()])
    assert header.encoding[0].encodedSpace.matrixSize.x == 8


def test_mask_image_and_facts_of_a_fastmri_file_come_back(tmp_path):
    kspace = volume((1, 2, 4, 5, 8))[0]
    image = np.abs(kspace[:, 0]).astype(np.float32)
    mask = np.array([True, False, True, True, False])
    write_fastmri_h5(tmp_path / "a.h5", kspace, FACTS, mask=mask, reconstruction_rss=image)
    scan = open_scan(tmp_path / "a.h5")
    assert scan.mask.flatten().tolist() == mask.tolist()
    np.testing.assert_array_equal(scan.reference_image[0], image)
    assert (scan.header.site, scan.header.protocol) == (SITE, "cine_sax")
    assert scan.header.voxel_size_mm == pytest.approx(FACTS.voxel_size_mm)
    assert not scan.findings


def test_without_mask_and_image_a_fastmri_file_claims_neither(tmp_path):
    write_fastmri_h5(tmp_path / "a.h5", volume((1, 2, 4, 5, 8))[0], FACTS)
    scan = open_scan(tmp_path / "a.h5")
    assert scan.mask is None
    assert scan.reference_image is None


@pytest.mark.parametrize("n_x", [8, 9, 11])
def test_readout_oversampling_of_a_fastmri_file_is_removed_on_reading(n_x, tmp_path):
    kspace = volume((1, 2, 3, 5, n_x))[0]
    facts = ScanFacts(UNKNOWN_SITE, "x", (1.6, 2.1, 7.9), readout_oversampling=2)
    n_kept = facts.n_x_image(n_x)
    image = np.ones((2, 5, n_kept), np.float32)
    write_fastmri_h5(tmp_path / "a.h5", kspace, facts, reconstruction_rss=image)
    scan = open_scan(tmp_path / "a.h5")
    expected = crop_readout(torch.from_numpy(kspace[1][None]), n_kept)
    torch.testing.assert_close(scan.slice_kspace(1), expected, rtol=1e-6, atol=0)
    assert scan.header.voxel_size_mm == pytest.approx((1.6, 2.1, 7.9))
    assert scan.reference_image is not None
    assert [finding.code for finding in scan.findings] == ["readout-oversampling-removed"]


@pytest.mark.parametrize("n_lines", [4, 8])
def test_a_fastmri_mask_of_another_length_is_refused(n_lines, tmp_path):
    kspace = volume((1, 2, 4, 5, 8))[0]
    with pytest.raises(ShapeError, match=rf"a\.h5: mask has {n_lines} lines, k-space has 5"):
        write_fastmri_h5(tmp_path / "a.h5", kspace, FACTS, mask=np.ones(n_lines, bool))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("shape", [(1, 5, 8), (2, 8, 5), (2, 5, 4)])
def test_a_fastmri_image_of_another_shape_is_refused(shape, tmp_path):
    kspace, image = volume((1, 2, 4, 5, 8))[0], np.ones(shape, np.float32)
    with pytest.raises(ShapeError, match=r"a\.h5: image .* k-space gives \(2, 5, 8\)"):
        write_fastmri_h5(tmp_path / "a.h5", kspace, FACTS, reconstruction_rss=image)
    assert list(tmp_path.iterdir()) == []
