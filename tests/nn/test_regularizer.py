"""Facts about the regulariser: pixels as channels, exchange between frames, sizes."""

import pytest
import torch
from torch.testing import assert_close

from mrcli.nn.backbone import SMALL
from mrcli.nn.regularizer import (
    Regularizer,
    ResidualBlock,
    Widths,
    exchange_frames,
    from_channels,
    to_channels,
)
from nn.scenes import gaussian, new_backbone, perturbed


def features(n_frames, n_channels=16, matrix=(3, 5)):
    return gaussian(n_frames, n_channels, *matrix).real


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
def test_channels_and_back_is_the_same_image_bit_for_bit(dtype):
    image = gaussian(3, 8, 12, dtype=dtype)
    assert torch.equal(from_channels(to_channels(image)), image)


def test_channels_are_real_then_imaginary_parts_of_two_by_two_pixels():
    image = gaussian(2, 4, 6)
    channels = to_channels(image)
    assert channels.shape == (2, 8, 2, 3)
    for part, values in enumerate((image.real, image.imag)):
        for row in range(2):
            for column in range(2):
                own = channels[:, 4 * part + 2 * row + column]
                assert torch.equal(own, values[:, row::2, column::2])


def test_channels_of_half_precision_give_an_image_of_single_precision():
    assert from_channels(features(2, 8).bfloat16()).dtype == torch.complex64


def test_one_frame_is_left_as_it_is():
    one = features(1)
    assert torch.equal(exchange_frames(one), one)


@pytest.mark.parametrize("n_frames", [2, 5])
@pytest.mark.parametrize("n_channels", [16, 20, 7])
def test_an_eighth_each_moves_on_moves_back_and_becomes_the_mean(n_frames, n_channels):
    before, n = features(n_frames, n_channels), n_channels // 8
    after = exchange_frames(before)
    for frame in range(n_frames):
        earlier, later = max(frame - 1, 0), min(frame + 1, n_frames - 1)
        assert torch.equal(after[frame, :n], before[earlier, :n])
        assert torch.equal(after[frame, n : 2 * n], before[later, n : 2 * n])
        assert_close(after[frame, 2 * n : 3 * n], before[:, 2 * n : 3 * n].mean(0))
        assert torch.equal(after[frame, 3 * n :], before[frame, 3 * n :])


def test_equal_frames_exchange_nothing():
    still = features(1).expand(4, -1, -1, -1)
    assert_close(exchange_frames(still), still)


def test_the_exchange_keeps_the_layout_that_convolutions_want():
    last = features(4).contiguous(memory_format=torch.channels_last)
    assert exchange_frames(last).is_contiguous(memory_format=torch.channels_last)


def test_a_new_block_is_the_identity():
    before = features(3).float()
    assert torch.equal(ResidualBlock(16)(before), before)


def test_a_new_regulariser_corrects_nothing_whatever_it_is_told():
    new = Regularizer(2, Widths(16, 24, 1, 5))
    images, carried = gaussian(3, 16, 4, 6).real.float(), gaussian(3, 16, 4, 6).real.float()
    change, first = new(images, carried, torch.zeros(5))
    assert not change.any()
    assert torch.equal(first, new(images, carried, torch.ones(5))[1])


def test_a_trained_one_listens_to_the_facts():
    one = perturbed(Regularizer(2, Widths(16, 24, 1, 5)))
    images, carried = gaussian(3, 16, 4, 6).real.float(), gaussian(3, 16, 4, 6).real.float()
    for fact in torch.eye(5):
        changes = [one(images, carried, value)[0] for value in (fact, torch.zeros(5))]
        assert not torch.allclose(*changes)


def test_names_and_shapes_of_the_weights_are_those_of_the_models_that_ship():
    cascade = {
        "head.weight": (40, 56, 3, 3),
        "head.bias": (40,),
        "facts.weight": (80, 6),
        "facts.bias": (80,),
        "before.first.weight": (40, 40, 3, 3),
        "before.first.bias": (40,),
        "before.second.weight": (40, 40, 3, 3),
        "before.second.bias": (40,),
        "down.weight": (80, 40, 2, 2),
        "down.bias": (80,),
        "coarse.0.first.weight": (80, 80, 3, 3),
        "coarse.0.first.bias": (80,),
        "coarse.0.second.weight": (80, 80, 3, 3),
        "coarse.0.second.bias": (80,),
        "up.weight": (160, 80, 1, 1),
        "up.bias": (160,),
        "after.first.weight": (40, 40, 3, 3),
        "after.first.bias": (40,),
        "after.second.weight": (40, 40, 3, 3),
        "after.second.bias": (40,),
        "tail.weight": (8, 40, 3, 3),
        "tail.bias": (8,),
    }
    expected = {
        "steps": (8,),
        "stem.weight": (40, 16, 3, 3),
        "stem.bias": (40,),
        "trust.weight": (1, 6),
        "gains.weight": (8, 6),
        "gains.bias": (8,),
        "trust.bias": (1,),
    }
    for index in range(8):
        expected |= {f"cascades.{index}.{name}": shape for name, shape in cascade.items()}
    found = new_backbone(spec=SMALL).state_dict()
    assert {name: tuple(one.shape) for name, one in found.items()} == expected
