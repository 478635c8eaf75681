"""`recon` with the network: what is chosen, why, what is recorded, and when SENSE takes over."""

import json
from dataclasses import replace

import numpy as np
import pytest

from mrcli.errors import ModelError
from mrcli.network_method import INCONSISTENT
from mrcli.provenance import sha256_of
from mrcli.tasks.recon import recon_paths
from mrcli.tasks.recon_choice import default_model
from mrcli.tasks.recon_result import ReconSettings
from networks import (
    SITE,
    exploding_backbone,
    installed,
    inventing_backbone,
    tiny_backbone,
    write_adapter,
    write_model,
)
from phantoms import lines, small_study

AUTO = ReconSettings(device="cpu", precision="fp32", command=())
NETWORK = replace(AUTO, method="network")
CINE_AT_SITE = {"protocol": "Cine", "center": "North", "scanner": "Vida"}


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    """Write a scan of two slices that states neither protocol nor site."""
    path = tmp_path_factory.mktemp("study") / "a.npy"
    _, kspace = small_study(n_slices=2, n_coils=6)
    np.save(path, (kspace * lines(48, 3, 12)).numpy())
    return path


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Write models, and let the first be installed: one that is good and some that are not."""
    root = tmp_path_factory.mktemp("models")
    write_model(root / "pretrained" / "small")
    write_model(root / "other", tiny_backbone(seed=7))
    write_model(root / "inventing", inventing_backbone())
    write_model(root / "exploding", exploding_backbone())
    write_model(root / "bare", adapters=())
    with installed(root / "pretrained"):
        yield root


def run(scan, out, settings):
    (one,) = recon_paths([scan], out, settings).scans
    return one


def record_of(out):
    return json.loads((out / "a.json").read_text())


def image_of(out):
    return (out / "a.nii.gz").read_bytes()


def with_model(settings, models, name):
    return replace(settings, model=str(models / name))


def test_auto_takes_the_network_that_is_installed_and_says_all_of_it(scan, models, tmp_path):
    done = run(scan, tmp_path, AUTO)
    sha256 = sha256_of(models / "pretrained" / "small" / "backbone.safetensors")
    assert (done.status, done.method, done.precision) == ("done", "network", "fp32")
    assert done.model == {"name": "small", "sha256": sha256}
    assert done.adapter["name"] == "universal"
    assert [one["kind"] for one in done.adapter["chain"]] == ["universal"]
    for words in ("auto: model small fits the data", "states no site: universal", "fp32: asked"):
        assert words in done.reason
    record = record_of(tmp_path)
    assert record["model"] == done.model
    assert record["adapter"] == done.adapter
    assert (record["method"], record["reason"]) == ("network", done.reason)
    assert (record["precision"], record["device"]) == ("fp32", "cpu")
    assert 0 < record["consistency_residual"] < 1


@pytest.mark.usefixtures("models")
def test_protocol_and_site_choose_their_adapters(scan, tmp_path):
    done = run(scan, tmp_path / "known", replace(AUTO, **CINE_AT_SITE))
    assert done.adapter["name"] == f"Cine + {SITE}"
    assert [len(one["sha256"]) for one in done.adapter["chain"]] == [64, 64]
    unknown = run(scan, tmp_path / "unknown", replace(AUTO, protocol="Flow9d"))
    assert unknown.method == "network"  # an unknown protocol does not block
    assert unknown.adapter["name"] == "universal"
    assert "protocol Flow9d is unknown" in unknown.reason


def test_every_choice_of_adapters_is_another_image(scan, models, tmp_path):
    bundle = tmp_path / "bundle"
    sha256 = sha256_of(models / "pretrained" / "small" / "backbone.safetensors")
    write_adapter(bundle, tiny_backbone(), sha256, ("site", "South/Sola"), seed=9)
    names = {
        "auto": f"Cine + {SITE}",
        "universal": "Cine + universal",
        "none": "none",
        str(bundle): "Cine + South/Sola",
    }
    images = set()
    for wanted, expected in names.items():
        out = tmp_path / expected.replace("/", "-")
        done = run(scan, out, replace(AUTO, adapter=wanted, **CINE_AT_SITE))
        assert done.adapter["name"] == expected
        assert str(tmp_path) not in json.dumps(done.document())
        images.add(image_of(out))
    assert len(images) == len(names)
    named = run(scan, tmp_path / "named", replace(AUTO, adapter=SITE, protocol="Cine"))
    assert named.adapter["name"] == f"Cine + {SITE}"
    assert image_of(tmp_path / "named") == image_of(tmp_path / f"Cine + {SITE}".replace("/", "-"))


@pytest.mark.parametrize("kind", ["protocol", "universal"])
def test_a_bundle_takes_the_place_of_its_kind(scan, models, tmp_path, kind):
    sha256 = sha256_of(models / "pretrained" / "small" / "backbone.safetensors")
    name = {"protocol": "T9map", "universal": "universal"}[kind]
    write_adapter(tmp_path / "mine", tiny_backbone(), sha256, (kind, name), seed=9)
    settings = replace(AUTO, adapter=str(tmp_path / "mine"), dry_run=True, **CINE_AT_SITE)
    done = run(scan, tmp_path / "out", settings)
    expected = {"protocol": f"T9map + {SITE}", "universal": "Cine + universal"}[kind]
    assert done.adapter["name"] == expected


def test_without_a_model_auto_takes_sense_and_the_network_is_refused(scan, tmp_path):
    with installed(tmp_path / "empty"):
        done = run(scan, tmp_path / "out", AUTO)
        assert (done.method, done.reason) == ("sense", "auto: sense, since no model is installed")
        assert (done.model, done.adapter, done.precision) == (None, None, "fp32")
        with pytest.raises(ModelError, match="no model is installed"):
            run(scan, tmp_path / "other", NETWORK)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("method", ["auto", "network"])
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "absent"}, "no model is called 'absent'"),
        ({"adapter": "absent"}, "no adapter called 'absent'"),
        ({"model": "broken"}, "broken"),
        ({"model": "bare", "adapter": "universal"}, "no universal adapter"),
        ({"adapter": "foreign"}, "is for backbone"),
    ],
)
def test_what_is_named_and_refused_stops_the_run_with_7(
    scan, models, tmp_path, method, changes, message
):
    places = {"bare": models / "bare", "broken": tmp_path / "broken"}
    places["foreign"] = models / "other" / "adapters" / "universal"
    write_model(tmp_path / "broken")
    (tmp_path / "broken" / "backbone.safetensors").write_bytes(b"torn")
    named = {key: str(places.get(name, name)) for key, name in changes.items()}
    with pytest.raises(ModelError, match=message) as refused:
        run(scan, tmp_path / "out", replace(AUTO, method=method, **named))
    assert refused.value.exit_code == 7
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("models")
def test_a_classical_method_needs_no_model(scan, tmp_path):
    done = run(scan, tmp_path, replace(AUTO, method="sense", model="absent"))
    assert (done.method, done.reason, done.model) == ("sense", "asked for", None)


def test_an_image_that_does_not_explain_the_data_is_replaced_by_sense(scan, models, tmp_path):
    done = run(scan, tmp_path / "auto", with_model(AUTO, models, "inventing"))
    assert (done.status, done.method) == ("done", "sense")
    assert (done.model, done.adapter, done.precision) == (None, None, "fp32")
    assert done.reason.startswith("auto: sense, since slice 0: the image of the network leaves ")
    (finding,) = (one for one in done.findings if one.code == "network-set-aside")
    assert finding.severity == "warning"
    record = record_of(tmp_path / "auto")
    assert (record["method"], record["reason"], record["model"]) == ("sense", done.reason, None)
    assert "network-set-aside" in {one["code"] for one in record["findings"]}
    run(scan, tmp_path / "sense", replace(AUTO, method="sense"))
    assert image_of(tmp_path / "auto") == image_of(tmp_path / "sense")
    again = run(scan, tmp_path / "auto", with_model(AUTO, models, "inventing"))
    assert (again.status, again.method, again.reason) == ("skipped", "sense", done.reason)


def test_who_asks_for_the_network_gets_its_image_with_a_warning(scan, models, tmp_path):
    done = run(scan, tmp_path, with_model(NETWORK, models, "inventing"))
    assert (done.method, done.model["name"]) == ("network", "inventing")
    assert done.reason.startswith("asked for; ")
    assert [one.code for one in done.findings].count(INCONSISTENT) == 2  # of each slice


def test_a_network_that_does_not_stay_finite_is_replaced_by_sense(scan, models, tmp_path):
    done = run(scan, tmp_path / "auto", with_model(AUTO, models, "exploding"))
    assert done.method == "sense"
    assert done.reason == "auto: sense, since slice 0: the reconstruction did not stay finite"
    failed = run(scan, tmp_path / "network", with_model(NETWORK, models, "exploding"))
    assert (failed.status, failed.error.code) == ("failed", "NotFinite")


@pytest.mark.parametrize(
    ("training", "protocol", "why"),
    [
        ({"trained_for": {"max_frames": 1}}, None, "has frames 2, and model m was trained for up"),
        ({"trained_for": {"n_coils": [8, 34]}}, None, "coils 6, and model m was trained for 8 to"),
        ({"trained_for": {"acceleration": [4, 24]}}, None, "acceleration 2, and model m was"),
        ({"auto_protocols": ["T1map"]}, "Cine", "protocol Cine was not in the training of model m"),
        ({"accepts_unknown_protocol": False}, None, "states no protocol, which model m needs"),
    ],
)
def test_auto_takes_sense_where_a_model_was_not_trained_for_the_scan(
    scan, tmp_path, training, protocol, why
):
    write_model(tmp_path / "m", **training)
    settings = replace(AUTO, model=str(tmp_path / "m"), protocol=protocol)
    done = run(scan, tmp_path / "auto", settings)
    assert done.method == "sense"
    assert done.reason.startswith("auto: sense, since ")
    assert why in done.reason
    assert done.model is None
    asked = run(scan, tmp_path / "network", replace(settings, method="network"))
    assert asked.method == "network"


@pytest.mark.parametrize(
    ("training", "protocol"),
    [
        ({"trained_for": {"max_frames": 2, "n_coils": [6, 6], "acceleration": [2, 3]}}, None),
        ({"auto_protocols": ["CINE"]}, "Cine"),
        ({"auto_protocols": ["T1map"]}, None),
        ({"accepts_unknown_protocol": False}, "Cine"),
    ],
)
def test_auto_takes_the_network_where_it_was_trained_for_the_scan(
    scan, tmp_path, training, protocol
):
    write_model(tmp_path / "m", **training)
    settings = replace(AUTO, model=str(tmp_path / "m"), protocol=protocol)
    assert run(scan, tmp_path / "out", settings).method == "network"


@pytest.mark.parametrize(
    "training",
    [
        {"trained_for": [1]},
        {"trained_for": {"n_coils": 8}},
        {"trained_for": {"n_coils": [1, "x"]}},
        {"auto_protocols": "Cine"},
    ],
)
def test_limits_that_are_not_understood_are_refused_scan_by_scan(scan, tmp_path, training):
    write_model(tmp_path / "m", **training)
    settings = replace(AUTO, model=str(tmp_path / "m"), protocol="Cine")
    failed = run(scan, tmp_path / "out", settings)
    assert (failed.status, failed.error.exit_code) == ("failed", 7)


def test_what_is_finished_is_done_again_only_if_the_network_is_another(scan, models, tmp_path):
    assert run(scan, tmp_path, AUTO).status == "done"
    again = run(scan, tmp_path, AUTO)
    assert (again.status, again.method) == ("skipped", "network")
    assert again.model == record_of(tmp_path)["model"]
    others = [
        with_model(AUTO, models, "other"),
        replace(AUTO, adapter="none"),
        replace(AUTO, precision="bf16"),
        replace(AUTO, method="network"),
        replace(AUTO, method="sense"),
    ]
    for other in others:
        failed = run(scan, tmp_path, other)
        assert (failed.status, failed.error.code) == ("failed", "OutputError"), other
    assert run(scan, tmp_path, AUTO).status == "skipped"


def test_another_model_is_another_result_without_any_adapter(scan, models, tmp_path):
    plain = replace(AUTO, adapter="none")
    assert run(scan, tmp_path, plain).status == "done"
    assert run(scan, tmp_path, with_model(plain, models, "other")).status == "failed"


def test_another_adapter_of_the_same_name_is_another_result(scan, tmp_path):
    sha256 = write_model(tmp_path / "m", adapters=())
    settings = replace(AUTO, model=str(tmp_path / "m"), adapter=str(tmp_path / "bundle"))
    statuses = []
    for seed in (1, 1, 2):
        write_adapter(tmp_path / "bundle", tiny_backbone(), sha256, ("site", SITE), seed)
        statuses.append(run(scan, tmp_path / "out", settings).status)
    assert statuses == ["done", "skipped", "failed"]


@pytest.mark.usefixtures("models")
def test_a_dry_run_shows_method_and_adapters_and_writes_nothing(scan, tmp_path):
    planned = run(scan, tmp_path / "out", replace(AUTO, dry_run=True, **CINE_AT_SITE))
    assert (planned.status, planned.method) == ("planned", "network")
    assert planned.model["name"] == "small"
    assert planned.adapter["name"] == f"Cine + {SITE}"
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("models")
def test_the_precision_is_that_of_the_machine_unless_one_is_asked_for(scan, tmp_path, monkeypatch):
    images = {}
    for name, known in (("bf16", {"avx512_bf16": True}), ("fp32", {})):
        monkeypatch.setattr("torch.cpu.get_capabilities", lambda k=known: k, raising=False)
        done = run(scan, tmp_path / name, replace(AUTO, precision="auto"))
        assert (done.precision, record_of(tmp_path / name)["precision"]) == (name, name)
        assert f"{name}: this processor has" in done.reason
        images[name] = image_of(tmp_path / name)
    assert images["bf16"] != images["fp32"]


def test_on_a_gpu_the_large_model_goes_first(tmp_path):
    for name in ("base", "small", "tune"):
        write_model(tmp_path / name, adapters=())
    with installed(tmp_path):
        assert (default_model("cpu"), default_model("cuda:1")) == ("small", "base")
    for name in ("base", "small"):
        for path in (tmp_path / name).iterdir():
            path.unlink()
        (tmp_path / name).rmdir()
    with installed(tmp_path):
        assert default_model("cpu") == "tune"
