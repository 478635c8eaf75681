"""How acquired samples are split, and which masks are one and the same."""

import pytest
import torch

from mrcli.adapt.sampling import drawn_masks, is_one_fixed_lattice, split_samples
from mrcli.errors import InputError
from mrcli.physics.patterns import kt_gaussian_lines, uniform_lines
from mrcli.physics.spokes import kt_radial_spokes

MATRIX = (96, 80)


def random(seed=0):
    return torch.Generator().manual_seed(seed)


MASKS = {
    "lines": kt_gaussian_lines(4, 96, 8, 20, seed=1),
    "fixed": uniform_lines(96, 4, 20),
    "spokes": kt_radial_spokes(4, MATRIX, 8, 20),
    "everything": torch.ones(2, 1, 96, 1, dtype=torch.bool),
}


@pytest.mark.parametrize("name", MASKS)
def test_what_is_withheld_was_acquired_and_never_calibrates(name):
    mask = MASKS[name]
    withheld = split_samples(mask, MATRIX, random())
    assert withheld.any()
    assert not bool((withheld & ~mask).any())
    middle = withheld[:, :, 40:56, (slice(None) if mask.shape[-1] == 1 else slice(32, 48))]
    assert not bool(middle.any())
    outside = mask.clone()
    outside[:, :, 36:60] = False
    assert 0.1 < float((withheld & outside).sum() / outside.sum()) < 0.5


def test_splits_differ_and_the_seed_decides():
    mask = MASKS["lines"]
    first = split_samples(mask, MATRIX, random())
    assert torch.equal(first, split_samples(mask, MATRIX, random()))
    assert not torch.equal(first, split_samples(mask, MATRIX, random(1)))


def test_an_acs_alone_leaves_nothing_to_withhold():
    mask = torch.zeros(1, 1, 96, 1, dtype=torch.bool)
    mask[:, :, 38:58] = True
    assert not split_samples(mask, MATRIX, random()).any()


def test_masks_have_the_patterns_asked_for():
    found = list(drawn_masks(["Uniform4", "ktRadial8"], 3, MATRIX, random()))
    assert [one.name for one in found] == ["Uniform4", "ktRadial8"]
    assert found[0].mask.shape == (1, 1, 96, 1)
    assert found[1].mask.shape == (3, 1, *MATRIX)


def test_a_pattern_that_does_not_fit_the_matrix_is_left_out():
    found = drawn_masks(["Uniform24", "Uniform4"], 1, (12, 12), random())
    assert [one.name for one in found if one.mask.all()] == []
    with pytest.raises(InputError, match="spiral"):
        list(drawn_masks(["spiral8"], 1, MATRIX, random()))


def test_one_fixed_mask_is_seen_and_others_are_not():
    fixed, moving = MASKS["fixed"], MASKS["lines"]
    assert is_one_fixed_lattice([fixed, fixed.expand(5, -1, -1, -1)])
    assert not is_one_fixed_lattice([fixed, uniform_lines(96, 8, 20)])
    assert not is_one_fixed_lattice([moving, moving])
    assert not is_one_fixed_lattice([MASKS["everything"], MASKS["everything"]])
