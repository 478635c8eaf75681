"""`mrcli train` on the command line."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import tempfile

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from mrcli.adapters.forms import FORMS
from mrcli.cli.app import app
from mrcli.cli.manual import verbs
from mrcli.cli.train import Form, Precision, Size, Stage
from mrcli.nn.backbone import SPECS
from mrcli.precision import DTYPES
from mrcli.schemas import violations
from mrcli.tasks import train as task
from mrcli.tasks.train_pool import pool_of
from mrcli.tasks.train_settings import STAGES, TrainSettings, training_sites
from tiny import SPEC, fill_pool


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pool")
    fill_pool(pool_of(TrainSettings(folder, pool_dir=folder), training_sites(), "cpu"), range(204))
    return folder


@pytest.fixture(autouse=True)
def _tiny_and_quiet(monkeypatch, tmp_path_factory):
    monkeypatch.setitem(SPECS, "small", SPEC)
    logs = tmp_path_factory.mktemp("logs")  # of bugs that a test provokes
    monkeypatch.setattr(tempfile, "tempdir", str(logs))


def run(*arguments):
    return CliRunner().invoke(app, ["train", *map(str, arguments)])


def quick(pool, out, n=2):
    return ("-o", out, "--pool", pool, "--steps", n, "--precision", "fp32", "--device", "cpu")


def test_both_stages_end_with_a_model_and_the_next_step(pool, tmp_path):
    result = run(*quick(pool, tmp_path))
    assert result.exit_code == 0
    assert result.stdout.startswith("step 2 of 2, ")
    assert f"--model {tmp_path}/model" in result.stdout
    line = r"step 2 of 2: [+-]\d+\.\d\d dB, \d+\.\d\d s a step, 0 min left\n"
    assert re.fullmatch(line, result.stderr)
    options = ("--stage", "adapters", "--form", "scale-shift", "--universal-share", "1", "--json")
    result = run(*quick(pool, tmp_path), *options, "-q")
    document = json.loads(result.stdout)
    assert violations(document) == ()
    assert document["command"] == "train"
    assert document["is_done"] is True
    assert "universal" in document["adapters"]
    assert result.stderr == ""
    facts = json.loads((tmp_path / "adapters" / "settings.json").read_text())
    assert (facts["form"], facts["universal_share"], facts["peak_rate"]) == ("scale-shift", 1, 2e-3)


def test_a_time_limit_ends_a_piece_and_says_how_to_go_on(pool, tmp_path):
    result = run(*quick(pool, tmp_path, 50), "--minutes", "1e-9", "--json")
    document = json.loads(result.stdout)
    assert violations(document) == ()
    assert (result.exit_code, document["step"], document["is_done"]) == (0, 1, False)
    result = run(*quick(pool, tmp_path, 50), "--minutes", "1e-9", "-q")
    assert result.stdout.startswith("step 2 of 50")
    assert "the same command goes on" in result.stdout
    assert result.stderr == ""


def test_every_option_reaches_the_task(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(task, "run_training", lambda *given: asked.append(given) or 1 / 0)
    (tmp_path / "a.npz").touch()
    run(
        *("-o", tmp_path, "--stage", "adapters", "--size", "base", "--steps", 9, "--rate", 0.5),
        *("--seed", 3, "--device", "cpu", "--precision", "fp32", "--anatomy", tmp_path / "a.npz"),
        *("--pool", tmp_path / "p", "--model", tmp_path / "m", "--form", "bottleneck"),
        *("--rank", 5, "--universal-share", 0.1, "--leave-out", "a/b", "--leave-out", "c/d"),
    )
    settings, _, deadline = asked[0]
    assert deadline is None
    assert settings == TrainSettings(
        out_dir=tmp_path,
        size="base",
        n_steps=9,
        peak_rate=0.5,
        seed=3,
        device="cpu",
        precision="fp32",
        anatomy_path=tmp_path / "a.npz",
        pool_dir=tmp_path / "p",
        stage="adapters",
        model_dir=tmp_path / "m",
        form="bottleneck",
        rank=5,
        universal_share=0.1,
        leave_out=("a/b", "c/d"),
    )


def test_the_defaults_are_those_of_the_task(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(task, "run_training", lambda settings, *_: asked.append(settings) or 1 / 0)
    run("-o", tmp_path, "--device", "cpu")
    assert asked == [TrainSettings(tmp_path)]


def test_what_is_offered_is_what_there_is():
    assert {one.value for one in Size} == set(SPECS)
    assert {one.value for one in Form} == set(FORMS)
    assert {one.value for one in Precision} == set(DTYPES)
    assert tuple(one.value for one in Stage) == STAGES
    assert "train" in dict(verbs(get_command(app)))


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ((), 2, "--output"),
        (("-o", "x", "--size", "huge"), 2, "huge"),
        (("-o", "x", "--steps", "0"), 2, "steps"),
        (("-o", "x", "--universal-share", "2"), 2, "universal-share"),
        (("-o", "x", "--precision", "fp16"), 2, "fp16"),
        (("-o", "x", "--rate", "nan"), 3, "rate is nan"),
        (("-o", "x", "--leave-out", "Center101/umr790.sim"), 3, "no site is called"),
        (("-o", "x", "--stage", "adapters", "--model", "absent"), 7, "no model is called"),
        (("-o", "x", "--stage", "adapters"), 3, "no model to learn adapters for"),
        (("-o", "x", "--anatomy", "absent.npz"), 3, "absent.npz"),
        (("-o", "x", "--device", "cuda:99"), 6, "cuda:99"),
    ],
)
def test_what_cannot_be_is_one_line_and_its_code(arguments, code, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert result.exit_code == code
    lines = result.stderr.splitlines()
    assert lines[0].startswith("error: ")
    assert words in lines[0]
    assert len(lines) <= 2


SCRIPT = (
    "import sys; sys.path.insert(0, {tests!r})\n"
    "from tiny import SPEC\n"
    "from mrcli.nn.backbone import SPECS\n"
    "SPECS['small'] = SPEC\n"
    "from mrcli.cli.app import main; main()\n"
)


@pytest.mark.parametrize(
    ("sent", "code", "words"),
    [(signal.SIGINT, 130, b"error: interrupted"), (signal.SIGTERM, 143, b"error: terminated")],
)
def test_a_signal_saves_and_ends_with_its_code_and_one_line(pool, tmp_path, sent, code, words):
    """Ctrl-C and `timeout` reach the whole group, the process that makes samples too."""
    script = SCRIPT.format(tests=str(os.path.dirname(os.path.dirname(__file__))))  # noqa: PTH120
    arguments = [sys.executable, "-c", script, "train", *map(str, quick(pool, tmp_path, 100_000))]
    master, slave = pty.openpty()
    process = subprocess.Popen(
        arguments, stdout=subprocess.DEVNULL, stderr=slave, stdin=slave, start_new_session=True
    )
    os.close(slave)
    seen = b""
    while b"/100000" not in seen:
        seen += os.read(master, 4096)
    os.killpg(process.pid, sent)
    end = b""
    try:
        while chunk := os.read(master, 4096):
            end += chunk
    except OSError:  # the other end is closed
        pass
    assert process.wait(30) == code
    assert end.count(words) == 1
    assert b"Traceback" not in end
    steps = (tmp_path / "log.jsonl").read_text().count("\n")
    assert steps > 0
    assert (tmp_path / "checkpoint.safetensors").exists()
    result = run(*quick(pool, tmp_path, 100_000), "--minutes", "1e-9", "--json")
    assert json.loads(result.stdout)["step"] == steps + 1
    os.close(master)
