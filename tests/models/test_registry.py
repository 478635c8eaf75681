"""The registry of a site: the log is the truth, a crash loses nothing, an edit does not pass."""

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bundles import SITE_NAME, adapter_of, backbone_of, card_of, write_model
from mrcli.errors import LockedError, ModelError, OutputError
from mrcli.io.lock import output_lock
from mrcli.models import audit, registry
from mrcli.models.active import active_adapters, with_active
from mrcli.models.audit import Log, append_entry, first_broken_line, parse_log, replayed
from mrcli.models.bundle_files import write_bundle
from mrcli.models.parcel import bundle_at, read_parcel
from mrcli.models.parcel_zip import parse_zip, zip_bytes
from mrcli.models.registry import (
    activate,
    bundle_folder,
    read_snapshot,
    registry_folder,
    require_bundle,
    roll_back,
    state_bytes,
)
from mrcli.models.store import load_model

BACKBONE = backbone_of()
NAME = "Center9/Vida"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load_model(write_model(tmp_path_factory.mktemp("models")))


@pytest.fixture
def root(tmp_path):
    return tmp_path / "registry"


def write(folder, model, seed=1, name=NAME, kind="site", **card):
    write_bundle(folder, adapter_of(BACKBONE, seed=seed), card_of(model.sha256, kind, name, **card))
    return folder


def activated(root, model, seed=1, name=NAME, kind="site"):
    folder = write(root.parent / f"bundle-{seed}-{kind}", model, seed, name, kind)
    parcel = read_parcel(folder)
    one = parcel.loaded(folder.name, model)
    activate(root, parcel, one)
    return one


def lines(root):
    return (root / "audit.jsonl").read_bytes().splitlines()


def test_the_place_is_that_of_the_environment_then_of_the_desktop_then_of_the_home(monkeypatch):
    monkeypatch.setenv("MRCLI_REGISTRY", "/a/b")
    assert registry_folder() == Path("/a/b")
    monkeypatch.setenv("MRCLI_REGISTRY", "")
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert registry_folder() == Path("/data/mrcli/registry")
    monkeypatch.setenv("HOME", "/home/x")
    for unusable in ("", "relative"):
        monkeypatch.setenv("XDG_DATA_HOME", unusable)
        assert registry_folder() == Path("/home/x/.local/share/mrcli/registry")


def test_where_no_home_is_known_there_is_no_registry(monkeypatch, model):
    def homeless():
        raise RuntimeError("no home")

    monkeypatch.setenv("MRCLI_REGISTRY", "")
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert registry_folder() is None
    assert with_active(model) is model


def test_a_registry_that_is_not_there_changes_nothing_and_stays_away(root, model):
    assert with_active(model, root) is model
    assert read_snapshot(root).active(model.sha256) == {}
    with pytest.raises(ModelError, match="no adapter called 'Center9/Vida' is active"):
        roll_back(root, NAME)
    assert not root.exists()


def test_what_was_activated_last_is_active_and_goes_before_what_ships(root, model):
    first, second = activated(root, model, 1), activated(root, model, 2)
    own = activated(root, model, 30, SITE_NAME)  # 3 is the one that ships
    used = with_active(model, root)
    assert {one.sha256 for one in active_adapters(model, root)} == {second.sha256, own.sha256}
    assert used.sites[NAME].sha256 == second.sha256 != first.sha256
    assert used.sites[SITE_NAME].sha256 == own.sha256 != model.sites[SITE_NAME].sha256
    assert used.sites[NAME].activated == json.loads(lines(root)[1])["time"]
    assert (used.protocols, used.universal) == (model.protocols, model.universal)


def test_each_kind_takes_its_own_place(root, model):
    activated(root, model, 4, "universal", "universal")
    activated(root, model, 5, "Cine", "protocol")
    used = with_active(model, root)
    assert used.universal.activated
    assert used.protocols["Cine"].activated
    assert used.sites == model.sites


def test_an_active_name_hides_one_that_differs_in_case_only(root, model):
    own = activated(root, model, 1, SITE_NAME.upper())
    assert list(with_active(model, root).sites) == [own.name]


def test_an_adapter_of_another_backbone_is_not_active_here(root, model, tmp_path):
    other = load_model(write_model(tmp_path / "other", seed=7))
    folder = tmp_path / "foreign"
    write_bundle(folder, adapter_of(other.backbone), card_of(other.sha256, "site", NAME))
    parcel = read_parcel(folder)
    activate(root, parcel, parcel.loaded("foreign", other))
    assert with_active(model, root) is model
    activated(root, model)
    with pytest.raises(ModelError, match="for backbones"):
        roll_back(root, NAME)
    assert roll_back(root, NAME, model.sha256).after is None
    assert with_active(other, root).sites[NAME].activated


def test_a_rollback_goes_to_the_one_before_and_then_to_none(root, model):
    first, second = activated(root, model, 1), activated(root, model, 2)
    change = roll_back(root, NAME)
    assert (change.before.sha256, change.after.sha256) == (second.sha256, first.sha256)
    assert with_active(model, root).sites[NAME].sha256 == first.sha256
    assert roll_back(root, NAME).after is None
    assert with_active(model, root) is model
    with pytest.raises(ModelError, match="is active"):
        roll_back(root, NAME)
    actions = [json.loads(line)["action"] for line in lines(root)]
    assert actions == ["activate", "activate", "rollback", "rollback"]


def test_what_is_active_already_adds_no_line(root, model):
    activated(root, model)
    shutil.rmtree(root.parent / "bundle-1-site")
    before = lines(root)
    activated(root, model)
    assert lines(root) == before


def test_the_files_say_what_was_done_and_nothing_of_who(root, model):
    one = activated(root, model)
    (line,) = lines(root)
    entry = json.loads(line)
    hashes = {"bundle_sha256", "backbone_sha256", "previous"}
    assert set(entry) == {"sequence", "time", "action", "adapter", "version"} | hashes
    assert (entry["sequence"], entry["previous"]) == (1, "0" * 64)
    state = json.loads((root / "active.json").read_bytes())
    assert state["active"] == {model.sha256: {NAME: [one.sha256]}}
    assert {p.name for p in root.iterdir()} == {
        "active.json",
        "audit.jsonl",
        "bundles",
        ".mrcli.lock",
    }
    assert {p.name for p in bundle_folder(root, one.sha256).iterdir()} == {
        "adapter.json",
        "adapter.safetensors",
    }


def test_a_change_of_any_line_is_found_and_the_first_one_is_named(root, model):
    for seed in (1, 2, 3):
        activated(root, model, seed)
    content = (root / "audit.jsonl").read_bytes()
    assert first_broken_line(content) is None
    whole = content.split(b"\n")[:-1]
    for number, line in enumerate(whole, 1):
        for other in (line.replace(b"Vida", b"Sola"), line[:-1], b"", b"[]", b"\xff", line + b" "):
            edited = b"\n".join([*whole[: number - 1], other, *whole[number:], b""])
            found = first_broken_line(edited)
            if number < 3 or other != line.replace(b"Vida", b"Sola"):
                assert found.number in (number, number + 1), (number, other)
    assert first_broken_line(b"\n".join([whole[0], whole[2], b""])).number == 2
    assert first_broken_line(b"\n".join([whole[1], b""])).number == 1
    assert first_broken_line(b"\n".join([*whole[:1], *whole, b""])).number == 2


@pytest.mark.parametrize("edit", ["last line changed", "last line removed", "log removed"])
def test_what_the_chain_alone_cannot_tell_the_state_does(root, model, edit):
    activated(root, model, 1)
    activated(root, model, 2)
    log = root / "audit.jsonl"
    first, second = lines(root)
    contents = {
        "last line changed": first + b"\n" + second.replace(b"Vida", b"Sola") + b"\n",
        "last line removed": first + b"\n",
        "log removed": b"",
    }
    log.write_bytes(contents[edit])
    with pytest.raises(ModelError, match="the registry is broken"):
        with_active(model, root)
    log.unlink()
    with pytest.raises(ModelError, match=r"has 0 lines, active\.json knows of 2"):
        activated(root, model, 3)


@pytest.mark.parametrize(
    "content", [b"{}", b"[]", b"\xff", b'{"sequence": -1}', b'{"sequence": true}', b"[" * 9999]
)
def test_a_state_that_the_log_does_not_make_is_refused(root, model, content):
    activated(root, model)
    (root / "active.json").write_bytes(content)
    with pytest.raises(ModelError, match=r"active\.json is not what audit\.jsonl makes it"):
        with_active(model, root)


def test_a_rollback_of_what_is_not_active_breaks_a_log_whose_hashes_are_right(root, model):
    one = activated(root, model)
    log = parse_log((root / "audit.jsonl").read_bytes())
    forged = log.next_entry("rollback", NAME, "f" * 64, model.sha256)
    append_entry(root / "audit.jsonl", forged, log.n_bytes)
    found = first_broken_line((root / "audit.jsonl").read_bytes())
    assert found.number == 2
    assert "takes back ffffffffffff, which is not active" in found.reason
    assert one.name == NAME


def test_a_crash_between_log_and_state_loses_nothing(root, model, monkeypatch):
    activated(root, model, 1)

    def crash(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(registry, "_write_state", crash)
    with pytest.raises(KeyboardInterrupt):
        activated(root, model, 2)
    monkeypatch.undo()
    assert json.loads((root / "active.json").read_bytes())["sequence"] == 1
    entries = read_snapshot(root).log.entries
    assert with_active(model, root).sites[NAME].sha256 == entries[1].bundle_sha256
    activated(root, model, 2)  # active already: only the state is made again
    assert (root / "active.json").read_bytes() == state_bytes(entries)
    (root / "active.json").unlink()
    assert roll_back(root, NAME).after.sha256 == entries[0].bundle_sha256


def test_a_crash_before_the_log_changes_nothing(root, model, monkeypatch):
    activated(root, model, 1)
    before = lines(root)

    def crash(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(registry, "append_entry", crash)
    with pytest.raises(KeyboardInterrupt):
        activated(root, model, 2)
    monkeypatch.undo()
    assert lines(root) == before
    activated(root, model, 2)
    assert len(lines(root)) == 2


def test_a_line_that_was_cut_off_never_happened_and_goes_with_the_next(root, model):
    first = activated(root, model, 1)
    (torn,) = lines(root)
    with (root / "audit.jsonl").open("ab") as file:
        file.write(torn[:50])
    assert with_active(model, root).sites[NAME].sha256 == first.sha256
    activated(root, model, 2)
    assert len(lines(root)) == 2
    assert first_broken_line((root / "audit.jsonl").read_bytes()) is None


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_disk_that_is_full_leaves_the_log_as_it_was(root, model, monkeypatch, code):
    activated(root, model, 1)
    before, state = lines(root), (root / "active.json").read_bytes()
    fsync = os.fsync

    def fail(descriptor):
        if Path(f"/proc/self/fd/{descriptor}").resolve().name == "audit.jsonl":
            raise OSError(code, os.strerror(code))
        fsync(descriptor)

    monkeypatch.setattr(audit.os, "fsync", fail)
    with pytest.raises(
        OutputError, match=f"audit.jsonl: cannot be written: {os.strerror(code).lower()}"
    ):
        activated(root, model, 2)
    assert (lines(root), (root / "active.json").read_bytes()) == (before, state)


def test_a_disk_that_takes_a_part_of_a_line_leaves_none_of_it():
    with pytest.raises(OSError, match="No space left"):
        audit._require_all(3, 4)


def test_a_disk_that_is_full_for_the_bundle_changes_nothing(root, model, monkeypatch):
    activated(root, model, 1)

    def fail(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("mrcli.models.parcel.write_bytes_atomically", fail)
    with pytest.raises(OutputError, match="cannot be written: no space"):
        activated(root, model, 2)
    monkeypatch.undo()
    assert len(lines(root)) == 1
    assert len(list((root / "bundles").iterdir())) == 1
    assert not list(root.glob(".mrcli-stage-*"))


def test_a_state_that_cannot_be_written_is_said_to_be_done_in_the_log(root, model, monkeypatch):
    def fail(path, *_, **__):
        raise OutputError(f"{path.name}: cannot be written: no space left on device")

    monkeypatch.setattr(registry, "write_bytes_atomically", fail)
    with pytest.raises(OutputError, match=r"activate is done and in audit\.jsonl; active\.json"):
        activated(root, model)
    monkeypatch.undo()
    assert with_active(model, root).sites[NAME].activated


def test_one_run_at_a_time_changes_a_registry_and_all_may_read_it(root, model):
    activated(root, model)
    with output_lock(root):
        with pytest.raises(LockedError, match="registry: another run"):
            activated(root, model, 2)
        with pytest.raises(LockedError):
            roll_back(root, NAME)
        assert with_active(model, root).sites[NAME].activated


RACE = """
import sys
from pathlib import Path
from mrcli.errors import LockedError
from mrcli.models.parcel import read_parcel
from mrcli.models.registry import activate
from mrcli.models.store import load_model
root, model, folder = Path(sys.argv[1]), load_model(sys.argv[2]), Path(sys.argv[3])
parcel = read_parcel(folder)
one = parcel.loaded(folder.name, model)
print("ready", flush=True)
sys.stdin.readline()
while True:
    try:
        activate(root, parcel, one)
        break
    except LockedError:
        pass
"""


def test_two_processes_at_once_leave_a_whole_log_with_both(root, model, tmp_path):
    place = write_model(tmp_path / "models")
    folders = [write(tmp_path / f"b{seed}", model, seed, f"Center9/S{seed}") for seed in (1, 2)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    arguments = [[sys.executable, "-c", RACE, str(root), str(place), str(one)] for one in folders]
    processes = [subprocess.Popen(one, **pipes) for one in arguments]
    for process in processes:
        assert process.stdout.readline() == b"ready\n"
    for process in processes:
        process.stdin.write(b"go\n")
        process.stdin.flush()
    for process in processes:
        with process:
            assert process.wait(timeout=60) == 0
    assert set(read_snapshot(root).active(model.sha256)) == {"Center9/S1", "Center9/S2"}
    assert len(lines(root)) == 2


@pytest.mark.parametrize("name", ["adapter.json", "adapter.safetensors"])
def test_a_damaged_active_bundle_is_refused_and_mended_by_activating_it_again(root, model, name):
    one = activated(root, model)
    path = bundle_folder(root, one.sha256) / name
    content = path.read_bytes()
    for other in (content[:-1] + bytes([content[-1] ^ 1]), b""):
        path.write_bytes(other)
        with pytest.raises(
            ModelError, match=f"the registry is broken: the active adapter of {NAME}"
        ):
            with_active(model, root)
        with pytest.raises(ModelError):
            require_bundle(root, one.sha256)
    activated(root, model)
    assert with_active(model, root).sites[NAME].sha256 == one.sha256


def test_a_bundle_in_the_folder_of_another_is_refused(root, model):
    first, second = activated(root, model, 1), activated(root, model, 2)
    shutil.rmtree(bundle_folder(root, second.sha256))
    shutil.copytree(bundle_folder(root, first.sha256), bundle_folder(root, second.sha256))
    for check in (lambda: with_active(model, root), lambda: require_bundle(root, second.sha256)):
        with pytest.raises(ModelError, match="holds another bundle"):
            check()


def test_evidence_travels_with_the_bundle_and_is_added_to_one_that_has_none(root, model, tmp_path):
    out = tmp_path / "adapted"
    write(out / "bundle", model)
    bare = read_parcel(out)
    one = bare.loaded("x", model)
    activate(root, bare, one)
    (out / "evidence").mkdir()
    (out / "evidence/change.json").write_text("{}")
    (out / "evidence/notes.txt").write_text("mine")
    for folder in (out, out / "bundle"):
        parcel = read_parcel(folder)
        assert (dict(parcel.evidence), parcel.left_out) == ({"change.json": b"{}"}, ("notes.txt",))
    activate(root, parcel, one)
    own = bundle_folder(root, one.sha256)
    assert [p.name for p in (own / "evidence").iterdir()] == ["change.json"]
    assert read_parcel(own).evidence == {"change.json": b"{}"}


def test_a_folder_called_evidence_beside_any_other_bundle_is_not_its_own(model, tmp_path):
    write(tmp_path / "mine", model)
    (tmp_path / "evidence").mkdir()
    assert read_parcel(tmp_path / "mine").evidence == {}
    assert bundle_at(tmp_path) is None
    with pytest.raises(ModelError, match="holds no adapter bundle"):
        read_parcel(tmp_path)


def test_evidence_that_leads_out_of_its_folder_is_refused(model, tmp_path):
    write(tmp_path / "out/bundle", model)
    (tmp_path / "out/evidence").mkdir()
    (tmp_path / "secret").write_text("{}")
    (tmp_path / "out/evidence/change.json").symlink_to(tmp_path / "secret")
    with pytest.raises(ModelError, match="leads out of the folder"):
        read_parcel(tmp_path / "out")


def test_an_archive_comes_back_as_it_was_with_the_same_bytes_every_time(model, tmp_path):
    write(tmp_path / "out/bundle", model)
    (tmp_path / "out/evidence").mkdir()
    (tmp_path / "out/evidence/index.html").write_text("<p>")
    parcel = read_parcel(tmp_path / "out")
    content = zip_bytes(parcel)
    assert content == zip_bytes(parcel)
    assert parse_zip(content) == parcel
    assert b"1980" not in content


def test_an_empty_log_has_nothing():
    assert parse_log(b"") == Log()
    assert replayed(()) == {}
