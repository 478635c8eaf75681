"""Arrays to BART and back, and how its failures are told."""

from contextlib import suppress

import pytest
import torch

from bart import BART, needs_bart
from ellipses import simulate_kspace, simulate_maps, simulate_truth
from mrcli.errors import DataError, ResourceError
from mrcli.io import bart_tool
from mrcli.io.bart_cfl import READER
from mrcli.io.bart_tool import Bart, find_bart
from phantoms import relative_error, small_spec

COPY = "for end in hdr cfl; do cp kspace.$end {}.$end; done\n"


def program(folder, script):
    """Return a stand-in for BART that runs a script."""
    path = folder / "bart"
    path.write_text(f"#!/bin/sh\n{script}")
    path.chmod(0o755)
    return Bart(path, timeout_s=20)


def kspace_of(n_frames=3, n_coils=1, matrix=(6, 8)):
    random = torch.Generator().manual_seed(0)
    shape = (n_frames, n_coils, *matrix)
    return torch.randn(shape, dtype=torch.complex64, generator=random)


def test_frames_lines_and_samples_keep_their_places(tmp_path):
    kspace = kspace_of()
    image = program(tmp_path, COPY.format("image")).pics(kspace, kspace[0], ("-l2",))
    assert torch.equal(image, kspace[:, 0])


def test_the_files_are_those_that_the_reader_of_bart_arrays_reads(tmp_path):
    kspace = kspace_of(n_coils=2)
    keep = tmp_path / "kept"
    script = f"for end in hdr cfl; do cp kspace.$end {keep}.$end; done\nexit 1\n"
    with pytest.raises(DataError):
        program(tmp_path, script).pics(kspace, kspace[0], ())
    assert torch.equal(READER.open(keep.with_suffix(".cfl")).slice_kspace(0), kspace)


@pytest.mark.parametrize("matrix", [(7, 8), (6, 9), (7, 9)])
def test_odd_sizes_travel_as_even_ones_with_an_empty_line_before_the_first(matrix, tmp_path):
    kspace = kspace_of(n_coils=2, matrix=matrix)
    maps = program(tmp_path, COPY.format("maps")).ecalib(kspace[0])
    n_y, n_x = matrix
    assert maps.shape == (2, n_y + n_y % 2, n_x + n_x % 2)
    assert torch.equal(maps[:, n_y % 2 :, n_x % 2 :], kspace[0])
    assert not maps[:, : n_y % 2].any()
    assert not maps[:, :, : n_x % 2].any()


def test_a_failure_says_which_tool_and_what_it_said(tmp_path):
    script = "echo first >&2\necho no such option >&2\nexit 3\n"
    with pytest.raises(DataError, match=r"^bart pics ended with 3: no such option$"):
        program(tmp_path, script).pics(kspace_of(), kspace_of()[0], ("-q",))


def test_a_run_without_an_end_is_stopped(tmp_path):
    slow = Bart(program(tmp_path, "exec sleep 60\n").program, timeout_s=0.05)
    with pytest.raises(ResourceError, match="bart ecalib did not end within"):
        slow.ecalib(kspace_of()[0])


def test_a_run_that_leaves_nothing_or_another_shape_is_told(tmp_path):
    with pytest.raises(DataError, match="bart left no image"):
        program(tmp_path, "exit 0\n").pics(kspace_of(), kspace_of()[0], ())
    two_coils = kspace_of(n_coils=2)
    with pytest.raises(DataError, match="dimensions"):
        program(tmp_path, COPY.format("image")).pics(two_coils, two_coils[0], ())


def test_values_that_are_cut_short_are_told(tmp_path):
    script = COPY.format("image") + "head -c 16 kspace.cfl > image.cfl\n"
    with pytest.raises(DataError, match="bart left image with 2 values, needed are 144"):
        program(tmp_path, script).pics(kspace_of(), kspace_of()[0], ())


def test_a_program_that_cannot_be_started_is_told(tmp_path):
    with pytest.raises(ResourceError, match="bart version cannot be run"):
        _ = Bart(tmp_path / "nothing").version


@pytest.mark.parametrize("script", [COPY.format("image"), "exit 1\n"])
def test_no_file_stays_behind(script, tmp_path, monkeypatch):
    monkeypatch.setattr(bart_tool, "_MEMORY", tmp_path / "memory")
    (tmp_path / "memory").mkdir()
    with suppress(DataError):
        program(tmp_path, script).pics(kspace_of(), kspace_of()[0], ())
    assert not any((tmp_path / "memory").iterdir())


def test_without_bart_on_the_search_path_there_is_none(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert find_bart() is None


@needs_bart
def test_bart_is_found_with_its_version():
    found = find_bart()
    assert str(found.program) == BART
    assert found.version.startswith("v")


@needs_bart
@pytest.mark.parametrize("matrix", [(48, 64), (49, 64), (48, 65), (49, 65)])
def test_bart_reconstructs_full_sampling_at_odd_sizes_as_at_even_ones(matrix):
    spec = small_spec(n_coils=6, matrix=matrix, snr=1000)
    truth, maps = simulate_truth(spec), simulate_maps(spec)
    kspace = simulate_kspace(truth, maps, spec)[:, 0]
    bart = find_bart()
    image = bart.pics(kspace, bart.ecalib(kspace.mean(0)), ("-l2", "-r", "0.0001"))
    assert relative_error(image, truth[:, 0]) < 0.05
