"""Masks: zeros and ones in any container, brought to the axes of the scan."""

from dataclasses import replace

import h5py
import numpy as np
import pytest
import scipy.io
import torch

from containers import volume
from mrcli.errors import DataError, MissingField, ShapeError, UnknownFormat
from mrcli.io.masks import fit_mask, read_mask
from mrcli.io.registry import open_scan
from mrcli.scan import MaskSource, ScanHeader
from realdata import KSPACE as DATA

MASK = np.arange(3 * 5 * 8).reshape(3, 5, 8) % 3 == 0
HEADER = ScanHeader(n_frames=3, n_slices=2, n_coils=4, matrix=(5, 8), dtype="complex64")


def save_mat5(path, mask):
    scipy.io.savemat(path, {"mask": mask.T})


def save_h5(path, mask):
    with h5py.File(path, "w") as file:
        file["mask"] = mask


def save_npy(path, mask):
    with path.open("wb") as file:
        np.save(file, mask)


def save_npz(path, mask):
    with path.open("wb") as file:
        np.savez(file, mask=mask, other=mask)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.float64])
@pytest.mark.parametrize("save", [save_mat5, save_h5, save_npy, save_npz])
def test_mask_is_the_same_from_every_container(save, dtype, tmp_path):
    save(tmp_path / "mask", MASK.astype(dtype))
    mask = read_mask(tmp_path / "mask", HEADER)
    assert mask.shape == (3, 1, 1, 5, 8)
    np.testing.assert_array_equal(mask[:, 0, 0], MASK)


@pytest.mark.parametrize(
    ("values", "shape"),
    [
        (MASK[0, :, 0], (1, 1, 1, 5, 1)),
        (MASK[0], (1, 1, 1, 5, 8)),
        (MASK, (3, 1, 1, 5, 8)),
        (MASK[:, None], (3, 1, 1, 5, 8)),
        (np.stack([MASK, MASK], 1), (3, 2, 1, 5, 8)),
        (MASK[:, None, None], (3, 1, 1, 5, 8)),
        (MASK[None, :2, None], (1, 2, 1, 5, 8)),
    ],
)
def test_axes_are_told_by_their_number(values, shape):
    assert fit_mask(values, "a.npz", HEADER).shape == shape


@pytest.mark.parametrize("n_frames", [1, 3])
def test_four_axes_with_one_coil_are_slices_as_broadcasting_takes_them(n_frames):
    header = replace(HEADER, n_frames=n_frames)
    mask = fit_mask(MASK[:2, None, :, :1], "a.npz", header)
    assert mask.shape == (1, 2, 1, 5, 1)
    np.testing.assert_array_equal(mask[0, :, 0], MASK[:2, :, :1])


def test_a_mask_of_as_many_slices_as_frames_is_refused_with_the_five_axes_that_tell():
    header = replace(HEADER, n_frames=2)
    with pytest.raises(
        ShapeError, match=r"a\.npz.* over the 2 slices or over the 2 frames"
    ) as error:
        fit_mask(MASK[:2, None], "a.npz", header)
    assert "(1, slice, 1, y, x)" in error.value.hint
    alone = replace(HEADER, n_frames=1, n_slices=1)
    assert fit_mask(MASK[:1, None], "a.npz", alone).shape[:2] == (1, 1)
    for values in (MASK[None, :2, None], MASK[:2, None, None], MASK[:1, None]):
        assert fit_mask(values, "a.npz", header).shape[:2] == values.shape[:2]


@pytest.mark.parametrize("values", [np.array([0.0, 0.5]), np.array([0, 2]), np.array([np.nan, 1])])
def test_a_value_between_zero_and_one_is_refused(values):
    with pytest.raises(DataError, match="other than 0 and 1"):
        fit_mask(values, "a.mat", HEADER)


def test_whole_lines_share_the_readout():
    lines = np.repeat(MASK[:, :, :1], 8, axis=2)
    assert fit_mask(lines, "a.npz", HEADER).shape == (3, 1, 1, 5, 1)
    assert fit_mask(MASK, "a.npz", HEADER).shape == (3, 1, 1, 5, 8)


@pytest.mark.parametrize("shape", [(4, 5, 8), (3, 8, 5), (5, 7), (8,), (3, 3, 5, 8)])
def test_a_mask_that_does_not_fit_is_refused_with_both_shapes(shape):
    with pytest.raises(ShapeError, match=r"does not fit .*\(3, 2, 1, 5, 8\)"):
        fit_mask(np.ones(shape), "a.npz", HEADER)


def test_axes_beyond_those_of_a_scan_are_refused():
    for shape in ((), (3, 2, 2, 5, 8), (1, 3, 2, 1, 5, 8)):
        with pytest.raises(ShapeError, match="needed are"):
            fit_mask(np.ones(shape), "a.npz", HEADER)


def test_given_mask_replaces_the_own_one_and_is_named_when_it_does_not_fit(tmp_path):
    scan_path, good, bad = tmp_path / "scan.npz", tmp_path / "mask.npy", tmp_path / "bad.npy"
    np.savez(scan_path, kspace=volume((3, 2, 4, 5, 8)), mask=np.ones(5))
    np.save(good, MASK)
    np.save(bad, np.ones(6))
    scan = open_scan(scan_path, mask_path=good)
    assert scan.mask_source is MaskSource.GIVEN
    assert scan.beside == (good,)
    assert open_scan(scan_path).beside == ()
    assert torch.equal(scan.mask[:, 0, 0], torch.from_numpy(MASK))
    with pytest.raises(ShapeError, match=r"bad\.npy"):
        open_scan(scan_path, mask_path=bad)


@pytest.mark.parametrize("shape", [(5, 1), (1, 5)])
def test_a_vector_of_matlab_is_over_y(shape, tmp_path):
    lines = np.array([1.0, 0, 0, 1, 0]).reshape(shape)
    scipy.io.savemat(tmp_path / "classic.mat", {"mask": lines})
    with h5py.File(tmp_path / "new.mat", "w") as file:
        file["mask"] = lines.T
        file["mask"].attrs["MATLAB_class"] = np.bytes_(b"double")
    for name in ("classic.mat", "new.mat"):
        mask = read_mask(tmp_path / name, HEADER)
        assert mask.shape == (1, 1, 1, 5, 1)
        assert mask.flatten().tolist() == [True, False, False, True, False]


@pytest.mark.parametrize("save", [save_npy, save_npz, save_h5])
def test_a_row_is_no_vector_over_y_outside_matlab(save, tmp_path):
    save(tmp_path / "row", np.ones((1, 5)))
    with pytest.raises(ShapeError, match="does not fit"):
        read_mask(tmp_path / "row", HEADER)


def test_foreign_files_are_no_masks(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(UnknownFormat, match="a JPEG image"):
        read_mask(tmp_path / "a.jpg", HEADER)
    np.savez(tmp_path / "a.npz", one=MASK, two=MASK)
    with pytest.raises(MissingField, match="'mask'"):
        read_mask(tmp_path / "a.npz", HEADER)


@pytest.mark.parametrize(
    ("name", "shape", "fraction"),
    [
        ("cmrxrecon2024_cine_sax_mask_Uniform8.mat", (1, 1, 1, 246, 512), 45 / 246),
        ("cmrxrecon2025_cine_lax_4ch_mask_ktRadial16.mat", (12, 1, 1, 198, 442), 0.06778),
    ],
)
def test_official_mask_has_its_known_fraction(name, shape, fraction):
    if not (DATA / name).exists():
        pytest.skip(f"kspace/{name} is not there")
    n_frames, _, _, n_y, n_x = shape
    mask = read_mask(DATA / name, replace(HEADER, n_frames=n_frames, matrix=(n_y, n_x)))
    assert mask.shape[:4] == shape[:4]
    assert mask.float().mean().item() == pytest.approx(fraction, abs=5e-6)
