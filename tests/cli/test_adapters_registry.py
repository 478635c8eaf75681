"""The life of an adapter on the command line: activate, roll back, move, compare, average."""

import io
import json
import shutil
import stat
import zipfile

import pytest
from typer.testing import CliRunner

from bundles import SITE_NAME, adapter_of, backbone_of, card_of, write_model
from mrcli.cli.app import app
from mrcli.models.bundle_files import write_bundle
from mrcli.models.index import write_index
from mrcli.models.parcel import read_parcel
from mrcli.models.parcel_zip import zip_bytes
from mrcli.models.store import load_model
from mrcli.schemas import violations

NAME = "Center9/Vida"
BACKBONE = backbone_of()


def run(*arguments):
    return CliRunner().invoke(app, ["adapters", *map(str, arguments)])


def document(*arguments, code=0):
    result = run(*arguments, "--json")
    found = json.loads(result.stdout)
    assert result.exit_code == found["exit_code"] == code, result.stderr
    assert violations(found) == ()
    assert found["command"] == f"adapters {arguments[0]}"
    return found


def codes(found):
    return [one["code"] for one in found["findings"]]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    write_model(folder)
    write_index(folder)
    return folder


@pytest.fixture
def site(made, tmp_path, monkeypatch):
    """A site with a model, an empty registry, and two bundles as `mrcli adapt` writes them."""
    monkeypatch.setenv("MRCLI_PRETRAINED", str(made))
    monkeypatch.setenv("MRCLI_REGISTRY", str(tmp_path / "registry"))
    monkeypatch.chdir(tmp_path)
    for seed in (1, 2):
        write(tmp_path / f"out{seed}/bundle", seed, acceptance={"accepted": True})
        (tmp_path / f"out{seed}/evidence").mkdir()
        (tmp_path / f"out{seed}/evidence/change.json").write_text(f'{{"seed": {seed}}}')
    return tmp_path


def write(folder, seed=1, name=NAME, form="combined", kind="site", **card):
    sha256 = load_model("tiny").sha256
    write_bundle(folder, adapter_of(BACKBONE, form, seed=seed), card_of(sha256, kind, name, **card))
    return folder


def damage(path):
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


@pytest.mark.parametrize("folder", ["out1", "out1/bundle"])
def test_a_bundle_is_activated_with_its_evidence(site, folder):
    found = document("activate", folder)
    assert (found["adapter"], found["before"], found["findings"]) == (NAME, None, [])
    own = site / "registry/bundles" / found["after"]["sha256"]
    assert (own / "evidence/change.json").read_text() == '{"seed": 1}'
    assert document("log", "--verify")["entries"][0]["bundle_sha256"] == found["after"]["sha256"]


def test_the_list_shows_since_when_an_adapter_is_active_and_show_finds_it(site):
    since = document("activate", "out1")["after"]["time"]
    rows = {row["name"]: row for row in document("list")["models"]}
    assert {name for name, row in rows.items() if row["activated"]} == {NAME}
    assert rows[NAME]["activated"] == since
    head, *_ = run("list").stdout.splitlines()
    assert head.rstrip().endswith("active since")
    assert document("show", NAME)["shown"]["activated"] == since
    assert document("list", "--registry", site / "other")["models"] != list(rows.values())
    assert "active since" not in run("list", "--registry", site / "other").stdout


def test_a_folder_of_adapt_is_shown_and_verified_like_its_bundle(site):
    assert document("show", "out1")["shown"] == document("show", site / "out1/bundle")["shown"]
    assert document("verify", "out1")["verified"][0]["status"] == "ok"


def test_a_rollback_goes_back_one_and_the_log_has_it_all(site):
    first = document("activate", "out1")["after"]
    second = document("activate", "out2")
    assert second["before"] == first
    back = document("rollback", NAME)
    assert (back["before"], back["after"]) == (second["after"], first)
    assert document("rollback", NAME)["after"] is None
    assert document("rollback", NAME, code=7)["error"]["hint"] == "none is active"
    entries = document("log", "--verify")["entries"]
    assert [one["action"] for one in entries] == ["activate", "activate", "rollback", "rollback"]
    assert [one["sequence"] for one in entries] == [1, 2, 3, 4]
    lines = run("log").stdout.splitlines()
    assert len(lines) == 5
    assert (site / "registry").is_dir()


def test_a_rollback_to_a_damaged_bundle_is_done_and_said(site):
    first = document("activate", "out1")["after"]["sha256"]
    document("activate", "out2", "--model", "tiny")
    damage(site / "registry/bundles" / first / "adapter.safetensors")
    found = document("rollback", NAME, "--model", "tiny")
    assert codes(found) == ["damaged"]
    assert document("log", "--verify", code=7)["broken_line"] is None
    assert document("list", code=7)["error"]["message"].startswith("the registry is broken")


def test_what_was_not_accepted_is_9_unless_it_is_forced(site):
    write(site / "bad", 3, acceptance={"accepted": False, "reason": "a scan got worse"})
    error = document("activate", "bad", code=9)["error"]
    assert (error["code"], error["file"]) == ("QualityError", "bad")
    assert "--force-unaccepted" in error["hint"]
    assert not (site / "registry").exists()
    assert codes(document("activate", "bad", "--force-unaccepted")) == ["unaccepted"]
    assert document("log")["entries"][0]["action"] == "activate-unaccepted"


@pytest.mark.parametrize("acceptance", [None, {}, {"accepted": None}, {"accepted": "no"}])
def test_what_nobody_measured_is_activated_and_said(site, acceptance):
    write(site / "new", 3, acceptance=acceptance)
    assert codes(document("activate", "new", "--force-unaccepted")) == ["acceptance-unknown"]
    assert document("log")["entries"][0]["action"] == "activate"
    again = document("activate", "new")
    assert codes(again) == ["acceptance-unknown", "already-active"]
    assert again["before"] == again["after"]


@pytest.mark.parametrize("name", ["adapter.json", "adapter.safetensors"])
def test_a_damaged_bundle_is_7_and_nothing_is_written(site, name):
    damage(site / "out1/bundle" / name)
    assert document("activate", "out1", code=7)["error"]["code"] == "ModelError"
    assert not (site / "registry").exists()


def test_a_bundle_for_another_backbone_is_7_even_where_it_was_not_accepted(site):
    card = card_of("f" * 64, "site", NAME, acceptance={"accepted": False})
    write_bundle(site / "foreign", adapter_of(BACKBONE), card)
    for options in ([], ["--model", "tiny"]):
        error = document("activate", "foreign", *options, code=7)["error"]
        assert "is for backbone ffffffffffff" in error["message"]


def test_a_folder_that_is_not_there_is_3_and_one_without_a_bundle_7(site):
    assert document("activate", "absent", code=3)["error"]["message"] == "absent: no such folder"
    (site / "empty").mkdir()
    assert "holds no adapter bundle" in document("activate", "empty", code=7)["error"]["message"]


def test_a_broken_log_is_7_and_names_its_line(site):
    document("activate", "out1")
    document("activate", "out2")
    path = site / "registry/audit.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"sequence": 1', b'"sequence": 7'))
    found = document("log", code=7)
    assert (found["broken_line"], found["entries"]) == (1, [])
    for verb in (["log", "--verify"], ["activate", "out1"], ["rollback", NAME], ["list"]):
        assert "audit.jsonl, line 1" in document(*verb, code=7)["error"]["message"]


def test_an_empty_registry_has_a_note_and_no_failure(site):
    result = run("log", "--verify")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "no adapter was ever activated in this registry\n"
    assert document("log")["entries"] == []
    assert not (site / "registry").exists()


def test_a_bundle_comes_back_from_a_file_with_its_evidence_and_can_be_activated(site):
    moved = document("export", "out1", "-o", "vida.zip")
    assert moved["files"] == [
        "bundle/adapter.json",
        "bundle/adapter.safetensors",
        "evidence/change.json",
    ]
    document("import", "vida.zip", "-o", "back")
    assert read_parcel(site / "back") == read_parcel(site / "out1")
    assert document("activate", "back")["after"]["sha256"] == moved["sha256"]
    document("export", NAME, "-o", "again.zip")
    assert (site / "again.zip").read_bytes() == (site / "vida.zip").read_bytes()
    assert document("export", NAME, "-o", "again.zip", code=5)["error"]["code"] == "OutputError"
    assert document("export", NAME, "-o", "again.zip", "--overwrite", "--model", "tiny")["ok"]
    assert "Center1/X" in document("export", "Center1/X", "-o", "c.zip", code=7)["error"]["message"]
    assert document("export", "Cine", "-o", "c.zip", "--model", "tiny", code=7)["exit_code"] == 7


def test_an_import_writes_to_a_free_folder_only(site):
    document("export", "out1", "-o", "vida.zip")
    (site / "full").mkdir()
    (site / "full/thesis.tex").write_text("years of work")
    (site / "link").symlink_to(site / "elsewhere")
    (site / "file").write_text("")
    for name in ("full", "link", "file"):
        assert document("import", "vida.zip", "-o", name, code=5)["exit_code"] == 5
    assert [path.name for path in (site / "full").iterdir()] == ["thesis.tex"]
    (site / "free").mkdir()
    assert document("import", "vida.zip", "-o", "free", "--model", "tiny")["ok"]
    assert document("import", "absent.zip", "-o", "x", code=3)["error"]["code"] == "InputError"


def archive_of(files, **changes):
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files:
            info = zipfile.ZipInfo(name)
            for key, value in changes.items():
                setattr(info, key, value)
            archive.writestr(info, content)
    return target.getvalue()


def members(site):
    with zipfile.ZipFile(io.BytesIO(zip_bytes(read_parcel(site / "out1")))) as archive:
        return [(info.filename, archive.read(info)) for info in archive.infolist()]


HOSTILE = {
    "path up": lambda good: [*good, ("../evil", b"x")],
    "absolute path": lambda good: [*good, ("/etc/evil", b"x")],
    "backslashes": lambda good: [*good, ("..\\evil", b"x")],
    "unknown name": lambda good: [*good, ("bundle/run.sh", b"x")],
    "a folder": lambda good: [*good, ("bundle/", b"")],
    "deeper": lambda good: [*good, ("evidence/a/change.json", b"{}")],
    "a name cut by a nul": lambda good: [*good, ("evidence/SOUP.json\0.exe", b"{}")],
    "not in the manifest": lambda good: [*good, ("evidence/SOUP.json", b"{}")],
    "no manifest": lambda good: [one for one in good if one[0] != "manifest.json"],
    "no weights": lambda good: [one for one in good if not one[0].endswith("safetensors")],
    "no card": lambda good: [one for one in good if not one[0].endswith("adapter.json")],
    "other evidence": lambda good: [
        (n, c + b" " if n.endswith("change.json") else c) for n, c in good
    ],
    "other weights": lambda good: [(n, c + b" " if n.endswith("tensors") else c) for n, c in good],
    "a manifest that is none": lambda good: [
        (n, b"{}" if n == "manifest.json" else c) for n, c in good
    ],
    "a bomb": lambda good: [*good, ("evidence/SOUP.json", bytes(5 * 2**20))],
    "many": lambda _: [(f"f{n}", b"") for n in range(99)],
    "nothing": lambda _: [],
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_archive_is_7_and_writes_nothing(site, kind):
    (site / "evil.zip").write_bytes(archive_of(HOSTILE[kind](members(site))))
    before = sorted(path for path in site.rglob("*"))
    error = document("import", "evil.zip", "-o", "deep/x", code=7)["error"]
    assert error["message"].startswith("evil.zip: ")
    assert sorted(path for path in site.rglob("*")) == before


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_stands_twice_is_7(site):
    good = members(site)
    (site / "evil.zip").write_bytes(archive_of([*good, good[0]]))
    assert "there twice" in document("import", "evil.zip", "-o", "x", code=7)["error"]["message"]


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFDIR])
def test_what_is_no_plain_file_in_an_archive_is_7(site, kind):
    content = archive_of(members(site), external_attr=(kind | 0o777) << 16, create_system=3)
    (site / "evil.zip").write_bytes(content)
    assert (
        "a link, encrypted" in document("import", "evil.zip", "-o", "x", code=7)["error"]["message"]
    )


def flagged(content):
    """Say in both headers of each file that it is encrypted."""
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        parts = content.split(mark)
        content = mark.join(
            [parts[0], *(p[: place - 4] + b"\x01" + p[place - 3 :] for p in parts[1:])]
        )
    return content


@pytest.mark.parametrize("damage_to", ["cut", "bits", "text", "empty", "encrypted", "packed"])
def test_a_damaged_archive_is_7(site, damage_to):
    content = zip_bytes(read_parcel(site / "out1"))
    middle = len(content) // 2
    found = {
        "cut": content[:-30],
        "bits": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
        "text": b"no archive",
        "empty": b"",
        "encrypted": flagged(content),
        "packed": content.replace(
            b"PK\x01\x02\x14\x03\x14\x00\x00\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x00\x00\x63"
        ),
    }[damage_to]
    assert found != content
    (site / "evil.zip").write_bytes(found)
    assert document("import", "evil.zip", "-o", "x", code=7)["error"]["code"] == "ModelError"
    assert not (site / "x").exists()


def test_an_archive_that_understates_its_size_is_7(site):
    content = bytearray(zip_bytes(read_parcel(site / "out1")))
    place = content.rfind(b"PK\x01\x02")
    content[place + 24] ^= 1  # the size of the file, in the directory at the end
    (site / "evil.zip").write_bytes(content)
    assert document("import", "evil.zip", "-o", "x", code=7)["exit_code"] == 7


def test_a_difference_is_none_to_itself_and_has_a_line_per_slot(site):
    found = document("diff", "out1", site / "out1/bundle")
    assert found["difference"] == 0
    assert {one["difference"] for one in found["slots"]} == {0}
    one, other = found["adapters"]
    assert one == other
    assert (one["form"], one["rank"], one["kind"]) == ("combined", 1, "site")
    apart = document("diff", "out1", "universal")
    assert 0 < apart["difference"] <= 2
    lines = run("diff", "out1", "universal").stdout.splitlines()
    assert len(lines) == 1 + len(one) + 1 + len(found["slots"])


def test_bottlenecks_are_compared_in_their_facts_only(site):
    write(site / "bent", form="bottleneck")
    found = document("diff", "bent", "out1")
    assert (found["difference"], found["slots"], codes(found)) == (None, [], ["not-linear"])
    assert "bottleneck" in run("diff", "bent", "out1").stdout


def test_an_average_is_a_bundle_that_says_what_it_is_made_of(site):
    for seed, n in ((1, 3), (2, 1)):
        write(site / f"n{seed}", seed, training={"n_scans": n})
    found = document("average", "n1", "n2", "-o", "mean")
    assert (found["adapter"], found["weights"], found["findings"]) == ("universal", "n_scans", [])
    assert [one["weight"] for one in found["averaged"]] == [0.75, 0.25]
    assert document("show", "mean")["card"]["training"]["n_scans"] == 4
    own = document("average", "out1", "out1", "-o", "same", "--name", NAME)
    assert (own["kind"], own["weights"], codes(own)) == ("site", "equal", ["equal-weights"])
    assert own["share_lost"] < 1e-25
    assert document("diff", "same", "out1")["difference"] < 1e-5
    assert codes(document("activate", "mean")) == ["acceptance-unknown"]
    assert document("average", "n1", "n2", "-o", "mean", code=5)["exit_code"] == 5
    text = run("average", "n1", "n2", "-o", "mean", "--overwrite").stdout
    assert "75.0 % Center9/Vida" in text
    assert "weights: number of scans" in text


def test_an_average_over_a_protocol_is_warned_of(site):
    found = document("average", "Cine", "universal", "-o", "mean")
    assert "protocols-averaged" in codes(found)
    assert (site / "mean").is_dir()


def test_what_has_no_average_is_7_and_one_adapter_is_a_usage_error(site):
    write(site / "bent", form="bottleneck")
    assert "no matrix" in document("average", "bent", "bent", "-o", "x", code=7)["error"]["message"]
    error = document("average", "bent", "out1", "-o", "x", code=7)["error"]
    assert "differ in form" in error["message"]
    assert document("average", "out1", "-o", "x", code=2)["exit_code"] == 2
    assert (
        document("average", "out1", "out2", "-o", "x", "--name", "a b/c/d", code=7)["ok"] is False
    )
    assert not (site / "x").exists()


def test_the_last_lines_are_for_people(site):
    text = run("activate", "out1").stdout.splitlines()
    assert text[0].startswith(f"active {NAME}: ")
    assert text[1] == f"before {NAME}: none"
    assert run("log", "--verify").stdout.splitlines()[-1].startswith("verified: ")
    assert "site adapter" in run("export", NAME, "-o", "a.zip").stdout
    shutil.rmtree(site / "registry")
    write(site / "new", 3)
    assert "warning: it has no record" in run("activate", "new").stdout


def test_an_active_adapter_goes_before_the_shipped_one_of_its_name(site):
    write(site / "own", 9, SITE_NAME)
    found = document("activate", "own")
    assert document("show", SITE_NAME)["shown"]["sha256"] == found["after"]["sha256"]
    document("rollback", SITE_NAME)
    assert document("show", SITE_NAME)["shown"]["sha256"] != found["after"]["sha256"]
