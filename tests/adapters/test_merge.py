"""Adapters are nothing until they are trained, and merge into weights without a difference."""

import pytest
import torch

from bundles import adapter_of, backbone_of, input_of
from mrcli.adapters.adapter import Adapter, AdapterSpec
from mrcli.adapters.family import adapted
from mrcli.adapters.forms import FORMS
from mrcli.adapters.merge import can_merge, merged
from mrcli.errors import ModelError
from mrcli.nn.backbone import BackboneSpec
from mrcli.nn.slots import attached, slots

LINEAR = ("scale-shift", "low-rank", "combined")
GIVEN = input_of()
BACKBONE = backbone_of()


def image(backbone, *chain):
    with torch.inference_mode():
        return adapted(backbone, chain, GIVEN)


def difference(one, other):
    return float((one - other).norm() / other.norm())


def state_of(backbone):
    return {name: one.clone() for name, one in backbone.state_dict().items()}


@pytest.mark.parametrize("form", FORMS)
def test_a_new_adapter_is_the_identity_bit_for_bit(form):
    new = Adapter.of(BACKBONE, AdapterSpec(form, 2))
    assert torch.equal(image(BACKBONE, new), image(BACKBONE))
    assert torch.equal(image(BACKBONE, new, new), image(BACKBONE))


@pytest.mark.parametrize("form", FORMS)
def test_a_trained_adapter_changes_the_image(form):
    assert difference(image(BACKBONE, adapter_of(BACKBONE, form)), image(BACKBONE)) > 1e-3


def test_detached_is_the_plain_backbone_bit_for_bit_and_its_state_is_unchanged():
    before, plain = state_of(BACKBONE), image(BACKBONE)
    chain = [adapter_of(BACKBONE, form) for form in FORMS]
    image(BACKBONE, *chain)
    merged(BACKBONE, chain[:3])
    with pytest.raises(ZeroDivisionError), attached(BACKBONE, [chain[0].by_slot()]):
        raise ZeroDivisionError
    assert torch.equal(image(BACKBONE), plain)
    assert before.keys() == BACKBONE.state_dict().keys()
    assert all(torch.equal(one, before[name]) for name, one in BACKBONE.state_dict().items())


@pytest.mark.parametrize("form", LINEAR)
@pytest.mark.parametrize("n_cascades", [None, 1])
def test_merged_equals_attached(form, n_cascades):
    chain = [adapter_of(BACKBONE, form, 2, n_cascades, seed) for seed in (3, 4)]
    one = merged(BACKBONE, chain)
    assert difference(image(one), image(BACKBONE, *chain)) < 1e-5
    assert difference(image(one), image(BACKBONE)) > 1e-3
    assert all(place.attached == () for place in slots(one).values())


def test_the_order_of_a_chain_counts():
    first, second = (adapter_of(BACKBONE, "low-rank", seed=seed) for seed in (3, 4))
    forth, back = merged(BACKBONE, [first, second]), merged(BACKBONE, [second, first])
    assert difference(image(forth), image(BACKBONE, first, second)) < 1e-5
    assert difference(image(forth), image(back)) > 1e-5


def test_an_empty_chain_is_a_copy():
    one = merged(BACKBONE, [])
    assert torch.equal(image(one), image(BACKBONE))
    assert next(one.parameters()).data_ptr() != next(BACKBONE.parameters()).data_ptr()


def test_new_adapters_merge_to_the_same_weights_bit_for_bit():
    one = merged(BACKBONE, [Adapter.of(BACKBONE, AdapterSpec("combined", 2))])
    pairs = zip(one.parameters(), BACKBONE.parameters(), strict=True)
    assert all(torch.equal(own, other) for own, other in pairs)


def test_merging_keeps_frozen_weights_frozen_and_channels_last():
    backbone = backbone_of().to(memory_format=torch.channels_last)
    one = merged(backbone, [adapter_of(backbone)])
    assert not any(own.requires_grad for own in one.parameters())
    head = one.cascades[0].head.weight
    assert head.is_contiguous(memory_format=torch.channels_last)


def test_what_is_attached_meanwhile_is_not_merged():
    adapter = adapter_of(BACKBONE)
    with attached(BACKBONE, [adapter.by_slot()]):
        one = merged(BACKBONE, [])
    assert all(place.attached == () for place in slots(one).values())
    with torch.inference_mode():
        assert torch.equal(one(GIVEN), image(BACKBONE))


def test_a_nonlinear_form_does_not_merge():
    with pytest.raises(ModelError, match="bottleneck does not merge"):
        merged(BACKBONE, [adapter_of(BACKBONE), adapter_of(BACKBONE, "bottleneck")])
    assert not can_merge(adapter_of(BACKBONE, "bottleneck"))
    assert all(can_merge(adapter_of(BACKBONE, form)) for form in LINEAR)


@pytest.mark.parametrize("spec", [BackboneSpec(3, 8, 8, 1, 1), BackboneSpec(2, 16, 8, 1, 1)])
def test_an_adapter_of_another_backbone_does_not_merge(spec):
    with pytest.raises(ModelError, match="another shape"):
        merged(BACKBONE, [adapter_of(backbone_of(spec))])
