"""Each check tells a good machine from a bad one and says what to do."""

import errno
import json
import os

import pytest
import torch
from typer.testing import CliRunner

from bundles import write_model
from mrcli.cli.app import app
from mrcli.io import atomic
from mrcli.models.index import write_index
from mrcli.schemas import violations
from mrcli.tasks import doctor
from mrcli.tasks.doctor import (
    Check,
    DoctorResult,
    Status,
    check_arithmetic,
    check_folder,
    check_gpu,
    check_hdf5,
    check_library,
    check_locks,
    check_memory,
    check_pretrained,
    examine,
    version_of,
)


@pytest.fixture(autouse=True)
def _small_arithmetic(monkeypatch):
    monkeypatch.setattr(doctor, "_MATRIX", (2, 8, 6))


def test_this_machine_gives_one_document_as_promised():
    result = CliRunner().invoke(app, ["doctor", "--json", "--device", "cpu"])
    document = json.loads(result.stdout)
    assert violations(document) == ()
    assert len({check["name"] for check in document["checks"]}) == len(document["checks"])


def test_this_machine_gives_a_line_per_check():
    lines = CliRunner().invoke(app, ["doctor"]).stdout.splitlines()
    n_checks = len(examine("auto").checks)
    assert len([line for line in lines if line[:4].strip() in {"ok", "warn", "fail"}]) == n_checks


@pytest.mark.parametrize(
    ("statuses", "code"), [(["ok"], 0), (["ok", "warn"], 0), (["fail", "ok"], 6), ([], 0)]
)
def test_the_exit_code_is_6_where_something_fails(statuses, code):
    checks = tuple(Check(name, Status(name), "", None) for name in statuses)
    assert DoctorResult(checks).exit_code == code


@pytest.mark.parametrize(
    ("text", "version"),
    [("2.13.0+cpu", (2, 13, 0)), ("1.14rc1", (1, 14)), ("2", (2,)), ("", ()), ("x", ())],
)
def test_versions_are_compared_as_numbers(text, version):
    assert version_of(text) == version


@pytest.mark.parametrize(
    ("found", "status"),
    [("1.14.6", "warn"), ("2.0.0", "warn"), ("2.1.9", "warn"), ("2.2.0", "ok"), ("2.10.0", "ok")],
)
def test_an_hdf5_library_with_published_vulnerabilities_is_a_warning(found, status):
    check = check_hdf5(found)
    assert check.status == status
    assert (check.fix is None) == (status == "ok")


def test_a_library_that_is_too_old_or_absent_fails_with_the_command_that_mends_it():
    old, absent = check_library("numpy", (999, 1)), check_library("no-such-library", (1,))
    assert (old.status, absent.status) == (Status.FAIL, Status.FAIL)
    assert old.fix == "pip install 'numpy>=999.1'"
    assert absent.message == "not installed"


def test_a_folder_that_cannot_be_written_fails(tmp_path, monkeypatch):
    assert check_folder("f", tmp_path, "move").status in {Status.OK, Status.WARN}
    absent = check_folder("f", tmp_path / "absent", "move")
    assert (absent.status, absent.fix) == (Status.FAIL, "move")

    def fail(*_):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(atomic.os, "fsync", fail)
    message = check_folder("f", tmp_path, "move").message
    assert message == f"cannot be written: {os.strerror(errno.EROFS).lower()}"
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == []


def test_little_space_or_memory_is_a_warning(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "_LOW_DISK_BYTES", 2**70)
    monkeypatch.setattr(doctor, "_LOW_MEMORY_BYTES", 2**70)
    assert check_folder("f", tmp_path, "move").status is Status.WARN
    assert check_memory().status in {Status.WARN, Status.OK}
    monkeypatch.setattr(doctor, "free_memory_bytes", lambda: 2**69)
    assert check_memory().status is Status.WARN
    monkeypatch.setattr(doctor, "free_memory_bytes", lambda: None)
    assert check_memory().status is Status.OK


def test_locks_are_tried_where_outputs_go(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert check_locks().status is Status.OK
    assert list(tmp_path.iterdir()) == []


def test_named_models_that_are_not_there_fail(tmp_path, monkeypatch):
    monkeypatch.setenv("MRCLI_PRETRAINED", str(tmp_path))
    assert check_pretrained().status is Status.FAIL
    (tmp_path / "index.toml").write_text("schema_version = 1\n")
    assert check_pretrained().message == "index found, no model in it yet"
    (tmp_path / "index.toml").write_text("model = 3")
    assert check_pretrained().status is Status.FAIL


def test_models_are_counted_and_a_wrong_hash_fails_with_a_fix(tmp_path, monkeypatch):
    monkeypatch.setenv("MRCLI_PRETRAINED", str(tmp_path))
    write_model(tmp_path)
    write_index(tmp_path)
    check = check_pretrained()
    assert check.message == "models: 1, adapters: 4, every hash is right"
    assert (check.status, check.fix) == (Status.OK, None)
    with (tmp_path / "tiny/MODEL_CARD.md").open("a") as file:
        file.write("x")
    check = check_pretrained()
    assert check.status is Status.FAIL
    assert "tiny/MODEL_CARD.md: sha256 is" in check.message
    assert "install again" in check.fix


def test_a_gpu_matters_only_where_it_was_asked_for(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert check_gpu("auto").status is check_gpu("cpu").status is Status.OK
    assert check_gpu("cuda:0").status is Status.FAIL
    assert check_arithmetic("auto").message.startswith("cpu: ")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_what_fails_is_an_error_line_with_its_fix(options):
    result = CliRunner().invoke(app, ["doctor", "--device", "cuda", *options])
    assert result.exit_code == 6
    assert result.stderr.splitlines() == [
        "error: gpu: none that torch can use",
        "hint: use the cpu, or install a driver",
        "error: arithmetic: cuda: cannot be computed on (torch finds no such gpu)",
        "hint: choose another device",
    ]


def test_arithmetic_that_is_wrong_or_impossible_fails(monkeypatch):
    assert check_arithmetic("cpu").status is Status.OK
    assert check_arithmetic("cuda:97").status is Status.FAIL
    for error in (1e-3, float("nan")):
        monkeypatch.setattr(doctor, "_transform_and_multiply", lambda _, e=error: (e, 0.1))
        assert check_arithmetic("cpu").status is Status.FAIL
