"""`mrcli simulate` on the command line: one line and the right code for what cannot be."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from mrcli.cli.app import app
from mrcli.schemas import violations
from mrcli.simulate.site_file import BUILT_IN

SMALL = ("--scans", "1", "--matrix-scale", "0.25", "--max-frames", "1", "-q")


def run(*arguments):
    return CliRunner().invoke(app, ["simulate", *map(str, arguments)])


def site_file(path, old, new):
    text = BUILT_IN.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    return path


def one_error_line(result):
    lines = result.stderr.splitlines()
    assert lines[0].startswith("error: ")
    assert all(line.startswith("hint: ") for line in lines[1:])
    assert len(lines) <= 2
    return lines[0]


def test_a_study_is_written_and_the_next_step_named(tmp_path):
    result = run("-o", tmp_path / "study", *SMALL)
    assert result.exit_code == 0
    assert "mrcli inspect" in result.stdout
    assert list((tmp_path / "study").rglob("*_kus_Uniform8.mat"))


def test_json_is_one_document_that_keeps_its_promise(tmp_path):
    result = run("-o", tmp_path / "study", *SMALL, "--json", "--patterns", "Uniform4,ktRadial8")
    document = json.loads(result.stdout)
    assert violations(document) == ()
    assert document["is_simulated"] is True
    assert set(document["scans"][0]["true_accelerations"]) == {"Uniform4", "ktRadial8"}


def test_the_sites_are_listed():
    document = json.loads(run("--list", "--json").stdout)
    assert violations(document) == ()
    assert len(document["sites"]) >= 12
    assert "Center113/Jupiter.sim" in run("--list").stdout


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("front = [2, 6], back = [3, 4]", "front = [0, 6], back = [0, 4]", "0 coils"),
        ("snr = ", "snr = -", "snr is -"),
        ("drift_mm = ", "drift_mm = -", "drift_mm is -"),
        ("body_noise = ", "body_noize = ", "did you mean 'body_noise'"),
        ("[site.protocols]\ncine", "[site.protocols]\nsine", "protocol 'sine' is unknown"),
        ("[[site]]", "[[site]", "no TOML"),
    ],
)
def test_a_site_that_cannot_be_is_refused_in_one_line(old, new, words, tmp_path):
    path = site_file(tmp_path / "sites.toml", old, new)
    result = run("-o", tmp_path / "study", "--site-file", path, *SMALL)
    assert result.exit_code == 3
    line = one_error_line(result)
    assert "sites.toml" in line
    assert words in line
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--anatomy", "absent.npz"), 3),
        (("--site-file", "absent.toml"), 3),
        (("--sites", "Center101/umr790"), 3),
        (("--protocols", "cinema"), 3),
        (("--patterns", "Uniform"), 3),
        (("--to", "dicom"), 2),
        (("--scans", "0"), 2),
        (("--matrix-scale", "2"), 2),
        (("--cohort", "all"), 2),
    ],
)
def test_bad_arguments_get_one_line_and_their_code(arguments, code, tmp_path):
    result = run("-o", tmp_path / "study", *SMALL, *arguments)
    assert result.exit_code == code
    one_error_line(result)
    assert not (tmp_path / "study").exists()


def test_a_missing_output_is_a_usage_error():
    result = run(*SMALL)
    assert result.exit_code == 2
    assert "--output" in one_error_line(result)


def test_an_anatomy_that_is_no_archive_is_refused(tmp_path):
    (tmp_path / "hearts.npz").write_bytes(b"not an archive")
    result = run("-o", tmp_path / "study", *SMALL, "--anatomy", tmp_path / "hearts.npz")
    assert result.exit_code == 4
    assert "hearts.npz" in one_error_line(result)


def test_real_anatomy_and_other_sites_are_taken(tmp_path):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "a.npz", image=rng.random((4, 64, 64)), patient=np.arange(4))
    path = site_file(tmp_path / "sites.toml", 'center = "Center101"', 'center = "Center900"')
    options = ("--anatomy", tmp_path / "a.npz", "--site-file", path)
    result = run("-o", tmp_path / "study", *SMALL, *options, "--json")
    assert json.loads(result.stdout)["scans"][0]["site"] == "Center900/umr780.sim"
    assert result.exit_code == 0
