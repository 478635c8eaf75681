"""Scans below folders: all of them, once, in order, and nothing else."""

import os

import h5py
import numpy as np
import pytest

from containers import volume, write_bart, write_mat5, write_mat73, write_npz
from mrcli.errors import InputError
from mrcli.io import discovery
from mrcli.io.discovery import discover

VALUES = volume((1, 1, 2, 5, 8))


def relatives(*paths):
    return [candidate.relative.as_posix() for candidate in discover(paths)]


def test_folders_are_searched_to_the_bottom_in_order(tmp_path):
    for name in ("b/c/two.npz", "a.npz", "b/one.npz"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        write_npz(tmp_path / name, VALUES)
    assert relatives(tmp_path) == ["a.npz", "b/c/two.npz", "b/one.npz"]
    assert discover([tmp_path])[0].path == tmp_path / "a.npz"


def test_hidden_files_and_folders_are_skipped(tmp_path):
    (tmp_path / ".cache").mkdir()
    for name in (".hidden.npz", ".cache/a.npz", "seen.npz"):
        write_npz(tmp_path / name, VALUES)
    assert relatives(tmp_path) == ["seen.npz"]


def test_masks_and_images_are_left_out_and_damaged_files_stay(tmp_path):
    write_mat5(tmp_path / "kspace.mat", VALUES)
    write_mat5(tmp_path / "mask5.mat", VALUES.real, name="mask")
    write_mat73(tmp_path / "mask73.mat", VALUES, name="mask")
    np.save(tmp_path / "mask.npy", np.ones((5, 8)))
    np.savez(tmp_path / "mask.npz", mask=np.ones((5, 8)))
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    (tmp_path / "broken.mat").write_bytes((tmp_path / "kspace.mat").read_bytes()[:300])
    (tmp_path / "photo.h5").write_bytes(b"\xff\xd8\xff\xe0")
    with h5py.File(tmp_path / "image.h5", "w") as file:
        file["image"] = np.ones((1, 1, 5, 8))
    assert relatives(tmp_path) == ["broken.mat", "kspace.mat", "photo.h5"]


def test_a_bart_pair_is_one_scan(tmp_path):
    write_bart(tmp_path / "scan.cfl", VALUES)
    assert relatives(tmp_path) == ["scan.cfl"]


def test_full_samples_and_undersamples_are_both_scans(tmp_path):
    for name in ("FullSample/cine.mat", "UnderSample_TaskR1/cine_kus_Uniform8.mat"):
        (tmp_path / name).parent.mkdir()
        write_mat5(tmp_path / name, VALUES)
    assert len(relatives(tmp_path)) == 2


def test_a_file_given_by_name_is_a_candidate_whatever_it_is(tmp_path):
    (tmp_path / ".notes.txt").write_text("words")
    assert relatives(tmp_path / ".notes.txt") == [".notes.txt"]


def test_a_file_given_twice_is_listed_once(tmp_path):
    write_npz(tmp_path / "a.npz", VALUES)
    assert relatives(tmp_path / "a.npz", tmp_path, tmp_path / "a.npz") == ["a.npz"]


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="no links on this system")
def test_links_in_circles_end(tmp_path):
    (tmp_path / "inner").mkdir()
    write_npz(tmp_path / "inner/a.npz", VALUES)
    (tmp_path / "inner/loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "dangling.npz").symlink_to(tmp_path / "absent.npz")
    assert relatives(tmp_path) == ["inner/a.npz"]


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="no links on this system")
def test_no_folder_is_entered_twice(tmp_path, monkeypatch):
    write_npz(tmp_path / "a.npz", VALUES)
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    looked_at, may_be_scan = [], discovery._may_be_scan

    def counted(path):
        looked_at.append(path)
        return may_be_scan(path)

    monkeypatch.setattr(discovery, "_may_be_scan", counted)
    discover([tmp_path])
    assert looked_at == [tmp_path / "a.npz"]


def test_missing_paths_and_empty_folders_are_no_usable_input(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        discover([tmp_path / "absent"])
    with pytest.raises(InputError, match="no k-space in"):
        discover([tmp_path])
