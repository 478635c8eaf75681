"""What every reader promises, asked of all of them with the same scan in every container."""

import hashlib
import pickle
import random
import re
import shutil
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch

from containers import CONTAINERS, SHAPES, volume
from mrcli.errors import DataError, InputError, MissingField, MrcliError, UnknownFormat
from mrcli.io.interface import Match
from mrcli.io.lazy import LazyArray
from mrcli.io.registry import READERS, open_scan

in_every_container = pytest.mark.parametrize("container", CONTAINERS, ids=str)
JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(range(256)) * 4


def written(container, tmp_path, values):
    path = tmp_path / f"scan{container.suffix}"
    container.write(path, values)
    return path


def fitting(container, shape):
    return shape if container.has_frames else (1, *shape[1:])


def tree_hash(folder):
    files = sorted(folder.iterdir())
    return [(file.name, hashlib.sha256(file.read_bytes()).hexdigest()) for file in files]


@in_every_container
@pytest.mark.parametrize("shape", SHAPES)
def test_every_slice_arrives_bit_for_bit(container, shape, tmp_path):
    values = volume(fitting(container, shape))
    scan = open_scan(written(container, tmp_path, values))
    assert scan.format == container.reader
    for index in range(values.shape[1]):
        expected = torch.from_numpy(np.ascontiguousarray(values[:, index]))
        kspace = scan.slice_kspace(index)
        assert torch.equal(kspace.view(torch.float32), expected.view(torch.float32))
        assert kspace.is_contiguous()


@in_every_container
@pytest.mark.parametrize("shape", SHAPES)
def test_header_has_the_sizes_of_the_scan(container, shape, tmp_path):
    n_frames, n_slices, n_coils, n_y, n_x = shape = fitting(container, shape)
    header = open_scan(written(container, tmp_path, volume(shape))).header
    assert (header.n_frames, header.n_slices, header.n_coils) == (n_frames, n_slices, n_coils)
    assert (header.matrix, header.dtype) == ((n_y, n_x), "complex64")


@in_every_container
def test_slices_are_read_in_any_order_and_one_beyond_the_end_is_refused(container, tmp_path):
    values = volume(fitting(container, SHAPES[1]))
    scan = open_scan(written(container, tmp_path, values))
    last, first = scan.slice_kspace(2), scan.slice_kspace(0)
    np.testing.assert_array_equal(last, values[:, 2])
    np.testing.assert_array_equal(first, values[:, 0])
    for index in (3, -1):
        with pytest.raises(DataError, match="does not exist"):
            scan.slice_kspace(index)


@in_every_container
def test_what_a_caller_does_to_a_slice_changes_neither_scan_nor_file(container, tmp_path):
    values = volume(fitting(container, SHAPES[0]))
    scan = open_scan(written(container, tmp_path, values))
    before = tree_hash(tmp_path)
    scan.slice_kspace(0).zero_()
    np.testing.assert_array_equal(scan.slice_kspace(0), values[:, 0])
    assert tree_hash(tmp_path) == before


def n_handles():
    folder = Path("/proc/self/fd")  # systems that have none are not asked
    return len(list(folder.iterdir())) if folder.exists() else 0


@in_every_container
def test_opening_reads_no_samples_and_keeps_no_handle(container, tmp_path):
    path = written(container, tmp_path, volume(fitting(container, SHAPES[0])))
    n_open = n_handles()
    scans = [open_scan(path) for _ in range(5)]
    assert n_handles() == n_open
    held = [part for scan in scans for part in scan.load_slice.args]
    assert not any("values" in vars(part) for part in held if isinstance(part, LazyArray))


@in_every_container
def test_a_scan_can_be_sent_to_another_process(container, tmp_path):
    values = volume(fitting(container, SHAPES[0]))
    scan = open_scan(written(container, tmp_path, values))
    n_bytes = len(pickle.dumps(scan.load_slice))
    scan.slice_kspace(0)
    sent = pickle.dumps(scan.load_slice)
    assert len(sent) == n_bytes  # loaded values stay behind
    np.testing.assert_array_equal(pickle.loads(sent)(1), values[:, 1])


@pytest.mark.parametrize("container", [c for c in CONTAINERS if c.has_names], ids=str)
def test_a_field_of_another_name_is_named_with_the_file(container, tmp_path):
    path = tmp_path / f"scan{container.suffix}"
    container.write(path, volume(fitting(container, SHAPES[0])), name="ksp")
    with pytest.raises(MissingField, match=r"scan\..*'kspace'.*'ksp'"):
        open_scan(path)
    with pytest.raises(MissingField, match=r"scan\..*'kspace'"):
        open_scan(path, reader=container.reader)


@in_every_container
def test_a_file_cut_anywhere_is_refused(container, tmp_path):
    whole = written(container, tmp_path, volume(fitting(container, SHAPES[0])))
    content, cut = whole.read_bytes(), tmp_path / f"cut{container.suffix}"
    if container.suffix == ".cfl":
        shutil.copy(whole.with_suffix(".hdr"), cut.with_suffix(".hdr"))
    rng = random.Random(0)
    for length in (0, 1, len(content) - 1, *rng.sample(range(len(content)), 50)):
        cut.write_bytes(content[:length])
        for reader in (None, container.reader):
            with pytest.raises(DataError):
                open_scan(cut, reader=reader)


@in_every_container
def test_damage_near_the_start_raises_nothing_but_our_errors(container, tmp_path):
    path = written(container, tmp_path, volume(fitting(container, SHAPES[0])))
    content, rng = path.read_bytes(), random.Random(1)
    for _ in range(60):
        damaged = bytearray(content)
        for position in rng.sample(range(min(len(content), 4096)), 3):
            damaged[position] = rng.randrange(256)
        path.write_bytes(damaged)
        with suppress(MrcliError):
            open_scan(path).slice_kspace(0)


@in_every_container
def test_readers_do_not_take_each_others_files(container, tmp_path):
    path = written(container, tmp_path, volume(fitting(container, SHAPES[0])))
    takers = [reader.name for reader in READERS if reader.sniff(path) is Match.YES]
    assert takers == [container.reader]


@in_every_container
def test_content_decides_whatever_the_name_says(container, tmp_path):
    if container.suffix == ".cfl":
        pytest.skip("a BART array is a pair of files, told apart by their names")
    values = volume(fitting(container, SHAPES[0]))
    path = written(container, tmp_path, values).rename(tmp_path / "scan.txt")
    np.testing.assert_array_equal(open_scan(path).slice_kspace(1), values[:, 1])


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
@pytest.mark.parametrize("content", [JPEG, b"", b"\x00" * 600, b"# Dimensions"], ids=len)
def test_foreign_content_is_refused_by_name_and_by_content(reader, content, tmp_path):
    path = tmp_path / "scan.h5"
    path.write_bytes(content)
    assert reader.sniff(path) is Match.NO
    with pytest.raises(DataError):
        open_scan(path, reader=reader.name)


def test_the_error_says_what_was_found_instead(tmp_path):
    path = tmp_path / "scan.h5"
    dicom = b"\x00" * 128 + b"DICM"
    for content, words in ((JPEG, "a JPEG image"), (b"", "an empty file"), (dicom, "a DICOM file")):
        path.write_bytes(content)
        with pytest.raises(UnknownFormat, match=words):
            open_scan(path)


@pytest.mark.parametrize("reader", [None, *(reader.name for reader in READERS)])
def test_a_folder_or_a_missing_file_is_no_usable_input(reader, tmp_path):
    with pytest.raises(InputError, match="a folder"):
        open_scan(tmp_path, reader=reader)
    with pytest.raises(InputError, match="no such file"):
        open_scan(tmp_path / "absent.h5", reader=reader)


@pytest.mark.parametrize("peak", [1e300, 1e39, 1e-60, 1e-40])
@pytest.mark.parametrize("container", [c for c in CONTAINERS if c.has_doubles], ids=str)
def test_doubles_beyond_single_precision_are_refused_with_file_and_size(container, peak, tmp_path):
    values = np.full(fitting(container, SHAPES[0]), 1j * peak)
    scan = open_scan(written(container, tmp_path, values))
    words = re.escape(f"has {peak:.3g} as its largest value, beyond single precision")
    with pytest.raises(DataError, match=rf"^scan\..*{words}"):
        scan.slice_kspace(0)


@in_every_container
def test_nothing_about_a_person_enters_the_scan(container, tmp_path):
    path = written(container, tmp_path, volume(fitting(container, SHAPES[0])))
    assert "CANARY" not in repr(open_scan(path))
