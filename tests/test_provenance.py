"""The record says how an image came to be and never who is on it."""

import json

import numpy as np
import pytest

from mrcli.findings import Finding, Severity
from mrcli.provenance import (
    InputFacts,
    Provenance,
    input_facts,
    peak_memory_bytes,
    recorded_command,
    sha256_of,
    sha256_of_json,
    sha256_of_text,
    software_versions,
)

ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, B.1


def test_hashes_are_those_of_the_standard(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256_of(tmp_path / "abc") == sha256_of_text("abc") == ABC
    assert input_facts(tmp_path / "abc") == InputFacts("abc", ABC, 3)


def test_a_file_larger_than_a_block_is_hashed_whole(tmp_path):
    content = b"a" * (2**20 + 1)
    (tmp_path / "large").write_bytes(content)
    assert sha256_of(tmp_path / "large") == sha256_of_text(content.decode())


def test_the_order_of_keys_does_not_change_a_hash():
    assert sha256_of_json({"a": 1, "b": [2]}) == sha256_of_json({"b": [2], "a": 1})
    assert sha256_of_json({"a": 1}) != sha256_of_json({"a": 2})


@pytest.mark.parametrize(
    ("arguments", "recorded"),
    [
        ("recon /data/Doe^Jane/scan.mat", "recon PATH"),
        ("recon Doe_Jane", "recon PATH"),
        ("recon a b -o Doe_Jane", "recon PATH PATH -o PATH"),
        ("recon a --output=/data/Doe", "recon PATH --output=PATH"),
        ("recon a --mask Doe.mat --method cs", "recon PATH --mask PATH --method cs"),
        ("recon --to=nifti,h5 a --shard 2/8", "recon --to=nifti,h5 PATH --shard 2/8"),
        ("recon -q Doe", "recon -q PATH"),
        ("recon --seed 3 Doe", "recon --seed 3 PATH"),
        ("Doe^Jane", "PATH"),
        ("recon -", "recon PATH"),
    ],
)
def test_a_recorded_command_keeps_options_and_no_path(arguments, recorded):
    assert recorded_command(arguments.split()) == tuple(recorded.split())


def test_a_record_is_json_and_names_program_and_numerics():
    record = Provenance(
        command=("recon", "scan.mat"),
        input=InputFacts("scan.mat", ABC, 3),
        method="sense",
        reason="asked for",
        device="cpu",
        precision="fp32",
        seed=0,
        sampling={"pattern": "uniform"},
        noise={"sigma": 1.0},
        consistency_residual=0.1,
        findings=(Finding("code", Severity.INFO, "message", "remedy"),),
        seconds=1.0,
        peak_memory_bytes=peak_memory_bytes(),
        geometry_source="unknown",
    )
    document = json.loads(json.dumps(record.document()))
    assert document["program"] == "mrcli"
    assert document["numerics_version"] == 4
    assert document["input"] == {"name": "scan.mat", "sha256": ABC, "n_bytes": 3}
    assert document["findings"][0]["severity"] == "info"
    assert document["software"]["numpy"] == np.__version__


def test_peak_memory_counts_bytes():
    grown = np.ones(2**23)  # 64 MiB
    assert peak_memory_bytes() > grown.nbytes


def test_versions_name_the_hdf5_library_and_not_only_its_binding():
    versions = software_versions()
    assert versions["hdf5"] != versions["h5py"]
    assert {"mrcli", "python", "torch", "numpy", "scipy", "nibabel"} <= versions.keys()
