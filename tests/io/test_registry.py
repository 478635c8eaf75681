"""Which reader opens a file, and what is said when none or two would."""

import sys
from dataclasses import replace
from importlib.metadata import EntryPoint, entry_points
from types import SimpleNamespace

import numpy as np
import pytest

from containers import volume, write_npz
from mrcli.errors import DataError, InputError
from mrcli.io import registry
from mrcli.io.registry import READERS, all_readers, open_scan, reader_named


@pytest.fixture
def path(tmp_path):
    write_npz(tmp_path / "scan.npz", volume())
    return tmp_path / "scan.npz"


@pytest.fixture
def install(monkeypatch):
    def add(module="other_readers", **readers):
        monkeypatch.setitem(sys.modules, "other_readers", SimpleNamespace(**readers))
        entries = tuple(EntryPoint(name, f"{module}:{name}", "mrcli.readers") for name in readers)
        monkeypatch.setattr(
            registry, "entry_points", lambda group: entries if group == "mrcli.readers" else ()
        )
        all_readers.cache_clear()

    yield add
    all_readers.cache_clear()


def test_every_reader_says_what_it_is():
    names = [reader.name for reader in READERS]
    assert names == [
        "cmrxrecon-mat", "fastmri-h5", "ismrmrd-h5", "bart-cfl", "npy", "npz", "plain-h5"
    ]  # fmt: skip
    assert all(reader.describes and reader.needs for reader in READERS)


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(InputError, match="no reader is called 'fastmri'") as caught:
        reader_named("fastmri")
    assert caught.value.hint == "did you mean 'fastmri-h5'"


def test_a_reader_of_another_package_takes_part(install, path):
    npz = reader_named("npz")
    install(own=replace(npz, name="own", sniff=READERS[0].sniff))
    assert open_scan(path, reader="own").format == "npz"


def test_two_readers_that_recognise_a_file_are_both_named(install, path):
    install(own=replace(reader_named("npz"), name="own"))
    with pytest.raises(DataError, match="both npz and own recognise it"):
        open_scan(path)
    assert open_scan(path, reader="npz").header.n_coils == 4


@pytest.mark.parametrize(
    ("module", "loaded", "words"),
    [
        ("other_readers", READERS[0], "two readers are called 'cmrxrecon-mat'"),
        ("absent_module", None, "reader 'own' cannot be loaded from absent_module:own"),
        ("other_readers", "no reader", "other_readers:own is no Reader"),
    ],
)
def test_a_reader_that_cannot_take_part_is_refused(module, loaded, words, install):
    install(module, own=loaded)
    with pytest.raises(InputError, match=words):
        all_readers()


def test_without_other_packages_there_are_only_ours():
    assert all_readers() == READERS
    assert not list(entry_points(group="mrcli.readers"))


def test_a_mask_named_as_a_scan_is_refused_by_its_field(tmp_path):
    np.savez(tmp_path / "mask.npz", mask=np.ones((5, 8)))
    with pytest.raises(DataError, match=r"mask\.npz: no field 'kspace'.*'mask'"):
        open_scan(tmp_path / "mask.npz")
