"""What a NIfTI file of ours says, read with a library that is not ours."""

import gzip

import nibabel as nib
import numpy as np
import pytest

from mrcli.errors import DataError, OutputError
from mrcli.image import ReconVolume
from mrcli.io.nifti import nifti_bytes, read_nifti, write_nifti

AFFINE = np.array([[-2, 0, 0, 90], [0, -1.5, 0, 80], [0, 0, 8, -40], [0, 0, 0, 1.0]])


def point(frame=1, slice_=2, y=3, x=4):
    data = np.zeros((2, 3, 5, 6), np.complex64)
    data[frame, slice_, y, x] = 3 - 4j
    return data


def written(path, volume):
    write_nifti(path, volume, overwrite=False)
    return nib.load(path)


def test_axes_are_x_y_slice_frame_and_the_value_is_the_magnitude(tmp_path):
    voxels = np.asarray(written(tmp_path / "a.nii", ReconVolume(point())).dataobj)
    assert voxels.shape == (6, 5, 3, 2)
    assert voxels.dtype == np.float32
    assert voxels[4, 3, 2, 1] == 5
    assert voxels.sum() == 5


def test_a_known_affine_is_the_scanner_s_in_both_forms(tmp_path):
    image = written(tmp_path / "a.nii.gz", ReconVolume(point(), (2, 1.5, 8), AFFINE))
    for form in (image.get_sform(coded=True), image.get_qform(coded=True)):
        np.testing.assert_allclose(form[0], AFFINE, atol=1e-5)
        assert form[1] == 1
    assert image.header.get_xyzt_units()[0] == "mm"
    np.testing.assert_allclose(image.header.get_zooms()[:3], (2, 1.5, 8))


@pytest.mark.parametrize(("size_mm", "unit"), [((2.0, 1.5, 8.0), "mm"), (None, "unknown")])
def test_an_unknown_affine_has_codes_0_and_the_voxel_size_if_known(tmp_path, size_mm, unit):
    image = written(tmp_path / "a.nii", ReconVolume(point(), size_mm))
    assert image.header["sform_code"] == image.header["qform_code"] == 0
    assert image.header.get_xyzt_units()[0] == unit
    assert image.header.get_zooms()[:3] == (size_mm or (1, 1, 1))
    np.testing.assert_allclose(np.abs(np.diag(image.affine))[:3], size_mm or (1, 1, 1))


def test_values_are_stored_without_scaling(tmp_path):
    image = written(tmp_path / "a.nii", ReconVolume(point()))
    assert image.get_data_dtype() == np.float32
    assert (image.dataobj.slope, image.dataobj.inter) == (1, 0)


def test_nothing_is_written_that_names_a_person_or_a_time(tmp_path):
    header = written(tmp_path / "Doe^Jane.nii.gz", ReconVolume(point())).header
    texts = ("descrip", "aux_file", "db_name", "intent_name")
    assert [bytes(header[name]).strip(b"\0") for name in texts] == [b""] * len(texts)
    assert b"Doe" not in (tmp_path / "Doe^Jane.nii.gz").read_bytes()
    assert (tmp_path / "Doe^Jane.nii.gz").read_bytes()[4:8] == bytes(4)  # gzip's time


@pytest.mark.parametrize("axes", [2, 3, 4])
def test_images_of_others_are_read_whatever_their_type_and_byte_order(tmp_path, axes):
    stored = np.arange(3**axes, dtype=">i2").reshape((3,) * axes)
    nib.Nifti1Image(stored, AFFINE).to_filename(tmp_path / "a.nii")
    nib.Nifti2Image(stored, AFFINE).to_filename(tmp_path / "b.nii.gz")
    for name in ("a.nii", "b.nii.gz"):
        found = read_nifti(tmp_path / name)
        expected = stored.T.reshape((1,) * (4 - axes) + (3,) * axes)
        np.testing.assert_array_equal(found.data, expected)
        np.testing.assert_allclose(found.affine, AFFINE)


def test_a_scale_factor_in_the_header_is_applied(tmp_path):
    image = nib.Nifti1Image(np.ones((2, 2, 2), np.int16), AFFINE)
    image.header.set_slope_inter(2, 1)
    content = bytearray(image.to_bytes())
    content[112:120] = np.array([2, 1], "<f4").tobytes()  # scl_slope, scl_inter
    (tmp_path / "a.nii").write_bytes(content)
    np.testing.assert_array_equal(read_nifti(tmp_path / "a.nii").data, 3)


@pytest.mark.parametrize("is_compressed", [False, True])
def test_a_header_that_claims_terabytes_is_refused_before_memory_is_asked_for(
    tmp_path, is_compressed
):
    content = bytearray(nifti_bytes(ReconVolume(np.ones((1, 1, 2, 2), np.float32))))
    content[40:56] = np.array([4, 32767, 32767, 32767, 100, 1, 1, 1], "<i2").tobytes()
    (tmp_path / "a.nii").write_bytes(gzip.compress(content) if is_compressed else content)
    with pytest.raises(DataError, match=r"a\.nii: the header claims \d{13,} bytes"):
        read_nifti(tmp_path / "a.nii")


def test_an_axis_beyond_16_bits_is_refused(tmp_path):
    with pytest.raises(OutputError, match="32768"):
        write_nifti(
            tmp_path / "a.nii", ReconVolume(np.ones((1, 1, 1, 32768), np.float32)), overwrite=False
        )
