"""Both containers of CMRxRecon, their variables, and what the folders around them say."""

import gc
import weakref
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
import torch

from containers import record, volume, write_mat5, write_mat73
from mrcli.errors import DataError, ShapeError
from mrcli.io import mat5
from mrcli.io.registry import open_scan
from mrcli.scan import MaskSource
from mrcli.site import UNKNOWN_SITE, Site
from realdata import KSPACE as DATA

SHAPE = (3, 2, 4, 5, 8)
in_both = pytest.mark.parametrize("write", [write_mat5, write_mat73])
TREE = Path("R1/MultiCoil/Cine/ValidationSet/UnderSample_TaskR1/Center005/UIH_15T_umr670/P012")


@in_both
@pytest.mark.parametrize("name", ["kspace", "kspace_full", "kus", "kspace_sub04"])
def test_variable_of_every_release_is_found(write, name, tmp_path):
    values = volume(SHAPE)
    write(tmp_path / "scan.mat", values, name=name)
    scan = open_scan(tmp_path / "scan.mat")
    np.testing.assert_array_equal(scan.slice_kspace(1), values[:, 1])
    assert (scan.mask, scan.mask_source) == (None, None)


@in_both
@pytest.mark.parametrize("shape", [(3, 2, 5, 8), (1, 2, 5, 8), (3, 1, 7, 5), (1, 1, 5, 8)])
def test_single_coil_variables_have_no_axis_of_coils(write, shape, tmp_path):
    values = volume(shape)
    stored = values
    while stored.shape[0] == 1 and stored.ndim > 2:
        stored = stored[0]  # MATLAB drops trailing axes of length 1
    if write is write_mat73:
        write_mat73(tmp_path / "scan.mat", stored[None], name="kspace_single_sub04")
        with h5py.File(tmp_path / "scan.mat", "r+") as file:
            del file["kspace_single_sub04"]
            file["kspace_single_sub04"] = record(stored)
    else:
        write_mat5(tmp_path / "scan.mat", stored, name="kspace_single_sub04")
    scan = open_scan(tmp_path / "scan.mat")
    assert scan.header.slice_shape == (shape[0], 1, *shape[2:])
    for index in range(shape[1]):
        np.testing.assert_array_equal(scan.slice_kspace(index)[:, 0], values[:, index])
    assert [finding.code for finding in scan.findings] == ["single-coil"]


@in_both
def test_single_coil_variables_with_five_axes_are_refused(write, tmp_path):
    write(tmp_path / "scan.mat", volume(SHAPE), name="kspace_single_full")
    with pytest.raises(ShapeError, match="has 5 axes, needed are 2 to 4"):
        open_scan(tmp_path / "scan.mat")


@in_both
@pytest.mark.parametrize("shape", [(5, 1), (1, 5)])
def test_a_vector_of_matlab_in_the_file_is_a_mask_over_y(write, shape, tmp_path):
    lines = np.array([1.0, 0, 1, 1, 0]).reshape(shape)
    write(tmp_path / "scan.mat", volume(SHAPE), name="kus", mask=lines)
    mask = open_scan(tmp_path / "scan.mat").mask
    assert mask.flatten().tolist() == [True, False, True, True, False]


@in_both
def test_undersampled_goes_before_full_which_becomes_the_reference(write, tmp_path):
    values = volume(SHAPE)
    full = record(values) if write is write_mat73 else values.T
    write(tmp_path / "scan.mat", 0 * values, name="kus", kspace_full=full)
    scan = open_scan(tmp_path / "scan.mat")
    assert not scan.slice_kspace(1).any()
    np.testing.assert_array_equal(scan.load_reference_slice(1), values[:, 1])


@in_both
def test_mask_variable_belongs_to_the_kspace(write, tmp_path):
    mask = (np.arange(3 * 5 * 8) % 3 == 0).reshape(3, 5, 8).astype(float)
    stored = mask if write is write_mat73 else mask.T
    write(tmp_path / "scan.mat", volume(SHAPE), name="kus", mask=stored)
    scan = open_scan(tmp_path / "scan.mat")
    assert scan.mask_source is MaskSource.FILE
    np.testing.assert_array_equal(scan.mask[:, 0, 0], mask == 1)


def write_study(root, write=write_mat5, mask_folder=TREE, suffix=".mat"):
    kspace = root / TREE / f"cine_sax_kus_Uniform8{suffix}"
    mask = root / mask_folder / f"cine_sax_mask_Uniform8{suffix}"
    kspace.parent.mkdir(parents=True, exist_ok=True)
    mask.parent.mkdir(parents=True, exist_ok=True)
    write(kspace, volume(SHAPE), name="kus")
    scipy.io.savemat(mask, {"mask": np.tile([[1.0], [0], [1], [1], [0]], (1, 8)).T})
    return kspace


@in_both
@pytest.mark.parametrize("folder", [TREE, Path(str(TREE).replace("UnderSample_", "Mask_"))])
def test_mask_is_found_in_its_tree_or_in_the_same_folder(write, folder, tmp_path):
    scan = open_scan(write_study(tmp_path, write, folder))
    assert scan.beside == (tmp_path / folder / "cine_sax_mask_Uniform8.mat",)
    assert scan.mask_source is MaskSource.BESIDE
    assert scan.mask.shape == (1, 1, 1, 5, 1)
    assert scan.mask.flatten().tolist() == [True, False, True, True, False]


def test_mask_of_the_file_goes_before_the_one_beside(tmp_path):
    path = write_study(tmp_path)
    write_mat5(path, volume(SHAPE), name="kus", mask=np.ones((8, 5)))
    scan = open_scan(path)
    assert scan.mask_source is MaskSource.FILE
    assert scan.mask.all()
    assert scan.beside == ()


def test_mask_beside_that_does_not_fit_is_named(tmp_path):
    path = write_study(tmp_path)
    scipy.io.savemat(path.with_name("cine_sax_mask_Uniform8.mat"), {"mask": np.ones((8, 6))})
    with pytest.raises(ShapeError, match=r"cine_sax_mask_Uniform8\.mat.*6, 8.*5, 8"):
        open_scan(path)


def test_site_and_protocol_are_those_of_the_folders(tmp_path):
    header = open_scan(write_study(tmp_path)).header
    assert header.site == Site("Center005", "umr670", "UIH", 1.5)
    assert header.protocol == "Cine"


def test_a_file_name_says_nothing_about_site_or_protocol(tmp_path):
    path = tmp_path / "Center005_UIH_15T_umr670_P012_Cine_kus_Uniform8.mat"
    write_mat5(path, volume(SHAPE), name="kus")
    header = open_scan(path).header
    assert (header.site, header.protocol) == (UNKNOWN_SITE, None)


def test_real_kspace_of_a_classic_file_is_refused(tmp_path):
    path = tmp_path / "scan.mat"
    scipy.io.savemat(path, {"kspace": np.ones((8, 5, 4))})
    with pytest.raises(DataError, match="k-space is complex"):
        open_scan(path)


def test_real_kspace_of_matlab_73_is_refused(tmp_path):
    with h5py.File(tmp_path / "scan.mat", "w") as file:
        file["kspace"] = np.ones((4, 5, 8))
        file["kspace"].attrs["MATLAB_class"] = np.bytes_(b"double")
    with pytest.raises(DataError, match="holds float64, k-space is complex"):
        open_scan(tmp_path / "scan.mat")


def test_classic_array_is_loaded_once_and_freed_with_the_scan(tmp_path, monkeypatch):
    write_mat5(tmp_path / "scan.mat", volume(SHAPE))
    loads, load = [], mat5.loadmat

    def counted(*args, **kwargs):
        loads.append(args)
        return load(*args, **kwargs)

    monkeypatch.setattr(mat5, "loadmat", counted)
    scan = open_scan(tmp_path / "scan.mat")
    assert not loads
    scan.slice_kspace(0), scan.slice_kspace(1)
    assert len(loads) == 1
    values = weakref.ref(scan.load_slice.args[0].values)
    del scan
    gc.collect()
    assert values() is None


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize(
    ("values", "code"),
    [
        (volume(SHAPE), "c8"),
        (volume(SHAPE, dtype="c16"), "c16"),
        (np.ones((2, 3)), "f8"),
        (np.ones((2, 3), np.uint8), "u1"),
    ],
)
def test_listing_knows_name_shape_and_type_without_loading(values, code, compressed, tmp_path):
    path = tmp_path / "scan.mat"
    scipy.io.savemat(path, {"a": values, "a_longer_name": values}, do_compression=compressed)
    variables = mat5.list_variables(path)
    assert list(variables) == ["a", "a_longer_name"]
    for variable in variables.values():
        assert (variable.shape, variable.dtype) == (values.shape, np.dtype(code))


def test_listing_skips_what_is_no_array_of_numbers(tmp_path):
    scipy.io.savemat(tmp_path / "scan.mat", {"text": "words", "cell": np.array([{}], object)})
    assert set(mat5.list_variables(tmp_path / "scan.mat").values()) == {None}
    with pytest.raises(DataError, match="no array of numbers"):
        mat5.load_variable(tmp_path / "scan.mat", "text")


@pytest.mark.parametrize("n_claimed", [-1, 33, 2**30])  # a value takes one byte at least
def test_classic_array_that_claims_more_than_it_stores_is_refused(n_claimed, tmp_path):
    path = tmp_path / "scan.mat"
    scipy.io.savemat(path, {"kspace": volume((4, 5, 8))})
    content = bytearray(path.read_bytes())
    where = content.index(np.array([4, 5, 8], "<i4").tobytes())
    content[where : where + 4] = np.int32(n_claimed).tobytes()
    path.write_bytes(content)
    with pytest.raises(DataError, match="truncated or corrupt"):
        open_scan(path)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("cmrxrecon2024_cine_sax.mat", (1, 1, 246, 512)),
        ("mphy5178_brain_8ch.mat", (1, 8, 240, 240)),
    ],
)
def test_real_classic_file_is_read_to_the_bit(name, shape):
    if not (DATA / name).exists():
        pytest.skip(f"kspace/{name} is not there")
    scan = open_scan(DATA / name)
    (stored,) = (v for k, v in scipy.io.loadmat(DATA / name).items() if not k.startswith("__"))
    assert scan.header.slice_shape == shape
    assert torch.equal(scan.slice_kspace(0), torch.from_numpy(stored.T.reshape(shape).copy()))
