"""Scans below folders: all of them, once, in order, and nothing else."""

import os
from pathlib import Path

import h5py
import numpy as np
import pytest

from containers import volume, write_bart, write_mat5, write_mat73, write_npz
from mrcli.errors import InputError
from mrcli.io import discovery
from mrcli.io.discovery import discover
from mrcli.io.registry import open_scan

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
    assert relatives(tmp_path) == ["inner/a.npz"]


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="no links on this system")
def test_links_that_lead_nowhere_stay_in_the_list_to_be_reported(tmp_path):
    write_npz(tmp_path / "a.npz", VALUES)
    (tmp_path / "b.npz").symlink_to(tmp_path / "absent.npz")
    (tmp_path / "circle.npz").symlink_to(tmp_path / "circle.npz")
    (tmp_path / "P003").symlink_to(tmp_path / "lost")
    (tmp_path / "latest.log").symlink_to(tmp_path / "absent.log")
    assert relatives(tmp_path) == ["P003", "a.npz", "b.npz", "circle.npz"]
    for name in ("P003", "b.npz", "circle.npz"):
        with pytest.raises(InputError, match="leads nowhere"):
            open_scan(tmp_path / name)


def refuse_folder(monkeypatch, folder):
    """Make one folder unreadable, for the superuser too."""
    scandir, access = os.scandir, os.access

    def refused(path):
        if os.fspath(path) == os.fspath(folder):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refused)
    monkeypatch.setattr(os, "access", lambda path, mode: path != folder and access(path, mode))


def test_an_unreadable_folder_stays_in_the_list_and_the_others_are_done(tmp_path, monkeypatch):
    for name in ("P001", "P002", "P003"):
        (tmp_path / name).mkdir()
        write_npz(tmp_path / name / "cine.npz", VALUES)
    refuse_folder(monkeypatch, tmp_path / "P002")
    assert relatives(tmp_path) == ["P001/cine.npz", "P002", "P003/cine.npz"]
    with pytest.raises(InputError, match="P002: folder cannot be read"):
        open_scan(tmp_path / "P002")
    with pytest.raises(InputError, match="P002: folder cannot be read"):
        discover([tmp_path / "P002"])


def test_a_folder_whose_files_cannot_be_looked_at_reports_them(tmp_path, monkeypatch):
    write_npz(tmp_path / "a.npz", VALUES)

    def refused(path):
        raise PermissionError(13, "Permission denied", os.fspath(path))

    monkeypatch.setattr(type(tmp_path), "is_file", refused)
    assert relatives(tmp_path) == ["a.npz"]


def test_paths_that_cannot_be_used_stay_in_the_list_where_others_can(tmp_path):
    write_npz(tmp_path / "a.npz", VALUES)
    (tmp_path / "empty").mkdir()
    absent, nul = tmp_path / "absent.npz", Path("a\0b")
    names = relatives(absent, tmp_path / "a.npz", tmp_path / "empty", nul, absent)
    assert names == ["absent.npz", "a.npz", "empty", "a\0b"]
    for path, words in ((absent, "no such file"), (tmp_path / "empty", "a folder")):
        with pytest.raises(InputError, match=words):
            open_scan(path)


def test_where_no_path_can_be_used_the_first_reason_is_given(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"absent\.npz: no such file"):
        discover([tmp_path / "absent.npz", tmp_path / "empty"])


@pytest.mark.parametrize("path", [".", "empty/..", "empty/../empty/."])
def test_a_folder_without_a_name_of_its_own_gets_one(path, tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    write_npz(tmp_path / "full/a.npz", VALUES)
    monkeypatch.chdir(tmp_path / "empty")
    (tmp_path / "empty/empty").mkdir()
    monkeypatch.setattr(discovery, "_below", only_full)
    names = relatives(tmp_path / "full", Path(path))
    assert names[0] == "a.npz"
    assert names[1].strip("./")


def only_full(folder):
    if folder.name != "full":
        raise InputError("no k-space")
    return (discovery.Candidate(folder / "a.npz", Path("a.npz")),)


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
