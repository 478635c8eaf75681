"""Resuming trusts hashes only, and a torn line is no record."""

import pytest

from mrcli.errors import OutputError
from mrcli.io.manifest import ManifestEntry, append_entry, is_done, read_manifest
from mrcli.provenance import sha256_of


@pytest.fixture
def done(tmp_path):
    image = tmp_path / "a" / "image.nii"
    image.parent.mkdir()
    image.write_bytes(b"voxels")
    return ManifestEntry("a/scan.mat", "in", "how", "done", {"a/image.nii": sha256_of(image)})


def test_entries_come_back_and_the_last_one_of_an_input_counts(tmp_path, done):
    manifest = tmp_path / "manifest.jsonl"
    failed = ManifestEntry(done.input, "in", "how", "failed", {})
    other = ManifestEntry("b\n.mat", "in", "how", "done", {})
    for entry in (failed, other, done):
        append_entry(manifest, entry)
    assert read_manifest(manifest) == {done.input: done, other.input: other}
    assert manifest.read_text().count("\n") == 3


def test_no_manifest_is_an_empty_one(tmp_path):
    assert read_manifest(tmp_path / "manifest.jsonl") == {}


@pytest.mark.parametrize("keep", range(1, 120, 17))
def test_a_line_cut_off_anywhere_is_no_record_and_spoils_no_other(tmp_path, done, keep):
    manifest = tmp_path / "manifest.jsonl"
    append_entry(manifest, done)
    whole = manifest.read_bytes()
    manifest.write_bytes(whole + whole[:keep])
    assert read_manifest(manifest) == {done.input: done}
    later = ManifestEntry("later", "in", "how", "done", {})
    append_entry(manifest, later)
    assert read_manifest(manifest) == {done.input: done, "later": later}


@pytest.mark.parametrize("line", [b"[1]", b"{}", b"\xff\xfe", b"null", b'{"input": 3}'])
def test_a_line_of_another_kind_is_no_record(tmp_path, line):
    (tmp_path / "manifest.jsonl").write_bytes(line + b"\n")
    assert read_manifest(tmp_path / "manifest.jsonl") == {}


def test_a_scan_is_done_when_every_hash_agrees(tmp_path, done):
    assert is_done(done, tmp_path, "in", "how")


def test_a_scan_is_not_done_when_anything_changed(tmp_path, done):
    assert not is_done(None, tmp_path, "in", "how")
    assert not is_done(done, tmp_path, "other", "how")
    assert not is_done(done, tmp_path, "in", "other")
    (tmp_path / "a" / "image.nii").write_bytes(b"voxelz")
    assert not is_done(done, tmp_path, "in", "how")
    (tmp_path / "a" / "image.nii").unlink()
    assert not is_done(done, tmp_path, "in", "how")


def test_a_failed_scan_or_one_without_output_is_not_done(tmp_path, done):
    failed = ManifestEntry(done.input, "in", "how", "failed", done.outputs)
    empty = ManifestEntry(done.input, "in", "how", "done", {})
    assert not is_done(failed, tmp_path, "in", "how")
    assert not is_done(empty, tmp_path, "in", "how")


@pytest.mark.parametrize("path", ["../outside", "{absolute}"])
def test_an_output_outside_the_folder_is_never_trusted(tmp_path, path):
    outside = tmp_path / "outside"
    outside.write_bytes(b"voxels")
    (tmp_path / "out").mkdir()
    entry = ManifestEntry(
        "a", "in", "how", "done", {path.format(absolute=outside): sha256_of(outside)}
    )
    assert not is_done(entry, tmp_path / "out", "in", "how")


def test_a_manifest_that_cannot_be_written_is_an_output_error(tmp_path, done):
    (tmp_path / "manifest.jsonl").mkdir()
    with pytest.raises(OutputError, match=r"manifest\.jsonl: cannot be written"):
        append_entry(tmp_path / "manifest.jsonl", done)
