"""Hostile HDF5 files: each is refused before anything is read, followed or decompressed."""

import os
import zlib

import h5py
import numpy as np
import pytest

from containers import record, volume, write_plain_h5
from mrcli.errors import DataError, InputError, MissingField
from mrcli.io.files import is_hdf5
from mrcli.io.hdf5 import HARMLESS_BYTES, names_in, opened, require_dataset
from mrcli.io.masks import read_mask
from mrcli.io.registry import open_scan
from mrcli.scan import ScanHeader

KSPACE = volume((1, 1, 2, 4, 6))


def external_link(path):
    write_plain_h5(path.with_name("secret.bin"), KSPACE)
    with h5py.File(path, "w") as file:
        file["kspace"] = h5py.ExternalLink("secret.bin", "kspace")


def soft_link(path):
    with h5py.File(path, "w") as file:
        file["elsewhere"] = KSPACE
        file["kspace"] = h5py.SoftLink("/elsewhere")


def soft_link_loop(path):
    with h5py.File(path, "w") as file:
        file["kspace"] = h5py.SoftLink("/kspace2")
        file["kspace2"] = h5py.SoftLink("/kspace")


def external_storage(path):
    secret = path.with_name("secret.bin")
    secret.write_bytes(KSPACE.tobytes())
    with h5py.File(path, "w") as file:
        external = [(os.fspath(secret), 0, h5py.h5f.UNLIMITED)]
        file.create_dataset("kspace", KSPACE.shape, "c8", external=external)


def virtual_dataset(path):
    layout = h5py.VirtualLayout(KSPACE.shape, "c8")
    layout[:] = h5py.VirtualSource("absent.h5", "kspace", KSPACE.shape)
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("kspace", layout)


def ten_terabytes(path):
    with h5py.File(path, "w") as file:
        shape = (100, 100, 128, 1000, 1000)
        file.create_dataset("kspace", shape, "c8", chunks=(1, 1, 1, 1000, 1000))


def never_written(path):
    with h5py.File(path, "w") as file:
        file.create_dataset("kspace", KSPACE.shape, "c8")


def half_written(path):
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("kspace", (2, 1, 2, 4, 6), "c8", chunks=(1, 1, 2, 4, 6))
        dataset[:1] = KSPACE


def gzip_bomb(path):
    n_chunks, chunk = HARMLESS_BYTES // 2**22 + 1, (1, 512, 1024)
    zeros = zlib.compress(bytes(8 * 512 * 1024), 9)
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset(
            "kspace", (n_chunks, 512, 1024), "c8", chunks=chunk, compression="gzip"
        )
        for i in range(n_chunks):
            dataset.id.write_direct_chunk((i, 0, 0), zeros)


def unknown_filter(path):
    with h5py.File(path, "w") as file:
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_chunk((1, 4, 6))
        plist.set_filter(6, h5py.h5z.FLAG_OPTIONAL, (2, 2))  # scale-offset: loses digits
        space = h5py.h5s.create_simple((1, 4, 6))
        h5py.h5d.create(file.id, b"kspace", h5py.h5t.IEEE_F32LE, space, plist)
        file["kspace"][:] = 1


def deflated_twice(path):
    with h5py.File(path, "w") as file:
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_chunk((1, 4, 6))
        plist.set_deflate(9)
        plist.set_deflate(9)
        space = h5py.h5s.create_simple((1, 4, 6))
        complex_type = h5py.h5t.py_create(np.dtype("c8"))
        h5py.h5d.create(file.id, b"kspace", complex_type, space, plist)
        file["kspace"][:] = 1


HOSTILE = {
    external_link: "is a link",
    soft_link: "is a link",
    soft_link_loop: "is a link",
    external_storage: "stored in another file",
    virtual_dataset: "is virtual",
    ten_terabytes: "claims 10240000000000 bytes",
    never_written: "stores 0",
    half_written: "1 of 2 chunks were ever written",
    gzip_bomb: "the limit is 200 to 1",
    unknown_filter: "uses HDF5 filter 6",
    deflated_twice: "compressed twice",
}


@pytest.mark.parametrize(
    ("make", "words"), HOSTILE.items(), ids=lambda p: getattr(p, "__name__", "")
)
def test_hostile_dataset_is_refused_with_its_reason(make, words, tmp_path):
    path = tmp_path / "scan.h5"
    make(path)
    with opened(path) as file, pytest.raises(DataError, match=words):
        require_dataset(file, "kspace")
    for reader in (None, "plain-h5", "cmrxrecon-mat"):
        with pytest.raises(DataError, match=words):
            open_scan(path, reader=reader)


def test_hostile_mask_is_refused_too(tmp_path):
    path = tmp_path / "mask.h5"
    with h5py.File(path, "w") as file:
        file["mask"] = h5py.ExternalLink("secret.bin", "mask")
    with pytest.raises(DataError, match="is a link"):
        read_mask(path, ScanHeader(1, 1, 2, (4, 6), "complex64"))


@pytest.mark.parametrize("filters", [{"compression": "gzip"}, {"compression": "lzf"},
                                     {"shuffle": True, "fletcher32": True}, {}])  # fmt: skip
def test_the_usual_filters_are_read(filters, tmp_path):
    path = tmp_path / "scan.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("kspace", data=KSPACE, chunks=(1, 1, 1, 4, 6), **filters)
    np.testing.assert_array_equal(open_scan(path).slice_kspace(0)[0], KSPACE[0, 0])


def test_a_missing_field_lists_what_is_there(tmp_path):
    path = tmp_path / "scan.h5"
    write_plain_h5(path, KSPACE, name="ksp")
    with opened(path) as file, pytest.raises(MissingField, match=r"scan.h5: field 'kspace'.*'ksp'"):
        require_dataset(file, "kspace")


def test_a_group_is_no_dataset(tmp_path):
    path = tmp_path / "scan.h5"
    with h5py.File(path, "w") as file:
        file.create_group("kspace")
    with opened(path) as file, pytest.raises(MissingField, match="is a group"):
        require_dataset(file, "kspace")
    for reader in (None, "plain-h5", "cmrxrecon-mat", "fastmri-h5"):
        with pytest.raises(MissingField, match=r"scan\.h5: field 'kspace' is a group"):
            open_scan(path, reader=reader)


def test_links_are_listed_so_that_none_is_passed_over_in_silence(tmp_path):
    path = tmp_path / "scan.h5"
    soft_link(path)
    with opened(path) as file:
        assert names_in(file) == ("elsewhere", "kspace")
    write_plain_h5(path, KSPACE, mask=h5py.SoftLink("/elsewhere"))
    with pytest.raises(DataError, match="'mask' is a link"):
        open_scan(path)


@pytest.mark.parametrize("value", [0, 1e-37, 1e38, np.nan, np.inf])
def test_doubles_within_single_precision_and_those_that_are_no_numbers_pass(value, tmp_path):
    path = tmp_path / "scan.h5"
    values = np.full(KSPACE.shape, value, np.complex128)
    values[..., 0, 0] = value * 1e-5 if np.isfinite(value) else 1
    write_plain_h5(path, values)
    with np.errstate(invalid="ignore"):
        expected = values.astype(np.complex64)
    np.testing.assert_array_equal(open_scan(path).slice_kspace(0)[0], expected[0, 0])


def test_signature_is_found_behind_a_user_block(tmp_path):
    for n_bytes in (0, 512, 1024, 4096):
        path = tmp_path / f"{n_bytes}.h5"
        with h5py.File(path, "w", userblock_size=n_bytes) as file:
            file["kspace"] = KSPACE
        assert is_hdf5(path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads all files")
def test_an_unreadable_file_is_no_usable_input(tmp_path):
    path = tmp_path / "scan.h5"
    write_plain_h5(path, KSPACE)
    path.chmod(0)
    with pytest.raises(InputError, match="permission denied"):
        open_scan(path)


def test_a_refused_permission_is_no_usable_input(tmp_path, monkeypatch):
    path = tmp_path / "scan.h5"
    write_plain_h5(path, KSPACE)

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(path), "open", refuse)
    with pytest.raises(InputError, match="permission denied"):
        open_scan(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_a_pipe_is_refused_instead_of_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.h5")
    with pytest.raises(InputError, match="not a regular file"):
        open_scan(tmp_path / "pipe.h5")


@pytest.mark.parametrize("values", [KSPACE.real, np.ones((2, 4, 6), np.int16),
                                    record(KSPACE, "re", "im")])  # fmt: skip
def test_kspace_that_is_not_complex_is_refused(values, tmp_path):
    path = tmp_path / "scan.h5"
    write_plain_h5(path, values)
    with pytest.raises(DataError, match="k-space is complex"):
        open_scan(path)


def test_big_endian_and_double_become_native_single(tmp_path):
    path = tmp_path / "scan.h5"
    for dtype in (">c8", "<c16", ">c16"):
        write_plain_h5(path, KSPACE.astype(dtype))
        scan = open_scan(path)
        np.testing.assert_array_equal(scan.slice_kspace(0)[0], KSPACE[0, 0])
        assert [f.code for f in scan.findings] == ["rounded-to-single"] * dtype.endswith("16")


def test_a_file_that_changes_after_it_was_opened_is_refused(tmp_path):
    path = tmp_path / "scan.h5"
    write_plain_h5(path, KSPACE)
    scan = open_scan(path)
    write_plain_h5(path, volume((1, 1, 2, 5, 6)))
    with pytest.raises(DataError, match="when the scan was opened"):
        scan.slice_kspace(0)
