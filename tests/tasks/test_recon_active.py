"""`recon --adapter auto` with a registry: the active adapter of the site, why, and for whom not."""

from dataclasses import replace

import numpy as np
import pytest

from mrcli.adapters.adapter import Adapter, AdapterSpec
from mrcli.adapters.card import AdapterCard
from mrcli.errors import ModelError
from mrcli.models.bundle_files import write_bundle
from mrcli.models.store import load_model
from mrcli.tasks.adapters_registry import activate_adapter
from mrcli.tasks.recon import recon_paths
from mrcli.tasks.recon_adapters import Adapters
from mrcli.tasks.recon_result import ReconSettings
from networks import SITE, tiny_backbone, write_adapter, write_model
from phantoms import lines, small_study

CENTER, SCANNER = SITE.split("/")


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    path = tmp_path_factory.mktemp("study") / "a.npy"
    _, kspace = small_study(n_slices=1, n_coils=4)
    np.save(path, (kspace * lines(48, 3, 12)).numpy())
    return path


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A model, and a registry in which an adapter of its site is active."""
    monkeypatch.setenv("MRCLI_REGISTRY", str(tmp_path / "registry"))
    sha256 = write_model(tmp_path / "m")
    write_adapter(tmp_path / "own", tiny_backbone(), sha256, ("site", SITE), seed=9)
    activate_adapter(tmp_path / "own", model=str(tmp_path / "m"), registry=tmp_path / "registry")
    return tmp_path


def run(scan, site, out, model="m", **changes):
    settings = ReconSettings(device="cpu", precision="fp32", command=(), model=str(site / model))
    settings = replace(settings, center=CENTER, scanner=SCANNER)
    (one,) = recon_paths([scan], site / out, replace(settings, **changes)).scans
    return one


def sha256_of_active(site):
    (one,) = (site / "registry/bundles").iterdir()
    return one.name


def test_auto_takes_the_active_adapter_of_the_site_and_says_since_when(scan, site, monkeypatch):
    done = run(scan, site, "out")
    assert done.adapter["name"] == SITE
    assert [one["sha256"] for one in done.adapter["chain"]] == [sha256_of_active(site)]
    assert f"site {SITE} has an active adapter, activated 20" in done.reason
    assert done.reason.partition("activated 20")[2].partition(";")[0].endswith("+00:00: it")
    image = (site / "out/a.nii.gz").read_bytes()
    monkeypatch.setenv("MRCLI_REGISTRY", str(site / "absent"))
    plain = run(scan, site, "plain")
    assert f"site {SITE} is known: its adapter" in plain.reason
    assert (site / "plain/a.nii.gz").read_bytes() != image
    assert not (site / "absent").exists()


def test_a_name_means_the_active_one_and_none_means_none(scan, site):
    named = run(scan, site, "named", adapter=SITE, dry_run=True)
    assert named.adapter["chain"][0]["sha256"] == sha256_of_active(site)
    assert run(scan, site, "none", adapter="none", dry_run=True).adapter["chain"] == []


def test_an_active_adapter_is_never_used_for_another_backbone(scan, site):
    write_model(site / "other", tiny_backbone(seed=7))
    done = run(scan, site, "out", model="other", dry_run=True)
    assert f"site {SITE} is known: its adapter" in done.reason


def test_an_active_adapter_that_was_not_accepted_was_forced_and_is_used(scan, site):
    sha256 = load_model(site / "m").sha256
    card = AdapterCard("universal", "universal", sha256, {}, {}, {"accepted": False})
    write_bundle(site / "u", Adapter.of(tiny_backbone(), AdapterSpec()), card)
    activate_adapter(site / "u", model=str(site / "m"), registry=site / "registry", is_forced=True)
    done = run(scan, site, "out", center=None, dry_run=True)
    assert "the scan states no site: universal, activated 20" in done.reason
    assert done.adapter["name"] == "universal"


@pytest.mark.parametrize("what", ["weights", "card", "log", "state"])
def test_a_broken_registry_is_7_before_any_scan_is_read(scan, site, what):
    bundle = site / "registry/bundles" / sha256_of_active(site)
    path = {
        "weights": bundle / "adapter.safetensors",
        "card": bundle / "adapter.json",
        "log": site / "registry/audit.jsonl",
        "state": site / "registry/active.json",
    }[what]
    content = path.read_bytes()
    path.write_bytes(content[:40] + bytes([content[40] ^ 1]) + content[41:])
    with pytest.raises(ModelError, match="the registry is broken") as caught:
        run(scan, site, "out")
    assert caught.value.exit_code == 7
    assert not (site / "out").exists()
    assert run(scan, site, "none", adapter="none", dry_run=True).status == "planned"


def test_a_bundle_that_is_missing_is_7(scan, site):
    bundle = site / "registry/bundles" / sha256_of_active(site)
    bundle.rename(site / "moved")
    with pytest.raises(ModelError, match="the active adapter of North/Vida"):
        run(scan, site, "out")


def test_what_is_broken_for_another_backbone_does_not_matter(scan, site):
    write_model(site / "other", tiny_backbone(seed=7))
    (site / "registry/bundles" / sha256_of_active(site) / "adapter.json").unlink()
    assert run(scan, site, "out", model="other", dry_run=True).status == "planned"


def test_without_a_registry_the_model_itself_is_used(site, monkeypatch):
    monkeypatch.setenv("MRCLI_REGISTRY", str(site / "absent"))
    model = load_model(site / "m")
    own = Adapters.of(model, "auto")
    assert own.sites is model.sites
    assert own.protocols is model.protocols
