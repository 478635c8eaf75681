"""BART pairs: dimensions decide, sizes must match to the byte."""

import numpy as np
import pytest

from containers import volume, write_bart
from mrcli.errors import DataError, MissingField, UnknownFormat
from mrcli.io.registry import open_scan

VALUES = volume((3, 2, 4, 5, 8))


@pytest.fixture
def path(tmp_path):
    write_bart(tmp_path / "scan.cfl", VALUES)
    return tmp_path / "scan.cfl"


def write_dims(path, dims, values):
    path.with_suffix(".hdr").write_text(f"# Dimensions\n{' '.join(map(str, dims))}\n# Command\nx\n")
    path.write_bytes(values.astype("<c8").tobytes())


@pytest.mark.parametrize("suffix", [".cfl", ".hdr"])
def test_either_half_names_the_scan(suffix, path):
    scan = open_scan(path.with_suffix(suffix))
    np.testing.assert_array_equal(scan.slice_kspace(1), VALUES[:, 1])
    other = {".cfl": ".hdr", ".hdr": ".cfl"}[suffix]
    assert scan.beside == (path.with_suffix(other),)


@pytest.mark.parametrize("axis", [5, 10, 11])
def test_each_dimension_of_frames_makes_frames(axis, path):
    values = volume((3, 4, 5, 8))
    dims = [8, 5, 1, 4, *[1] * 12]
    dims[axis] = 3
    write_dims(path, dims, values)
    np.testing.assert_array_equal(open_scan(path).slice_kspace(0), values)


def test_frames_of_several_dimensions_run_as_they_are_stored(path):
    values = volume((2 * 3 * 2, 4, 5, 8))
    write_dims(path, [8, 5, 1, 4, 1, 2, 1, 1, 1, 1, 3, 2], values)
    scan = open_scan(path)
    np.testing.assert_array_equal(scan.slice_kspace(0), values)
    assert "time 11 x time 10 x echo 5" in scan.findings[0].message


@pytest.mark.parametrize("axis", [2, 4, 6, 7, 8, 9, 12, 14, 15])
def test_any_other_dimension_is_refused_by_its_number(axis, path):
    dims = [8, 5, 1, 4, *[1] * 12]
    dims[axis] = 2
    write_dims(path, dims, volume((2, 4, 5, 8)))
    with pytest.raises(DataError, match=f"dimension {axis} has length 2"):
        open_scan(path)


@pytest.mark.parametrize("dims", ["", "8 5 0 4", "8 -5", "8 five", "1 " * 17, "999999999 " * 16])
def test_impossible_dimensions_are_refused(dims, path):
    path.with_suffix(".hdr").write_text(f"# Dimensions\n{dims}\n")
    with pytest.raises(DataError, match="the second line must hold 1 to 16 dimensions"):
        open_scan(path)


def test_a_file_one_byte_too_long_is_refused(path):
    with path.open("ab") as file:
        file.write(b"\0")
    with pytest.raises(DataError, match=r"7681 bytes, the dimensions in scan\.hdr need 7680"):
        open_scan(path)


def test_a_lost_half_is_named(path):
    path.unlink()
    with pytest.raises(MissingField, match=r"'scan\.cfl' is missing"):
        open_scan(path.with_suffix(".hdr"))
    write_bart(path, VALUES)
    path.with_suffix(".hdr").unlink()
    with pytest.raises(MissingField, match=r"'scan\.hdr' is missing"):
        open_scan(path)


def test_foreign_content_beside_no_header_is_called_what_it_is(path):
    path.with_suffix(".hdr").unlink()
    path.write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(UnknownFormat, match="a JPEG image"):
        open_scan(path)


def test_a_file_that_shrinks_after_it_was_opened_is_refused(path):
    scan = open_scan(path)
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(DataError, match="changed since"):
        scan.slice_kspace(0)
