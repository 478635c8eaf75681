"""Facts about adapters: new ones change nothing, merged ones act as they would on features."""

import pytest
import torch
from torch.nn.functional import conv2d, leaky_relu
from torch.testing import assert_close

from mrcli.adapters.adapter import Adapter, AdapterSpec
from mrcli.adapters.family import Family, adapted
from mrcli.adapters.forms import FORMS, Bottleneck, Combined, LowRank, ScaleShift
from mrcli.errors import ModelError
from mrcli.nn.backbone import SMALL, Backbone, BackboneSpec, count_parameters
from mrcli.nn.slots import Linear, SlottedConv, attached, slots
from nn.scenes import TINY, gaussian, given, in_double, new_backbone, perturbed, trained

EXACT = {"rtol": 0, "atol": 1e-12}
C, RANK, N_IN = 6, 2, 5
MERGING = ("scale-shift", "low-rank", "combined")
for_every_form = pytest.mark.parametrize("form", FORMS)
for_every_size = pytest.mark.parametrize("matrix", [(4, 6), (5, 3), (1, 1)])


def some(form, seed=0):
    return perturbed(FORMS[form](C, RANK), size=1.0, seed=seed).double()


def matrix_and_offset(one):
    """Return ``T`` and ``t`` of ``h -> T h + t``."""
    unit = torch.eye(C, dtype=torch.float64)
    match one:
        case ScaleShift():
            return torch.diag(1 + one.gain), one.offset
        case LowRank():
            return unit + one.up @ one.down, torch.zeros(C, dtype=torch.float64)
        case Combined():
            low, _ = matrix_and_offset(one.low_rank)
            scale, offset = matrix_and_offset(one.scale_shift)
            return scale @ low, offset


def acted(one, features):
    matrix, offset = matrix_and_offset(one)
    return torch.einsum("dc,fcyx->fdyx", matrix, features) + offset[:, None, None]


def convolution(n_out=C):
    return perturbed(SlottedConv(N_IN, n_out), size=1.0).double()


def features_of(matrix, n_channels=N_IN):
    return gaussian(3, n_channels, *matrix).real


@for_every_size
@pytest.mark.parametrize("form", MERGING)
def test_a_merged_adapter_acts_as_its_matrix_on_features(form, matrix):
    place, one, features = convolution(), some(form), features_of(matrix)
    expected = acted(one, place(features))
    place.attached = (one,)
    assert_close(place(features), expected, **EXACT)
    assert isinstance(one, Linear)


@for_every_size
def test_a_bottleneck_adds_what_passes_through_a_few_channels(matrix):
    place, one, features = convolution(), some("bottleneck"), features_of(matrix)
    plain = place(features)
    narrow = leaky_relu(torch.einsum("rc,fcyx->fryx", one.down, plain), 0.1)
    expected = plain + torch.einsum("cr,fryx->fcyx", one.up, narrow)
    place.attached = (one,)
    assert_close(place(features), expected, **EXACT)
    assert not isinstance(one, Linear)


@pytest.mark.parametrize("forms", [("combined", "scale-shift"), ("scale-shift", "low-rank")])
def test_adapters_of_a_chain_act_first_to_last(forms):
    place, features = convolution(), features_of((4, 5))
    first, second = some(forms[0]), some(forms[1], seed=1)
    plain = place(features)
    place.attached = (first, second)
    assert_close(place(features), acted(second, acted(first, plain)), **EXACT)
    assert not torch.allclose(place(features), acted(first, acted(second, plain)))


def test_two_bottlenecks_act_first_to_last():
    place, features = convolution(), features_of((4, 5))
    first, second = some("bottleneck"), some("bottleneck", seed=1)
    plain = place(features)
    place.attached = (first, second)
    assert_close(place(features), second(first(plain)), **EXACT)


@for_every_size
def test_a_convolution_keeps_the_size_and_pads_with_zeros(matrix):
    place, features = convolution(), features_of(matrix)
    assert_close(place(features), conv2d(features, place.weight, place.bias, padding=1))


@for_every_form
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_new_adapter_is_the_identity_bit_for_bit(form, dtype):
    backbone, one = trained(), given()
    plain = backbone(one, dtype)
    chain = [Adapter.of(backbone, AdapterSpec(form)) for _ in range(2)]
    assert torch.equal(adapted(backbone, chain, one, dtype), plain)


@for_every_form
def test_a_learned_adapter_changes_the_image_and_leaves_the_backbone_plain(form):
    backbone, one = trained(), given()
    plain = backbone(one)
    learned = perturbed(Adapter.of(backbone, AdapterSpec(form)))
    assert not torch.allclose(adapted(backbone, [learned], one), plain)
    assert torch.equal(backbone(one), plain)


@for_every_form
def test_an_adapter_learns_all_its_numbers_through_a_frozen_backbone(form):
    backbone = trained().requires_grad_(requires_grad=False)
    learned = perturbed(Adapter.of(backbone, AdapterSpec(form)))
    adapted(backbone, [learned], given()).abs().square().sum().backward()
    assert all(one.grad is not None and one.grad.any() for one in learned.parameters())
    assert all(one.grad is None for one in backbone.parameters())


@pytest.mark.parametrize(
    ("form", "n"),
    [
        ("scale-shift", 2 * C),
        ("low-rank", 2 * RANK * C),
        ("combined", 2 * C + 2 * RANK * C),
        ("bottleneck", 2 * RANK * C),
    ],
)
def test_a_form_has_as_many_numbers_as_its_table_says(form, n):
    assert count_parameters(FORMS[form](C, RANK)) == n


def test_an_adapter_is_at_most_a_hundredth_of_the_small_backbone():
    with torch.device("meta"):
        backbone = Backbone(SMALL)
        adapter = Adapter.of(backbone, AdapterSpec())
    assert count_parameters(adapter) <= 0.01 * count_parameters(backbone)
    assert AdapterSpec().document() == {"form": "combined", "rank": 2, "n_cascades": None}


def test_slots_are_the_convolutions_of_the_cascades_but_their_last():
    per_cascade = ["head", "before.first", "before.second"]
    per_cascade += [f"coarse.{block}.{name}" for block in (0, 1) for name in ("first", "second")]
    per_cascade += ["after.first", "after.second"]
    expected = [f"cascades.{cascade}.{name}" for cascade in (0, 1) for name in per_cascade]
    assert list(slots(new_backbone())) == expected


@pytest.mark.parametrize(("n_cascades", "first"), [(None, 0), (3, 0), (2, 1), (1, 2), (0, 3)])
def test_an_adapter_has_the_slots_of_the_last_cascades_asked_for(n_cascades, first):
    backbone = new_backbone(BackboneSpec(n_cascades=3, fine=8, coarse=8))
    adapter = Adapter.of(backbone, AdapterSpec(n_cascades=n_cascades))
    cascades = {int(name.split(".")[1]) for name in adapter.by_slot()}
    assert cascades == set(range(first, 3))
    assert list(adapter.by_slot()) == list(adapter.names)
    for name, one in adapter.by_slot().items():
        assert len(one.scale_shift.gain) == slots(backbone)[name].n_channels


def test_an_unknown_form_is_refused_with_those_that_are_known():
    with pytest.raises(ModelError, match="no adapter form is called 'cubic'") as error:
        Adapter.of(new_backbone(), AdapterSpec("cubic"))
    assert "scale-shift, low-rank, combined, bottleneck" in error.value.hint


def test_the_network_is_plain_again_after_an_exception():
    backbone, one = trained(), given()
    plain = backbone(one)
    learned = perturbed(Adapter.of(backbone, AdapterSpec()))
    with pytest.raises(RuntimeError, match="stop"), attached(backbone, [learned.by_slot()]):
        raise RuntimeError("stop")
    assert torch.equal(backbone(one), plain)
    assert all(place.attached == () for place in slots(backbone).values())


def test_a_slot_that_an_adapter_lacks_stays_plain():
    backbone = trained()
    learned = Adapter.of(backbone, AdapterSpec(n_cascades=1))
    with attached(backbone, [learned.by_slot()]):
        filled = {name for name, place in slots(backbone).items() if place.attached}
    assert filled == set(learned.names)


def family(form="combined"):
    sites, protocols = ["North", "South", "North"], ["T1map", "Cine"]
    made = Family(trained(), AdapterSpec(form), protocols=protocols, sites=sites)
    return perturbed(made, size=0.1)


def test_a_chain_is_the_protocol_then_the_site_or_the_universal_adapter():
    one = family()
    cine, north = one.protocols["Cine"], one.sites["North"]
    assert one.chain("Cine", "North") == (cine, north)
    assert one.chain("Cine", "elsewhere") == (cine, one.universal)
    assert one.chain("Cine", None) == (cine, one.universal)
    assert one.chain("Perfusion", "North") == (north,)
    assert one.chain(None, "North") == (north,)
    assert one.chain(None, None) == (one.universal,)


def test_every_member_of_a_family_is_a_new_one_and_all_are_trained():
    one = family()
    members = [*one.protocols.values(), *one.sites.values(), one.universal]
    assert list(one.protocols) == ["Cine", "T1map"]
    assert list(one.sites) == ["North", "South"]
    own = {id(number) for member in members for number in member.parameters()}
    assert own == {id(number) for number in one.parameters()}
    assert count_parameters(one) == 5 * count_parameters(one.universal)


def test_the_order_of_a_chain_matters():
    made, backbone, one = family(), trained(), given()
    chain = made.chain("Cine", "North")
    turned = adapted(backbone, chain[::-1], one)
    assert not torch.allclose(adapted(backbone, chain, one), turned, atol=1e-4)


@for_every_form
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_no_adapter_explains_the_data_worse_than_the_image_before_the_last_step(form, seed):
    """At x_K the goal of the last step, ``|A x - y|^2 + lambda |x - x_K|^2``, is the residual."""
    backbone, one = trained().double(), in_double(given())
    learned = perturbed(Adapter.of(backbone, AdapterSpec(form)), 0.2, seed).double()
    kspace = one.encoding.forward(one.start)  # consistent data: A^H y - A^H A x is A^H (y - A x)
    consistent = type(one)(**(vars(one) | {"combined": one.encoding.adjoint(kspace)}))
    bare = Backbone(BackboneSpec(**(TINY.document() | {"n_final_iterations": 0}))).double()
    bare.load_state_dict(backbone.state_dict())

    def unexplained(network):
        image = adapted(network, [learned], consistent)
        return (one.encoding.forward(image) - kspace).norm()

    assert unexplained(backbone) < unexplained(bare)


def test_the_bottleneck_is_the_only_form_that_does_not_merge():
    kinds = {name: isinstance(FORMS[name](C, RANK), Linear) for name in FORMS}
    assert kinds == {name: name in MERGING for name in FORMS}
    assert isinstance(FORMS["bottleneck"](C, RANK), Bottleneck)
