"""Command line before environment before file before default; an unknown key is an error."""

import os
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from mrcli.cli.app import CommandLine
from mrcli.cli.options import (
    ConfigOption,
    DeviceOption,
    JsonOption,
    NoColorOption,
    PathsArgument,
    QuietOption,
    SeedOption,
)
from mrcli.config import ConfigError, find_config, read_config

KNOWN = {
    "recon": {"method": str, "to": str, "device": str, "seed": int, "overwrite": bool},
    "report": {"device": str, "metrics": str, "gain": float},
}
group = typer.Typer(cls=CommandLine, pretty_exceptions_enable=False)


@group.callback()
def describe():
    pass


@group.command()
def act(
    *,
    as_json: JsonOption = False,
    dry_run: bool = typer.Option(False, "--dry-run"),
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    quiet: QuietOption = False,
    config: ConfigOption = None,
    no_color: NoColorOption = False,
):
    del as_json, config, no_color
    typer.echo(f"{seed} {device} {quiet} {dry_run}")


@group.command()
def name(paths: PathsArgument):
    typer.echo("|".join(map(str, paths)))


def run(*arguments, file=None, environment=None, standard_input=None):
    options = ["--config", str(file)] if file else []
    return CliRunner().invoke(group, [*arguments, *options], env=environment, input=standard_input)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "site.toml"
    path.write_text('seed = 1\ndevice = "cpu"\n\n[act]\nseed = 2\ndry-run = true\nquiet = true\n')
    return path


def test_without_anything_the_defaults_hold():
    assert run("act").stdout == "0 auto False False\n"


def test_the_file_is_the_default_and_a_section_goes_before_shared_keys(file):
    assert run("act", file=file).stdout == "2 cpu True True\n"


def test_the_environment_goes_before_the_file(file):
    assert run("act", file=file, environment={"MRCLI_SEED": "3"}).stdout == "3 cpu True True\n"


def test_the_command_line_goes_before_the_environment(file):
    result = run("act", "--seed", "4", file=file, environment={"MRCLI_SEED": "3"})
    assert result.stdout == "4 cpu True True\n"


def test_the_environment_names_the_file(file):
    assert run("act", environment={"MRCLI_CONFIG": str(file)}).stdout == "2 cpu True True\n"


def test_the_file_in_the_current_folder_is_found_unless_another_is_named(tmp_path):
    beside = tmp_path / "mrcli.toml"
    assert find_config(None, tmp_path) is None
    beside.write_text("")
    assert find_config(None, tmp_path) == beside
    assert find_config(Path("other"), tmp_path) == Path("other")


@pytest.mark.parametrize(
    ("content", "message", "nearest"),
    [
        ("sead = 1", "unknown key: sead", "seed"),
        ("[recom]", "unknown section: recom", "recon"),
        ("[recon]\nmetod = 'cs'", r"unknown key in section \[recon\]: metod", "method"),
        ("[report]\nto = 'h5'", r"unknown key in section \[report\]: to", "known are device, gain"),
        ("json = true", "unknown key: json", "known are device, no-color"),
        ("method = 'cs'", "method stands above all sections", "section [recon]"),
        ("recon = 1", "recon is a section, not a key", "write [recon]"),
    ],
)
def test_an_unknown_key_is_an_error_that_names_the_nearest(tmp_path, content, message, nearest):
    (tmp_path / "a.toml").write_text(content)
    with pytest.raises(ConfigError, match=rf"^a\.toml: {message}$") as caught:
        read_config(tmp_path / "a.toml", KNOWN)
    assert caught.value.exit_code == 2
    assert nearest in caught.value.hint


def test_shared_keys_reach_the_verbs_that_have_them(tmp_path):
    (tmp_path / "a.toml").write_text('seed = 1\ndevice = "cpu"\n[recon]\nto = ["nifti", "h5"]\n')
    found = read_config(tmp_path / "a.toml", KNOWN)
    assert {verb: {k: s.value for k, s in own.items()} for verb, own in found.items()} == {
        "recon": {"seed": 1, "device": "cpu", "to": "nifti,h5"},
        "report": {"device": "cpu"},
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("seed = 1.5", "a.toml: seed is a number, needed is a whole number"),
        ("seed = true", "a.toml: seed is true or false, needed is a whole number"),
        ("device = 3", "a.toml: device is a whole number, needed is a text"),
        (
            "[recon]\noverwrite = 'yes'",
            "a.toml: overwrite in section [recon] is a text, needed is true or false",
        ),
        ("[recon]\noverwrite = 1", "a.toml: overwrite in section [recon] is a whole number"),
        ("[recon]\nto = [1]", "a.toml: to in section [recon] is a list, needed is a text"),
        ("[report]\ngain = '1'", "a.toml: gain in section [report] is a text"),
    ],
)
def test_a_value_of_another_kind_names_file_section_and_key(tmp_path, content, message):
    (tmp_path / "a.toml").write_text(content)
    with pytest.raises(ConfigError) as caught:
        read_config(tmp_path / "a.toml", KNOWN)
    assert caught.value.message.startswith(message)


def test_a_whole_number_is_a_number(tmp_path):
    (tmp_path / "a.toml").write_text("[report]\ngain = 1\n")
    assert read_config(tmp_path / "a.toml", KNOWN)["report"]["gain"].value == 1


@pytest.mark.parametrize(
    ("content", "start"),
    [
        ("seed = -1", "error: a.toml: seed: "),
        ('[act]\ndevice = "tpu"', "error: a.toml: device in section [act]: 'tpu' is not a device"),
    ],
)
def test_a_value_that_the_option_refuses_names_the_file_and_not_the_option(
    tmp_path, content, start
):
    (tmp_path / "a.toml").write_text(content)
    result = run("act", file=tmp_path / "a.toml")
    assert result.exit_code == 2
    assert result.stderr.startswith(start), result.stderr
    assert "--" not in result.stderr.splitlines()[0]


@pytest.mark.parametrize("content", [b"a = ", b"\xff", b"seed = [1]", b"[recon.method]"])
def test_a_file_that_is_no_configuration_is_an_error(tmp_path, content):
    (tmp_path / "a.toml").write_bytes(content)
    with pytest.raises(ConfigError, match=r"^a\.toml: "):
        read_config(tmp_path / "a.toml", KNOWN)


@pytest.mark.parametrize("key", ["json", "config", "help"])
def test_a_file_cannot_change_the_form_of_the_output(tmp_path, key):
    (tmp_path / "a.toml").write_text(f"[act]\n{key} = true\n")
    result = run("act", file=tmp_path / "a.toml")
    assert result.exit_code == 2
    assert f"unknown key in section [act]: {key}" in result.stderr


def test_a_file_that_is_not_there_is_a_usage_error(tmp_path):
    result = run("act", file=tmp_path / "absent.toml")
    assert result.exit_code == 2
    assert "absent.toml: the configuration file cannot be read" in result.stderr


@pytest.mark.parametrize("line", ['seed = "abc"', "seed = -1", "seed = 1.5", 'device = "tpu"'])
def test_a_value_of_the_wrong_kind_is_a_usage_error(tmp_path, line):
    (tmp_path / "a.toml").write_text(line)
    result = run("act", file=tmp_path / "a.toml")
    assert result.exit_code == 2, result.output
    assert line.split()[0] in result.stderr


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "cuda:1"])
def test_devices(device):
    assert device in run("act", "--device", device).stdout


def test_a_dash_stands_for_the_paths_on_standard_input():
    result = run("name", "a", "-", "d", standard_input="b b\n\nc\n")
    assert result.stdout == "a|b b|c|d\n"
    empty = run("name", "-", standard_input="\n")
    assert empty.exit_code == 3
    assert empty.stderr.startswith("error: standard input lists no path\n")
    assert run("name", "-", "-", standard_input="a").exit_code == 2


def test_no_color_acts_on_the_process(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "")
    assert run("act", "--no-color").exit_code == 0
    assert os.environ["NO_COLOR"] == "1"
