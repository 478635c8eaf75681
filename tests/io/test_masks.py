"""Masks: zeros and ones in any container, brought to the axes of the scan."""

import h5py
import numpy as np
import pytest
import scipy.io
import torch

from containers import volume
from mrcli.errors import DataError, MissingField, ShapeError, UnknownFormat
from mrcli.io.masks import as_mask, fit_mask, read_mask
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
    mask = read_mask(tmp_path / "mask")
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
    ],
)
def test_axes_are_told_by_their_number(values, shape):
    mask = as_mask(values, "mask")
    assert mask.shape == shape
    assert fit_mask(mask, HEADER).shape[:4] == shape[:4]


@pytest.mark.parametrize("values", [np.array([0.0, 0.5]), np.array([0, 2]), np.array([np.nan, 1])])
def test_a_value_between_zero_and_one_is_refused(values):
    with pytest.raises(DataError, match="other than 0 and 1"):
        as_mask(values, "a.mat: mask")


def test_whole_lines_share_the_readout():
    lines = np.repeat(MASK[:, :, :1], 8, axis=2)
    assert fit_mask(as_mask(lines, "mask"), HEADER).shape == (3, 1, 1, 5, 1)
    assert fit_mask(as_mask(MASK, "mask"), HEADER).shape == (3, 1, 1, 5, 8)


@pytest.mark.parametrize("shape", [(4, 5, 8), (3, 8, 5), (5, 7), (8,), (3, 3, 5, 8)])
def test_a_mask_that_does_not_fit_is_refused_with_both_shapes(shape):
    with pytest.raises(ShapeError, match=r"does not fit .*\(3, 2, 1, 5, 8\)"):
        fit_mask(as_mask(np.ones(shape), "mask"), HEADER)


def test_axes_beyond_those_of_a_scan_are_refused():
    for shape in ((), (3, 2, 2, 5, 8), (1, 3, 2, 1, 5, 8)):
        with pytest.raises(ShapeError, match="needed are"):
            as_mask(np.ones(shape), "mask")


def test_given_mask_replaces_the_own_one_and_is_named_when_it_does_not_fit(tmp_path):
    scan_path, good, bad = tmp_path / "scan.npz", tmp_path / "mask.npy", tmp_path / "bad.npy"
    np.savez(scan_path, kspace=volume((3, 2, 4, 5, 8)), mask=np.ones(5))
    np.save(good, MASK)
    np.save(bad, np.ones(6))
    scan = open_scan(scan_path, mask_path=good)
    assert scan.mask_source is MaskSource.GIVEN
    assert torch.equal(scan.mask[:, 0, 0], torch.from_numpy(MASK))
    with pytest.raises(ShapeError, match=r"bad\.npy"):
        open_scan(scan_path, mask_path=bad)


def test_foreign_files_are_no_masks(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(UnknownFormat, match="a JPEG image"):
        read_mask(tmp_path / "a.jpg")
    np.savez(tmp_path / "a.npz", one=MASK, two=MASK)
    with pytest.raises(MissingField, match="'mask'"):
        read_mask(tmp_path / "a.npz")


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
    mask = read_mask(DATA / name)
    assert mask.shape == shape
    assert mask.float().mean().item() == pytest.approx(fraction, abs=5e-6)
