"""The table of `mrcli recon`: scans can be told apart at 80 columns and in a file."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from mrcli.cli import render
from mrcli.cli.recon import show_scans
from mrcli.tasks.recon_result import ReconResult, ReconScan

FOLDER = "Center001/UIH_30T_umr780"
NAMES = [f"{FOLDER}/P{n:03}/cine_sax_kus_ktGaussian{n}.mat" for n in (8, 16)]


def scan(name, *outputs):
    stem = name.removesuffix(".mat")
    outputs = outputs or (f"{stem}.nii.gz", f"{stem}.json")
    return ReconScan(name, "done", "zero-filled", "asked for", outputs, 0.01234, 12.5)


def shown(*scans, width=80):
    console = Console(width=width, file=io.StringIO(), highlight=False)
    show_scans(ReconResult(scans, 1.0), console, out_dir=Path("images"))
    return console.file.getvalue()


@pytest.mark.parametrize("width", [80, 200])
def test_names_are_whole_and_their_folder_stands_once(width):
    text = shown(*map(scan, NAMES), width=width)
    assert "…" not in text
    assert text.count(FOLDER) == 1
    for name in NAMES:
        assert name.removeprefix(f"{FOLDER}/") in text
    assert "output" not in text
    assert text.endswith("images below images\n")
    assert max(map(len, text.splitlines())) <= width


def test_outputs_of_other_names_are_listed():
    text = shown(scan(NAMES[0], "x.mat.nii.gz", "x.mat.json"), width=200)
    assert "output" in text
    assert "x.mat.nii.gz, x.mat.json" in text


def test_a_single_scan_keeps_its_folders():
    assert NAMES[0] in shown(scan(NAMES[0]), width=200)


def test_in_a_file_every_scan_is_one_line(capsys):
    names = ["deep/" * 60 + f"{n}.mat" for n in range(2)]
    console = render.stdout_console()
    show_scans(ReconResult(tuple(map(scan, names)), 1.0), console, out_dir=Path("out"))
    rows = [line for line in capsys.readouterr().out.splitlines() if "zero-filled" in line]
    assert [row.split()[0] for row in rows] == ["0.mat", "1.mat"]
    long = "x" * 500
    show_scans(ReconResult((scan(f"{long}.mat"),), 1.0), console, out_dir=Path("out"))
    assert f"{long}.mat" in capsys.readouterr().out
