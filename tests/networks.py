"""Small untrained models on disk, with adapters that do something, and one model that invents."""

from contextlib import contextmanager

import pytest
import torch

from mrcli.adapters.adapter import Adapter, AdapterSpec
from mrcli.adapters.card import AdapterCard
from mrcli.models.backbone_file import write_backbone
from mrcli.models.bundle_files import write_bundle
from mrcli.models.index import VARIABLE, write_index
from mrcli.models.store import adapter_folder
from mrcli.nn.backbone import Backbone, BackboneSpec

TINY = BackboneSpec(n_cascades=2, fine=8, coarse=8, n_final_iterations=2)
SITE = "North/Vida"
ADAPTERS = (("protocol", "Cine"), ("site", SITE), ("universal", "universal"))


def tiny_backbone(seed=0, spec=TINY):
    """Return a network whose regularisers do a little, so that adapters and precision matter."""
    torch.manual_seed(seed)
    backbone = Backbone(spec)
    for cascade in backbone.cascades:
        torch.nn.init.normal_(cascade.tail.weight, std=0.02)
    return backbone.requires_grad_(requires_grad=False).eval()


def inventing_backbone():
    """Return a network that adds what nobody measured, and hardly lets the data correct it."""
    backbone = tiny_backbone()
    torch.nn.init.constant_(backbone.cascades[-1].tail.bias, 2.0)
    torch.nn.init.constant_(backbone.trust.bias, 4.0)
    return backbone


def exploding_backbone():
    """Return a network whose images are not finite."""
    backbone = tiny_backbone()
    torch.nn.init.constant_(backbone.steps, 1e38)
    return backbone


def write_model(folder, backbone=None, adapters=ADAPTERS, **training):
    """Write a model of an untrained network and adapters that are not the identity."""
    backbone = backbone or tiny_backbone()
    folder.mkdir(parents=True)
    sha256 = write_backbone(folder, backbone, folder.name, training)
    for seed, who in enumerate(adapters, 1):
        write_adapter(folder / adapter_folder(*who), backbone, sha256, who, seed)
    return sha256


def write_adapter(folder, backbone, sha256, who, seed=1):
    """Write the bundle of one adapter."""
    torch.manual_seed(seed)
    adapter = Adapter.of(backbone, AdapterSpec())
    for numbers in adapter.parameters():
        torch.nn.init.normal_(numbers, std=0.05)
    folder.parent.mkdir(parents=True, exist_ok=True)
    write_bundle(folder, adapter, AdapterCard(*who, sha256, {}, {}))


@contextmanager
def installed(folder):
    """Let the models below a folder be the only ones that there are."""
    folder.mkdir(parents=True, exist_ok=True)
    write_index(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, str(folder))
        yield folder
