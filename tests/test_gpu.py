"""A GPU computes what the processor does. Skipped where there is none."""

from dataclasses import replace

import nibabel
import numpy as np
import pytest
import torch
from torch.testing import assert_close

from mrcli.methods import METHODS
from mrcli.nn.backbone import SPECS, Backbone
from mrcli.nn.slots import slots
from mrcli.physics.patterns import kt_gaussian_lines
from mrcli.pipeline import calibrate, reconstruct
from mrcli.tasks.recon import ReconSettings, recon_paths
from mrcli.tasks.train import TrainSettings, train_backbone, training_sites
from mrcli.tasks.train_pool import pool_of
from phantoms import scan_of, small_study
from tiny import SPEC, fill_pool, tiny_sample

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def study():
    _, kspace = small_study(n_frames=3, matrix=(47, 64))
    mask = kt_gaussian_lines(3, 47, 4, seed=1).view(3, 1, 1, 47, 1)
    return scan_of(kspace, mask), mask


@pytest.mark.parametrize("name", list(METHODS))
def test_methods_give_the_same_image(name):
    scan, mask = study()
    images = [
        torch.stack(
            [
                one.image.cpu().abs()
                for one in reconstruct(scan, mask, calibrate(scan, 0.0), METHODS[name], device=d)
            ]
        )
        for d in ("cpu", "cuda")
    ]
    assert_close(images[1], images[0], rtol=0, atol=2e-3 * float(images[0].amax()))


def test_the_network_gives_the_same_image():
    torch.manual_seed(0)
    network = Backbone(SPEC)
    for one in slots(network).values():
        torch.nn.init.normal_(one.weight, std=0.1)
    sample = tiny_sample()
    with torch.inference_mode():
        here = network(sample.given)
        there = network.to("cuda")(sample.to("cuda").given).cpu()
    assert_close(there, here, rtol=1e-3, atol=1e-3 * float(here.abs().amax()))


def test_a_training_takes_the_same_steps(tmp_path, monkeypatch):
    monkeypatch.setitem(SPECS, "tiny", SPEC)
    own = TrainSettings(tmp_path, "tiny", 3, precision="fp32", pool_dir=tmp_path / "pool")
    fill_pool(pool_of(own, training_sites(), "cpu"), range(204))
    losses = {"cpu": [], "cuda": []}
    for device, told in losses.items():
        settings = replace(own, out_dir=tmp_path / device, device=device)
        train_backbone(settings, lambda record, _, told=told: told.append(record.loss))
    np.testing.assert_allclose(losses["cuda"], losses["cpu"], rtol=1e-3)


def test_recon_writes_the_same_image(tmp_path):
    _, kspace = small_study(n_frames=2)
    np.save(tmp_path / "scan.npy", kspace[:, 0].numpy())
    written = []
    for device in ("cpu", "cuda"):
        settings = ReconSettings(method="sense", device=device, axes="frame,coil,y,x", command=())
        recon_paths([tmp_path / "scan.npy"], tmp_path / device, settings)
        (path,) = (tmp_path / device).rglob("*.nii.gz")
        written.append(nibabel.load(path).get_fdata())
    np.testing.assert_allclose(written[1], written[0], rtol=0, atol=2e-3 * written[0].max())
