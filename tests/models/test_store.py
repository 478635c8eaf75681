"""Models on disk: what is written is read, every byte counts, and nothing outside is followed."""

import json
import os
import shutil

import pytest
import torch

from bundles import MEMBERS, SITE_NAME, TINY, adapter_of, backbone_of, card_of, write_model
from mrcli.adapters.bundle import LoadedAdapter
from mrcli.adapters.records import sealed
from mrcli.errors import ModelError, OutputError
from mrcli.models import index as index_module
from mrcli.models import store as store_module
from mrcli.models.bundle_files import read_bundle, write_bundle
from mrcli.models.index import IndexEntry, list_models, pretrained_folder, write_index
from mrcli.models.reading import files_below, read_within
from mrcli.models.store import load_adapter, load_model

BACKBONE = backbone_of()
SHA = "0" * 64


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pretrained")
    write_model(folder)
    write_model(folder, "other", members=(), seed=5)
    write_index(folder)
    return folder


@pytest.fixture
def shipped(made, tmp_path, monkeypatch):
    folder = tmp_path / "pretrained"
    shutil.copytree(made, folder)
    monkeypatch.setenv("MRCLI_PRETRAINED", str(folder))
    return folder


def all_files(folder):
    return [folder / name for name in files_below(folder)]


def test_a_model_of_the_index_has_its_adapters(shipped):
    model = load_model("tiny")
    assert model.name == "tiny"
    assert model.sha256 == model.card["backbone_sha256"]
    assert set(model.protocols) == {"Cine", "LGE"}
    assert set(model.sites) == {SITE_NAME}
    assert model.universal.kind == "universal"
    assert [one.name for one in model.adapters] == [name for _, name in MEMBERS]
    assert all(isinstance(one, LoadedAdapter) for one in model.adapters)
    assert shipped == pretrained_folder()


def test_the_backbone_comes_back_as_it_was_frozen_and_channels_last(shipped):
    state = torch.random.get_rng_state()
    backbone = load_model(shipped / "tiny").backbone
    assert torch.equal(state, torch.random.get_rng_state())
    assert backbone.spec == TINY
    assert not backbone.training
    for name, one in backbone.named_parameters():
        assert torch.equal(one, BACKBONE.state_dict()[name])
        assert not one.requires_grad
    assert backbone.stem.weight.is_contiguous(memory_format=torch.channels_last)


def test_a_folder_is_a_model_too_and_a_name_goes_before_a_folder(shipped, monkeypatch):
    monkeypatch.chdir(shipped)
    shutil.rmtree(shipped / "other")
    assert load_model(str(shipped / "tiny")).sha256 == load_model("tiny").sha256
    with pytest.raises(ModelError):
        load_model("other")


def test_a_folder_needs_no_card_for_readers_and_no_adapters(shipped):
    (shipped / "tiny" / "MODEL_CARD.md").unlink()
    shutil.rmtree(shipped / "tiny" / "adapters")
    assert load_model(shipped / "tiny").adapters == ()


def test_an_unknown_model_names_the_known_ones(shipped):
    with pytest.raises(ModelError, match="no model is called 'large'") as caught:
        load_model("large")
    assert "other, tiny" in caught.value.hint
    assert shipped.is_dir()


def test_the_index_lists_every_file_of_every_model(shipped):
    entries = list_models()
    assert [entry.name for entry in entries] == ["other", "tiny"]
    for entry in entries:
        assert set(entry.files) == set(files_below(shipped / entry.name))
    text = (shipped / "index.toml").read_text()
    write_index(shipped)
    assert (shipped / "index.toml").read_text() == text


def test_a_change_of_any_file_that_is_listed_is_refused(shipped):
    for path in all_files(shipped / "tiny"):
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(ModelError, match="sha256 is"):
            load_model("tiny")
        path.unlink()
        with pytest.raises(ModelError, match="no such file"):
            load_model("tiny")
        path.write_bytes(content)
    assert load_model("tiny").name == "tiny"


def test_a_file_that_is_not_listed_is_refused(shipped):
    place = shipped / "tiny/adapters/protocols/T1w"
    write_bundle(place, adapter_of(BACKBONE), card_of(load_model("tiny").sha256, name="T1w"))
    with pytest.raises(ModelError, match="the index does not list it"):
        load_model("tiny")
    assert "T1w" in load_model(shipped / "tiny").protocols
    write_index(shipped)
    assert "T1w" in load_model("tiny").protocols


def test_hidden_files_do_not_count(shipped):
    (shipped / "tiny" / ".DS_Store").write_bytes(b"x")
    (shipped / "tiny" / "adapters" / ".mrcli-stage-x").mkdir()
    assert len(load_model("tiny").adapters) == len(MEMBERS)


def test_a_change_of_any_file_is_refused_without_an_index_too(shipped):
    read = [path for path in all_files(shipped / "tiny") if path.suffix != ".md"]
    assert len(read) == 2 * (1 + len(MEMBERS))
    for path in read:
        content = path.read_bytes()
        for other in (content[:-1] + bytes([content[-1] ^ 1]), content[:-1], content + b"\n", b""):
            path.write_bytes(other)
            with pytest.raises(ModelError):
                load_model(shipped / "tiny")
        path.write_bytes(content)


def test_an_adapter_lies_in_the_folder_of_its_name(shipped):
    folder = shipped / "tiny/adapters/protocols"
    (folder / "Cine").rename(folder / "T2w")
    with pytest.raises(ModelError, match="adapters/protocols/T2w: holds the protocol adapter Cine"):
        load_model(shipped / "tiny")


def test_a_model_has_the_name_of_its_folder_in_the_index(shipped):
    (shipped / "tiny").rename(shipped / "small")
    write_index(shipped)
    with pytest.raises(ModelError, match=r"small: model.json calls it tiny"):
        load_model("small")


def test_an_adapter_of_another_backbone_is_refused_before_any_change(shipped):
    other = load_model("other")
    before = {name: one.clone() for name, one in other.backbone.state_dict().items()}
    with pytest.raises(ModelError, match="is for backbone") as caught:
        load_adapter(shipped / "tiny/adapters/universal", other)
    assert caught.value.exit_code == 7
    assert all(torch.equal(o, before[n]) for n, o in other.backbone.state_dict().items())
    assert load_adapter(shipped / "tiny/adapters/universal", load_model("tiny")).name == "universal"


def resealed(path, **changes):
    document = json.loads(path.read_bytes())
    del document["card_sha256"]
    path.write_bytes(sealed(document | changes))


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"schema_version": 2}, "schema_version"),
        ({"numerics_version": 10**6}, "made for numerics 1000000"),
        ({"numerics_version": "2"}, "numerics_version"),
        ({"name": "a/b"}, "not one for a folder"),
        ({"training": None}, "training"),
        ({"more": 1}, "'more' is unknown"),
        ({"backbone_sha256": "0" * 64}, "needed 000000000000"),
        ({"spec": TINY.document() | {"fine": 10**9}}, "fine"),
        ({"spec": TINY.document() | {"fine": 16}}, "needed F32"),
        ({"spec": TINY.document() | {"n_cascades": 3}}, "missing or too many"),
        ({"spec": TINY.document() | {"n_cascades": 2.0}}, "n_cascades"),
        ({"spec": {}}, "missing"),
    ],
)
def test_a_model_with_the_right_hash_and_wrong_facts_is_refused(shipped, changes, word):
    resealed(shipped / "tiny/model.json", **changes)
    with pytest.raises(ModelError, match=word):
        load_model(shipped / "tiny")


INDEX = 'schema_version = 1\n[[model]]\nname = "tiny"\n[model.files]\n'


@pytest.mark.parametrize(
    "text",
    [
        "",
        "models = 3",
        "schema_version = 2",
        "schema_version = true",
        "schema_version = 1\nmodels = []",
        "schema_version = 1\nmodel = 3",
        "schema_version = 1\nmodel = [3]",
        'schema_version = 1\n[[model]]\nname = "tiny"\n',
        'schema_version = 1\n[[model]]\nname = "../tiny"\n[model.files]\n',
        f'{INDEX}"../a" = "{SHA}"',
        f'{INDEX}"/etc/passwd" = "{SHA}"',
        f'{INDEX}"a\\\\b" = "{SHA}"',
        f'{INDEX}"model.json" = "abc"',
        f'{INDEX}"model.json" = 3',
        INDEX + INDEX.partition("\n")[2],
        "not toml",
        "\udcff",
        f"a = {'[' * 50_000}",
    ],
)
def test_an_index_that_is_odd_is_refused(shipped, text):
    (shipped / "index.toml").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ModelError, match=r"index\.toml"):
        list_models()


def test_an_index_without_models_is_good_and_an_absent_one_only_where_none_was_named(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("MRCLI_PRETRAINED", str(tmp_path))
    with pytest.raises(ModelError, match=r"index\.toml: no such file"):
        list_models()
    write_index(tmp_path)
    assert list_models() == ()
    monkeypatch.delenv("MRCLI_PRETRAINED")
    monkeypatch.setattr(index_module, "pretrained_folder", lambda: tmp_path / "absent")
    assert list_models() == ()


def test_the_models_of_this_repository_are_whole(monkeypatch):
    monkeypatch.delenv("MRCLI_PRETRAINED", raising=False)
    assert (pretrained_folder() / "index.toml").is_file()
    for entry in list_models():
        assert store_module.load_entry(entry).name == entry.name


def test_links_out_of_a_model_are_refused(shipped, tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes((shipped / "tiny/model.json").read_bytes())
    (shipped / "tiny/model.json").unlink()
    (shipped / "tiny/model.json").symlink_to(secret)
    with pytest.raises(ModelError, match="leads out of the folder"):
        load_model("tiny")
    with pytest.raises(ModelError, match="leads out of the folder"):
        load_model(shipped / "tiny")


def test_a_folder_that_is_a_link_is_refused(shipped, tmp_path):
    (shipped / "tiny/adapters/protocols/Cine").rename(tmp_path / "Cine")
    (shipped / "tiny/adapters/protocols/Cine").symlink_to(tmp_path / "Cine")
    with pytest.raises(ModelError):
        load_model("tiny")
    with pytest.raises(ModelError, match="leads out"):
        read_within(shipped / "tiny", "adapters/protocols/Cine/adapter.json", 9999)


def test_a_link_to_a_folder_is_named_and_not_followed(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "file").write_text("")
    (tmp_path / "loop").symlink_to(tmp_path)
    assert files_below(tmp_path) == ("loop", "real/file")


@pytest.mark.parametrize("name", ["pipe", "folder", "absent", "circle", "../a", "nul\0", "x" * 999])
def test_what_is_no_regular_file_is_refused_at_once(tmp_path, name):
    root = tmp_path / "root"
    (root / "folder").mkdir(parents=True)
    os.mkfifo(root / "pipe")
    (root / "circle").symlink_to(root / "circle")
    (tmp_path / "a").write_bytes(b"x")
    with pytest.raises(ModelError):
        read_within(root, name, 10)


def test_no_more_is_read_than_the_limit(tmp_path):
    (tmp_path / "file").write_bytes(b"x" * 10)
    assert read_within(tmp_path, "file", 10) == b"x" * 10
    with pytest.raises(ModelError, match="larger than 9 bytes"):
        read_within(tmp_path, "file", 9)


def test_a_bundle_is_written_and_replaced_whole(tmp_path):
    folder = tmp_path / "deep" / "Cine"
    first, second = adapter_of(BACKBONE, seed=1), adapter_of(BACKBONE, seed=2)
    write_bundle(folder, first, card_of(SHA))
    before = read_bundle(folder, BACKBONE, SHA)
    write_bundle(folder, second, card_of(SHA))
    assert read_bundle(folder, BACKBONE, SHA).sha256 != before.sha256
    assert [path.name for path in folder.parent.iterdir()] == ["Cine"]
    assert {path.name for path in folder.iterdir()} == {"adapter.json", "adapter.safetensors"}


@pytest.mark.parametrize("failing", ["write_bytes_atomically", "rename"])
def test_a_bundle_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch, failing):
    folder = tmp_path / "Cine"
    write_bundle(folder, adapter_of(BACKBONE, seed=1), card_of(SHA))
    before = read_bundle(folder, BACKBONE, SHA).sha256
    rename = type(folder).rename

    def fail(path, *others, **_):
        if failing != "rename" or path.name == "new":
            raise OSError(28, "No space left on device")
        return rename(path, *others)

    where = "pathlib.Path.rename" if failing == "rename" else f"mrcli.models.bundle_files.{failing}"
    monkeypatch.setattr(where, fail)
    with pytest.raises(OutputError, match="cannot be written: no space"):
        write_bundle(folder, adapter_of(BACKBONE, seed=2), card_of(SHA))
    monkeypatch.undo()
    assert read_bundle(folder, BACKBONE, SHA).sha256 == before
    assert [path.name for path in tmp_path.iterdir()] == ["Cine"]


def test_a_folder_that_holds_something_else_is_not_replaced(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"holds file, which is no part"):
        write_bundle(tmp_path, adapter_of(BACKBONE), card_of(SHA))
    with pytest.raises(OutputError):
        write_bundle(tmp_path / "file", adapter_of(BACKBONE), card_of(SHA))
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_an_entry_reads_each_file_once(shipped, monkeypatch):
    entry = next(entry for entry in list_models() if entry.name == "tiny")
    assert isinstance(entry, IndexEntry)
    read = []
    original = index_module.read_within

    def counted(root, name, limit):
        read.append(name)
        return original(root, name, limit)

    monkeypatch.setattr(index_module, "read_within", counted)
    monkeypatch.setattr(store_module, "read_within", counted)
    store_module.load_entry(entry)
    assert sorted(read) == sorted(entry.files)
    assert shipped.is_dir()
