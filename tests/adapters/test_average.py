"""Averages and differences of adapters, in what they do, against closed forms."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from bundles import adapter_of, backbone_of, card_of, input_of
from mrcli.adapters.adapter import Adapter, AdapterSpec
from mrcli.adapters.average import average, averaged, kind_of, weights_of
from mrcli.adapters.bundle import LoadedAdapter, bundle_bytes, parse_bundle
from mrcli.adapters.difference import differences, total_difference
from mrcli.adapters.effect import Effect, effect_of, factors, fitted
from mrcli.adapters.family import adapted
from mrcli.errors import ModelError

BACKBONE = backbone_of()
SHA, OTHER_SHA = "0" * 64, "1" * 64
LINEAR = ("scale-shift", "low-rank", "combined")
CLOSE = {"rtol": 1e-6, "atol": 1e-6}  # single precision, of numbers near 1
for_every_form = pytest.mark.parametrize("form", LINEAR)


def identity(form, rank=1):
    return Adapter.of(BACKBONE, AdapterSpec(form, rank))


def effects(adapter):
    return {name: effect_of(form) for name, form in adapter.by_slot().items()}


def assert_same_effect(one, other, **tolerance):
    pairs = zip(effects(one).values(), effects(other).values(), strict=True)
    for own, wanted in pairs:
        assert_close(own.matrix, wanted.matrix, **(tolerance or CLOSE))
        assert_close(own.offset, wanted.offset, **(tolerance or CLOSE))


def loaded(seed, training=None, sha256=SHA, form="combined", who=("site", "North/Vida")):
    card = card_of(sha256, *who, training=training or {})
    return LoadedAdapter(
        card.name, card.kind, f"{seed:064x}", adapter_of(BACKBONE, form, seed=seed), card
    )


@for_every_form
def test_the_effect_is_what_the_form_merges_into_a_convolution(form):
    slot = next(iter(adapter_of(BACKBONE, form, 2).by_slot().values()))
    effect = effect_of(slot)
    n = len(effect.offset)
    plain = torch.randn(n, 3, 1, 1, generator=torch.Generator().manual_seed(0))
    weight, bias = slot.merge(plain, torch.arange(n).float())
    assert_close((effect.matrix @ plain.flatten(1).double()).float(), weight.flatten(1), **CLOSE)
    wanted = effect.matrix @ torch.arange(n).double() + effect.offset
    assert_close(wanted.float(), bias, rtol=1e-5, atol=1e-5)


@for_every_form
@pytest.mark.parametrize("rank", [1, 3])
def test_the_average_of_an_adapter_with_itself_is_itself(form, rank):
    one = adapter_of(BACKBONE, form, rank)
    found = averaged([one, one, one], [0.5, 0.25, 0.25])
    assert_same_effect(found.adapter, one)
    assert found.share_lost < 1e-25
    assert found.adapter.spec == one.spec
    assert {p.dtype for p in found.adapter.parameters()} == {torch.float32}


def test_the_average_of_scale_shift_and_the_identity_is_halfway():
    one = adapter_of(BACKBONE, "scale-shift")
    found = averaged([one, identity("scale-shift")], [0.5, 0.5])
    for name, form in found.adapter.by_slot().items():
        assert_close(form.gain, one.by_slot()[name].gain / 2, **CLOSE)
        assert_close(form.offset, one.by_slot()[name].offset / 2, **CLOSE)
    assert found.share_lost == 0


def test_the_average_of_low_rank_and_the_identity_is_a_quarter_of_the_way():
    one = adapter_of(BACKBONE, "low-rank", 2)
    found = averaged([one, identity("low-rank", 2)], [0.25, 0.75])
    for own, wanted in zip(effects(found.adapter).values(), effects(one).values(), strict=True):
        assert_close(own.low_rank, wanted.low_rank / 4, **CLOSE)
    assert found.share_lost < 1e-25


def test_the_offset_of_an_average_is_the_average_of_offsets_whatever_the_rank_loses():
    members = [adapter_of(BACKBONE, "combined", 1, seed=seed) for seed in (1, 2, 3)]
    found = averaged(members, [0.2, 0.3, 0.5])
    wanted = [effects(one) for one in members]
    for name, own in effects(found.adapter).items():
        mean = sum(w * one[name].offset for w, one in zip((0.2, 0.3, 0.5), wanted, strict=True))
        assert_close(own.offset, mean, **CLOSE)
        diagonal = sum(
            w * one[name].matrix.diagonal() for w, one in zip((0.2, 0.3, 0.5), wanted, strict=True)
        )
        assert_close(own.matrix.diagonal(), diagonal, **CLOSE)
    assert 0 < found.share_lost < 1


def test_two_adapters_that_share_no_direction_lose_the_smaller_one():
    """diag(3, 1, 0, ...) cut to rank 1 loses 1 of 10 parts of its energy."""
    members = [identity("low-rank"), identity("low-rank")]
    for channel, (one, size) in enumerate(zip(members, (6.0, 2.0), strict=True)):
        for form in one.by_slot().values():
            unit = torch.zeros(len(form.up), 1)
            unit[channel] = 1
            form.up.data, form.down.data = size * unit, unit.T.clone()
    found = averaged(members, [0.5, 0.5])
    assert found.share_lost == pytest.approx(0.1, rel=1e-12)
    assert effects(found.adapter)[found.adapter.names[0]].low_rank[0, 0] == pytest.approx(
        3, rel=1e-6
    )


def test_a_form_with_gains_takes_a_lost_diagonal_into_them():
    """diag(3, 1, 0) is a gain alone: what rank 1 does not hold of it is not lost."""
    wanted = Effect.identity(3)
    wanted = replace(wanted, low_rank=torch.tensor([3.0, 1.0, 0.0]).double().diag())
    numbers = fitted("combined", wanted, 1)
    change = numbers["low_rank.up"] @ numbers["low_rank.down"]
    scale = 1 + numbers["scale_shift.gain"]
    assert_close(scale[:, None] * (torch.eye(3).double() + change), wanted.matrix)


def test_a_channel_that_is_switched_off_has_no_infinite_numbers():
    wanted = Effect(
        torch.zeros(2).double(),
        torch.tensor([[0.0, 1.0], [0.0, 0.0]]).double(),
        torch.zeros(2).double(),
    )
    numbers = fitted("combined", wanted, 1)
    assert all(bool(one.isfinite().all()) for one in numbers.values())


def test_a_rank_above_the_number_of_channels_is_filled_with_zeros():
    matrix = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).double()
    up, down = factors(matrix, 5)
    assert (up.shape, down.shape) == ((2, 5), (5, 2))
    assert_close(up @ down, matrix)


def test_the_average_of_an_adapter_with_itself_makes_the_same_image():
    one, given = adapter_of(BACKBONE, "scale-shift"), input_of()
    found = averaged([one, one], [0.5, 0.5]).adapter
    with torch.inference_mode():
        own, wanted = adapted(BACKBONE, [found], given), adapted(BACKBONE, [one], given)
    assert float((own - wanted).norm() / wanted.norm()) < 1e-5


def test_bottlenecks_have_no_average():
    one = adapter_of(BACKBONE, "bottleneck")
    with pytest.raises(ModelError, match="bottleneck is no matrix") as caught:
        averaged([one, one], [0.5, 0.5])
    assert "scale-shift, low-rank and combined" in caught.value.hint


@pytest.mark.parametrize(
    "other",
    [
        adapter_of(BACKBONE, "low-rank"),
        adapter_of(BACKBONE, "combined", 2),
        adapter_of(BACKBONE, "combined", 1, n_cascades=1),
    ],
)
def test_adapters_that_differ_in_form_rank_or_slots_have_no_average(other):
    with pytest.raises(ModelError, match="differ in form, rank or slots"):
        averaged([adapter_of(BACKBONE), other], [0.5, 0.5])


def test_nothing_has_no_average():
    with pytest.raises(ModelError, match="no adapter to average"):
        averaged([], [])


def test_weights_are_numbers_of_scans_where_all_state_them():
    weights = weights_of([loaded(1, {"n_scans": 3}), loaded(2, {"n_scans": 1})])
    assert (weights.shares, weights.by, weights.n_scans) == ((0.75, 0.25), "n_scans", 4)


@pytest.mark.parametrize("count", [None, 0, -1, True, 2.5, "3"])
def test_weights_are_equal_where_one_states_no_number_of_scans(count):
    training = {} if count is None else {"n_scans": count}
    weights = weights_of([loaded(1, {"n_scans": 3}), loaded(2, training)])
    assert (weights.shares, weights.by, weights.n_scans) == ((0.5, 0.5), "equal", None)


def test_the_record_says_what_was_averaged_and_the_bundle_can_be_read():
    members = [loaded(1, {"n_scans": 3}), loaded(2, {"n_scans": 1})]
    found, card = average(members, "universal", "universal")
    assert (card.kind, card.acceptance, card.training["n_scans"]) == ("universal", None, 4)
    assert card.training["averaged"] == [
        {"name": "North/Vida", "sha256": f"{1:064x}", "weight": 0.75},
        {"name": "North/Vida", "sha256": f"{2:064x}", "weight": 0.25},
    ]
    assert card.training["share_lost"] == found.share_lost
    one = parse_bundle(*bundle_bytes(found.adapter, card), BACKBONE, SHA)
    assert_same_effect(one.adapter, found.adapter, rtol=0, atol=0)


def test_adapters_of_different_backbones_have_no_average():
    with pytest.raises(ModelError, match="different backbones"):
        average([loaded(1), loaded(2, sha256=OTHER_SHA)], "universal", "universal")


def test_the_name_tells_the_kind():
    assert (kind_of("universal"), kind_of("North/Vida")) == ("universal", "site")


@for_every_form
def test_an_adapter_does_not_differ_from_itself_and_by_1_from_the_identity(form):
    one = adapter_of(BACKBONE, form)
    assert set(differences(one, one).values()) == {0.0}
    assert total_difference(one, one) == 0
    assert total_difference(one, identity(form)) == total_difference(identity(form), one) == 1
    assert total_difference(identity(form), identity(form)) == 0


def test_the_opposite_differs_by_2():
    one, other = (adapter_of(BACKBONE, "scale-shift") for _ in range(2))
    for parameter in other.parameters():
        parameter.data.neg_()
    assert list(differences(one, other).values()) == pytest.approx([2.0] * len(one.names))


def test_a_slot_that_one_lacks_is_one_where_it_does_nothing():
    everywhere, last = adapter_of(BACKBONE), adapter_of(BACKBONE, n_cascades=1)
    found = differences(everywhere, last)
    missing = set(everywhere.names) - set(last.names)
    assert missing
    assert all(found[name] == 1 for name in missing)
