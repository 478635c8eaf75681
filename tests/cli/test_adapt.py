"""`mrcli adapt` on the command line: options, the document, exit codes, and what a person reads."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from bundles import write_model
from containers import write_npz
from mrcli.cli.adapt import Reference
from mrcli.cli.app import app
from mrcli.schemas import violations
from mrcli.tasks.adapt_settings import REFERENCES

N_Y, N_X = 36, 32


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    model = write_model(folder, members=())
    rng = np.random.default_rng(0)
    (folder / "scans").mkdir()
    window = np.hanning(N_Y)[:, None] * np.hanning(N_X)
    for number in range(3):
        kspace = rng.standard_normal((2, 1, 3, N_Y, N_X, 2)) @ [1, 1j]
        write_npz(folder / "scans" / f"{number}.npz", (kspace * window).astype(np.complex64))
    return folder / "scans", model


def run(site, out, *options):
    scans, model = site
    own = ("-o", out, "--center", "Center9", "--scanner", "Vida", "--model", model)
    quick = ("--steps", 2, "--pattern", "Uniform4", "--device", "cpu", "--precision", "fp32")
    return CliRunner().invoke(app, ["adapt", *map(str, (scans, *own, *quick, *options))])


def test_a_refusal_is_code_9_with_a_document_a_reason_and_a_page(site, tmp_path):
    result = run(site, tmp_path / "out", "--min-gain-db", 99, "--json", "-q")
    assert result.exit_code == 9
    document = json.loads(result.stdout)
    assert violations(document) == ()
    assert document["accepted"] is False
    assert document["bundle"] is None
    assert "error: not accepted: the mean gain may be as low as" in result.stderr
    assert (tmp_path / "out" / "evidence" / "index.html").is_file()


def test_an_acceptance_says_how_to_use_the_adapter(site, tmp_path):
    result = run(site, tmp_path / "out", "--min-gain-db", -99, "--max-worst-loss-db", 99)
    assert result.exit_code == 0
    assert "accepted" in result.stdout
    assert "mrcli adapters activate" in result.stdout
    assert "fold 1 of 3" in result.stderr


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (("--reference", "perhaps"), 2),
        (("--steps", 0), 2),
        (("--holdout", 1), 3),
        (("--pattern", "Spiral8"), 3),
        (("--center", "a/b"), 3),
        (("--model", "nowhere"), 7),
    ],
)
def test_wrong_options_have_their_codes_and_write_nothing(site, tmp_path, options, code):
    result = run(site, tmp_path / "out", *options)
    assert result.exit_code == code
    assert not (tmp_path / "out").exists()


def test_no_input_is_code_3(site, tmp_path):
    (tmp_path / "empty").mkdir()
    assert run((tmp_path / "empty", site[1]), tmp_path / "out").exit_code == 3


def test_the_choices_of_the_command_line_are_those_of_the_task():
    assert tuple(Reference) == REFERENCES
