"""Tiny backbones and adapters with numbers of their own, and a model folder made of them."""

from contextlib import contextmanager
from dataclasses import replace

import torch

from mrcli.adapters.adapter import Adapter, AdapterSpec
from mrcli.adapters.card import AdapterCard
from mrcli.models.backbone_file import write_backbone
from mrcli.models.bundle_files import write_bundle
from mrcli.models.store import adapter_folder
from mrcli.nn.backbone import Backbone, BackboneSpec
from mrcli.nn.inputs import N_FACTS, NetworkInput
from mrcli.physics.encoding import Y_ONLY

TINY = BackboneSpec(n_cascades=2, fine=8, coarse=8, n_coarse_blocks=1, n_final_iterations=1)
SITE_NAME = "Center101/umr780.sim"


@contextmanager
def seeded(seed):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def randomised(network, seed, size=0.1):
    with seeded(seed), torch.no_grad():
        for one in network.parameters():
            one.add_(torch.randn_like(one), alpha=size)
    return network


def backbone_of(spec=TINY, seed=0):
    with seeded(seed):
        backbone = Backbone(spec)
    backbone.requires_grad_(False).eval()
    return randomised(backbone, seed)


def adapter_of(backbone, form="combined", rank=1, n_cascades=None, seed=1):
    with seeded(seed):
        adapter = Adapter.of(backbone, AdapterSpec(form, rank, n_cascades))
    return randomised(adapter, seed)


def card_of(sha256, kind="protocol", name="Cine", **others):
    facts = {"data_fingerprint": {"n": {"Cine": 3}, "noise": [0.1, 0.25]}}
    facts |= {"training": {"steps": 10, "rate": 1e-3}, "acceptance": None}
    return AdapterCard(kind, name, sha256, **(facts | others))


def input_of(n_frames=3, matrix=(10, 9), n_coils=2, seed=2):
    with seeded(seed):
        image = torch.randn(n_frames, *matrix, dtype=torch.complex64)
        maps = torch.randn(n_coils, *matrix, dtype=torch.complex64) / n_coils
        mask = torch.rand(n_frames, 1, matrix[0], 1) < 0.5
        given = NetworkInput(
            image,
            image * 0.9,
            image.mean(0, keepdim=True),
            maps,
            mask,
            Y_ONLY,
            torch.randn(N_FACTS),
            1.0,
        )
        return replace(given, combined=image + 0.1 * torch.randn_like(image))


MEMBERS = (
    ("universal", "universal"),
    ("protocol", "Cine"),
    ("protocol", "LGE"),
    ("site", SITE_NAME),
)


def write_model(folder, name="tiny", members=MEMBERS, seed=0):
    backbone = backbone_of(seed=seed)
    sha256 = write_backbone(folder / name, backbone, name, {"steps": 3})
    (folder / name / "MODEL_CARD.md").write_text("# Tiny\n")
    for number, (kind, own) in enumerate(members):
        place = folder / name / adapter_folder(kind, own)
        write_bundle(place, adapter_of(backbone, seed=number), card_of(sha256, kind, own))
    return folder / name
