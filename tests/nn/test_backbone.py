"""Facts about the whole network: its equations, untrained and trained, at every size.

What a trained network computes is compared with its equations written down once more, slowly, in
double precision: wrong padding, order, scale or exchange has nowhere to hide.
"""

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import conv2d, leaky_relu, pad, pixel_shuffle, pixel_unshuffle
from torch.testing import assert_close

from mrcli.nn.backbone import BASE, SMALL, SPECS, Backbone, count_parameters
from mrcli.nn.inputs import prepare
from mrcli.nn.normal import conjugate_gradients
from mrcli.physics.encoding import Y_ONLY, YX
from nn.scenes import TINY, gaussian, given, in_double, new_backbone, scene, trained

EXACT = {"rtol": 0, "atol": 1e-10}
for_both_axes = pytest.mark.parametrize("axes", [YX, Y_ONLY])


def normal(one, image):
    return one.encoding.adjoint(one.encoding.forward(image))


def consistent(one, image, weight, n_iterations=TINY.n_final_iterations):
    """Return some iterations of conjugate gradients from `image`."""
    return conjugate_gradients(
        lambda x: normal(one, x) + weight * x, one.combined + weight * image, image, n_iterations
    )


def channels(image):
    n_y, n_x = image.shape[-2:]
    parts = torch.stack([image.real, image.imag], 1)
    return pixel_unshuffle(pad(parts, (0, -n_x % 4, 0, -n_y % 4)), 2)


def mixed(features):
    n, mixture = features.shape[1] // 8, features.clone()
    if len(features) == 1:
        return mixture
    mixture[1:, :n] = features[:-1, :n]
    mixture[:-1, n : 2 * n] = features[1:, n : 2 * n]
    mixture[:, 2 * n : 3 * n] = features[:, 2 * n : 3 * n].mean(0)
    return mixture


def by_hand(network, one):
    """Return the image of the equations in the docstrings, from the weights by their names."""
    weights = dict(network.state_dict())

    def conv(features, name, **options):
        return conv2d(features, weights[name + ".weight"], weights[name + ".bias"], **options)

    def act(features):
        return leaky_relu(features, 0.1)

    def block(features, name):
        hidden = act(conv(mixed(features), name + ".first", padding=1))
        return features + conv(hidden, name + ".second", padding=1)

    image = one.start
    average = (one.average - image.mean(0)).expand_as(image)
    carried = conv(torch.cat([channels(image), channels(average)], 1), "stem", padding=1)
    gains = 10 ** (weights["gains.weight"] @ one.facts + weights["gains.bias"])
    for index in range(network.spec.n_cascades):
        own = f"cascades.{index}."
        gradient = normal(one, image) - one.combined
        facts = weights[own + "facts.weight"] @ one.facts + weights[own + "facts.bias"]
        gain, offset = facts[:, None, None].chunk(2)
        seen = torch.cat([channels(image), channels(10 * gradient), carried], 1)
        fine = carried + act(conv(seen, own + "head", padding=1) * (1 + gain) + offset)
        fine = block(fine, own + "before")
        coarse = act(conv(fine, own + "down", stride=2))
        for deep in range(network.spec.n_coarse_blocks):
            coarse = block(coarse, f"{own}coarse.{deep}")
        carried = block(fine + pixel_shuffle(conv(coarse, own + "up"), 2), own + "after")
        parts = pixel_shuffle(conv(carried, own + "tail", padding=1), 2)
        change = torch.complex(parts[:, 0], parts[:, 1])[:, : image.shape[1], : image.shape[2]]
        image = image - weights["steps"][index] * gradient + 0.1 * gains[index] * change
    weight = 10 ** float(weights["trust.weight"] @ one.facts + weights["trust.bias"])
    return consistent(one, image, weight)


@for_both_axes
@pytest.mark.parametrize("matrix", [(12, 10), (5, 7), (9, 16), (1, 4)])
@pytest.mark.parametrize("n_frames", [1, 2, 5])
def test_a_trained_network_computes_its_equations(axes, matrix, n_frames):
    one, network = in_double(given(n_frames, matrix=matrix, axes=axes)), trained().double()
    assert_close(network(one), by_hand(network, one), **EXACT)


@for_both_axes
def test_an_untrained_one_takes_gradient_steps_and_conjugate_gradients_and_no_more(axes):
    one, network = in_double(given(axes=axes)), new_backbone().double()
    image = one.start
    for _ in range(TINY.n_cascades):
        image = image - 0.1 * (normal(one, image) - one.combined)
    expected = consistent(one, image, 0.1)
    assert_close(network(one), expected, rtol=0, atol=1e-7)  # 0.1 in single precision


@pytest.mark.parametrize("matrix", [(12, 10), (5, 7), (13, 9), (1, 1), (4, 31)])
@pytest.mark.parametrize(("n_frames", "n_coils"), [(1, 1), (3, 34), (50, 2)])
def test_every_size_gives_a_finite_image_of_that_size(matrix, n_frames, n_coils):
    one, network = given(n_frames, n_coils, matrix), trained()
    for dtype in (torch.float32, torch.bfloat16):
        image = network(one, dtype)
        assert image.shape == (n_frames, *matrix)
        assert image.dtype == torch.complex64
        assert torch.view_as_real(image).isfinite().all()


@pytest.mark.parametrize("factor", [1e-9, 1e9])
def test_another_unit_of_the_data_gives_the_same_image(factor):
    encoding, kspace, calibrated, sigma = scene()
    network = trained()
    plain = prepare(encoding, kspace, calibrated, sigma)
    other = prepare(encoding, kspace * factor, calibrated, sigma * factor)
    expected = network(plain) * plain.scale
    found = network(other) * (other.scale / factor)
    assert (found - expected).norm() < 1e-5 * expected.norm()


def test_the_scale_of_an_input_is_not_in_the_image():
    one, network = given(), trained()
    assert torch.equal(network(replace(one, scale=5.0)), network(one))


def test_mixed_precision_stays_near_single_precision():
    one, network = given(), trained()
    single, mixed_precision = network(one), network(one, torch.bfloat16)
    assert not torch.equal(single, mixed_precision)
    change = (single - one.start).norm()
    assert change > 0.01 * single.norm()
    assert (mixed_precision - single).norm() < 0.05 * change


def test_weights_in_the_layout_of_training_give_the_same_image():
    one, network = given(), trained()
    plain = network(one)
    laid_out = network.to(memory_format=torch.channels_last)
    assert_close(laid_out(one), plain, rtol=0, atol=1e-5)


def test_every_weight_of_a_trained_network_learns():
    network = trained()
    network(given()).abs().square().sum().backward()
    silent = [name for name, one in network.named_parameters() if not one.grad.any()]
    assert silent == []


def in_phase(one, turn):
    return replace(
        one, combined=one.combined * turn, start=one.start * turn, average=one.average * turn
    )


def test_a_global_phase_passes_through_an_untrained_network_and_not_through_a_trained_one():
    turn = torch.polar(torch.tensor(1.0), torch.tensor(0.7))
    one, network = given(), new_backbone()
    assert_close(network(in_phase(one, turn)), network(one) * turn, rtol=0, atol=1e-5)
    network = trained()
    assert not torch.allclose(network(in_phase(one, turn)), network(one) * turn, atol=1e-2)


def final(one, network, n_iterations, log_weight=None):
    """Return the image of the network with another last step; none: what goes into that step."""
    last = Backbone(replace(network.spec, n_final_iterations=n_iterations)).double()
    last.load_state_dict(network.state_dict())
    if log_weight is not None:
        torch.nn.init.zeros_(last.trust.weight)
        torch.nn.init.constant_(last.trust.bias, log_weight)
    return last(one).detach()


def residual(one, image):
    return (normal(one, image) - one.combined).norm()


@for_both_axes
def test_less_trust_in_the_network_leaves_less_of_the_data_unexplained(axes):
    one, network = in_double(given(sigma=0.0, axes=axes)), trained().double()
    before = residual(one, final(one, network, 0))
    after = [residual(one, final(one, network, 60, log)) for log in (2, 0, -2, -4)]
    assert before > after[0] > after[1] > after[2] > after[3]
    assert after[3] < 1e-3 * before


def test_all_trust_in_the_network_leaves_its_image_as_it_is():
    one, network = in_double(given()), trained().double()
    assert_close(final(one, network, 3, 9), final(one, network, 0), rtol=0, atol=1e-7)


def test_the_sizes_stay_within_their_budgets():
    assert SPECS == {"small": SMALL, "base": BASE}
    with torch.device("meta"):
        small, base = (count_parameters(Backbone(spec)) for spec in (SMALL, BASE))
    assert 1.5e6 < small <= 2e6
    assert 1.9e7 < base <= 2e7
    assert Backbone(TINY).spec.document() == {
        "n_cascades": 2,
        "fine": 16,
        "coarse": 24,
        "n_coarse_blocks": 2,
        "n_final_iterations": 3,
    }


def test_the_operator_that_all_rests_on_is_that_of_the_data():
    one = in_double(given())
    image = gaussian(*one.start.shape, seed=1)
    expected = one.mask.sum() / one.mask.numel()
    energy = (image.conj() * normal(one, image)).real.sum() / image.abs().square().sum()
    assert energy == pytest.approx(float(expected), rel=0.2)
