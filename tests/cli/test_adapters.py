"""`mrcli adapters list|show|verify`: what is there, what is known of it, and what is refused."""

import json

import pytest
from typer.testing import CliRunner

from bundles import MEMBERS, SITE_NAME, adapter_of, backbone_of, card_of, write_model
from mrcli.cli.app import app
from mrcli.models.bundle_files import write_bundle
from mrcli.models.index import write_index
from mrcli.schemas import violations


def run(*arguments):
    return CliRunner().invoke(app, ["adapters", *map(str, arguments)])


def document(*arguments, code=0):
    result = run(*arguments, "--json")
    found = json.loads(result.stdout)
    assert result.exit_code == found["exit_code"] == code
    assert violations(found) == ()
    assert found["command"] == f"adapters {arguments[0]}"
    return found


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    folder = tmp_path / "pretrained"
    write_model(folder)
    write_index(folder)
    monkeypatch.setenv("MRCLI_PRETRAINED", str(folder))
    monkeypatch.chdir(tmp_path)
    return folder


def damage(path):
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def test_the_list_has_a_row_per_model_and_adapter(shipped):
    rows = document("list")["models"]
    assert [row["name"] for row in rows] == ["tiny", *(name for _, name in MEMBERS)]
    backbone, universal = rows[:2]
    assert backbone["kind"] == "backbone"
    assert (universal["form"], universal["merges"]) == ("combined", True)
    assert universal["share"] == universal["n_parameters"] / backbone["n_parameters"]
    assert {row["backbone_sha256"] for row in rows} == {backbone["sha256"]}
    assert document("list", "--model", shipped / "tiny")["models"] == rows


def test_the_table_has_a_line_per_row_and_a_prefix_of_the_hash(shipped):
    result = run("list")
    lines = result.stdout.splitlines()
    assert len(lines) == 2 + len(MEMBERS)
    assert SITE_NAME in lines[-1]
    sha256 = json.loads((shipped / "tiny/model.json").read_text())["backbone_sha256"]
    assert all(line.rstrip().endswith(sha256[:12]) for line in lines[1:])
    assert result.stderr == ""


def test_no_model_is_a_note_and_no_failure(tmp_path, monkeypatch):
    monkeypatch.setenv("MRCLI_PRETRAINED", str(tmp_path))
    write_index(tmp_path)
    for verb in ("list", "verify"):
        result = run(verb)
        assert (result.exit_code, result.stdout) == (0, "")
        assert result.stderr == "no model in the index yet\n"
        assert run(verb, "-q").stderr == ""
    assert document("list")["models"] == document("verify")["verified"] == []


@pytest.mark.parametrize("name", ["Cine", SITE_NAME, "universal"])
def test_an_adapter_is_shown_by_its_name_or_its_folder(shipped, name):
    shown = document("show", name)
    assert shown["shown"]["name"] == shown["card"]["name"] == name
    assert shown["card"]["training"] == {"steps": 10, "rate": 1e-3}
    kinds = {"Cine": "protocols/Cine", SITE_NAME: f"sites/{SITE_NAME.replace('/', '-')}"}
    folder = shipped / "tiny/adapters" / kinds.get(name, name)
    assert document("show", folder) == shown
    assert document("show", folder, "--model", "tiny") == shown


def test_a_model_is_shown_by_its_name_or_its_folder(shipped):
    shown = document("show", "tiny")
    assert shown["card"]["training"] == {"steps": 3}
    assert document("show", shipped / "tiny") == shown


def test_the_card_reads_as_lines(shipped):
    lines = run("show", "Cine").stdout.splitlines()
    facts = dict(line.split(None, 1) for line in lines)
    assert facts["data_fingerprint.n.Cine"].strip() == "3"
    assert facts["acceptance"].strip() == "none"
    assert facts["merges"].strip() == "yes"
    assert shipped.is_dir()


def test_what_is_unknown_or_in_two_models_is_7(shipped):
    error = document("show", "Brain", code=7)["error"]
    assert error["message"] == "no model or adapter is called 'Brain'"
    write_model(shipped, "twin", seed=3)
    write_index(shipped)
    assert "Cine: in tiny and twin" in document("show", "Cine", code=7)["error"]["message"]
    assert document("show", "Cine", "--model", "twin")["shown"]["model"] == "twin"
    assert document("list", "--model", "absent", code=7)["error"]["code"] == "ModelError"


def test_all_that_ships_is_verified(shipped):
    (item,) = document("verify")["verified"]
    assert item == {"name": "tiny", "status": "ok", "n_adapters": len(MEMBERS), "error": None}
    assert run("verify").stdout.split() == ["ok", "tiny:", "4", "adapters"]
    assert document("verify", shipped / "tiny/adapters/universal")["ok"]
    assert document("verify", "--model", "tiny")["verified"] == [item]


@pytest.mark.parametrize(
    "name",
    ["backbone.safetensors", "MODEL_CARD.md", "adapters/protocols/LGE/adapter.json"],
)
def test_a_damaged_file_is_7_and_named(shipped, name):
    damage(shipped / "tiny" / name)
    (item,) = document("verify", code=7)["verified"]
    assert item["status"] == "refused"
    assert name in item["error"]["message"]
    result = run("verify")
    assert result.exit_code == 7
    assert result.stdout.split() == ["refused", "tiny"]
    assert f"tiny/{name}" in result.stderr.splitlines()[0]
    assert run("verify", "-q").stderr == result.stderr


def test_one_bad_bundle_does_not_hide_the_good_one(shipped, tmp_path):
    good, bad = shipped / "tiny/adapters/universal", tmp_path / "mine"
    sha256 = json.loads((shipped / "tiny/model.json").read_text())["backbone_sha256"]
    write_bundle(bad, adapter_of(backbone_of()), card_of(sha256))
    assert document("verify", bad)["ok"]
    damage(bad / "adapter.safetensors")
    items = document("verify", bad, good, "absent", code=7)["verified"]
    assert [item["status"] for item in items] == ["refused", "ok", "refused"]
    assert "adapter.safetensors: sha256 is" in items[0]["error"]["message"]


def test_an_adapter_of_a_backbone_that_is_not_there_is_7(shipped, tmp_path):
    write_bundle(tmp_path / "mine", adapter_of(backbone_of()), card_of("f" * 64))
    for options in ([], ["--model", "tiny"]):
        (item,) = document("verify", tmp_path / "mine", *options, code=7)["verified"]
        assert "is for backbone ffffffffffff" in item["error"]["message"]
    assert document("show", tmp_path / "mine", code=7)["error"]["code"] == "ModelError"
    assert shipped.is_dir()


def test_a_failure_names_the_whole_verb_and_a_usage_error_is_2(shipped):
    for arguments in (["show"], ["show", "a", "--bogus"]):
        found = document(*arguments, code=2)
        assert found["error"]["hint"] == "see mrcli adapters show --help"
    result = run("bogus", "--json")
    assert json.loads(result.stdout)["command"] == "adapters"
    assert (result.exit_code, shipped.is_dir()) == (2, True)


def test_no_verb_shows_the_help():
    result = run()
    assert result.exit_code == 2
    assert "Usage: mrcli adapters" in result.output
    assert "error:" not in result.output


def test_a_configuration_file_does_not_know_this_verb_and_does_not_stumble_over_it(shipped):
    (shipped.parent / "mrcli.toml").write_text('device = "cpu"\n[recon]\nseed = 3\n')
    assert run("list").exit_code == 0
    assert CliRunner().invoke(app, ["inspect", "--readers"]).exit_code == 0
