"""`mrcli recon`: its table can be read at 80 columns and in a file, and its options act."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from mrcli.cli import render
from mrcli.cli.app import app
from mrcli.cli.recon import show_scans
from mrcli.schemas import violations
from mrcli.tasks.recon_result import ReconResult, ReconScan
from networks import SITE, installed, write_model
from phantoms import lines, small_study

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


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Write a scan, and a model that is installed."""
    root = tmp_path_factory.mktemp("study")
    _, kspace = small_study(n_coils=6)
    np.save(root / "a.npy", (kspace * lines(48, 3, 12)).numpy())
    write_model(root / "models" / "small")
    with installed(root / "models"):
        yield root


def recon(study, *options):
    arguments = ["recon", str(study / "a.npy"), "-o", str(study / "out"), "--device", "cpu"]
    return CliRunner().invoke(app, [*arguments, "-q", *options])


def test_the_options_of_the_network_decide_the_plan(study):
    options = ["--dry-run", "--json", "--method", "network", "--model", "small"]
    ended = recon(study, *options, "--adapter", SITE, "--precision", "bf16")
    document = json.loads(ended.stdout)
    assert (ended.exit_code, violations(document)) == (0, ())
    (scan,) = document["scans"]
    assert (scan["status"], scan["method"], scan["precision"]) == ("planned", "network", "bf16")
    assert (scan["model"]["name"], scan["adapter"]["name"]) == ("small", SITE)


def test_verbose_says_model_adapter_precision_and_reason(study):
    ended = recon(study, "--dry-run", "-v", "--precision", "fp32")
    assert "model small, adapter universal, fp32\n" in ended.stdout
    assert "auto: model small fits the data; " in ended.stdout


@pytest.mark.parametrize("option", ["--model", "--adapter"])
@pytest.mark.parametrize("method", ["auto", "network"])
def test_a_model_or_adapter_that_is_refused_is_7(study, option, method):
    ended = recon(study, "--json", "--method", method, option, "absent")
    document = json.loads(ended.stdout)
    assert (ended.exit_code, document["error"]["code"]) == (7, "ModelError")
    assert violations(document) == ()
    assert len(ended.stderr.splitlines()) == 2


def test_another_precision_is_a_usage_error(study):
    assert recon(study, "--precision", "fp8").exit_code == 2


def test_an_empty_text_names_neither_model_nor_adapter(study):
    for option in ("--model", "--adapter"):
        assert recon(study, "--dry-run", option, "").exit_code == 7
