"""Schedule, optimizer and checkpoints."""

import json
import math

import pytest
import torch
from safetensors import safe_open
from torch import nn

from mrcli.errors import ModelError
from mrcli.training.state import Schedule, TrainingState


def test_the_rate_rises_in_a_line_to_its_peak():
    schedule = Schedule(1000, 1e-3, warm_up=200)
    assert schedule.rate(0) == pytest.approx(1e-3 / 200)
    assert schedule.rate(99) == pytest.approx(0.5e-3)
    assert schedule.rate(199) == pytest.approx(1e-3)
    assert schedule.rate(200) == pytest.approx(1e-3)


def test_the_rate_falls_along_half_a_cosine_to_a_hundredth():
    schedule = Schedule(1000, 1e-3, warm_up=200)
    assert schedule.rate(600) == pytest.approx(1e-3 * (0.01 + 0.99 * 0.5))
    assert schedule.rate(400) == pytest.approx(1e-3 * (0.01 + 0.495 * (1 + math.cos(math.pi / 4))))
    assert schedule.rate(1000) == schedule.rate(5000) == pytest.approx(1e-5)


def module(seed=0):
    torch.manual_seed(seed)
    return nn.ModuleDict({"used": nn.Linear(3, 2), "unused": nn.Linear(3, 2)})


def learn(state, own, steps, *, part="used"):
    for step in steps:
        torch.manual_seed(100 + step)
        own[part](torch.randn(4, 3)).square().sum().backward()
        state.update(1e-2)


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_parameters_without_a_gradient_stay_as_they_are():
    own, before = module(), module()
    state = TrainingState(own)
    learn(state, own, range(3))
    assert same(own["unused"], before["unused"])
    assert not same(own["used"], before["used"])
    assert torch.equal(state.average["unused.weight"], before["unused"].weight)


def test_the_first_step_is_as_long_as_the_rate():
    own = nn.Linear(1, 1, bias=False)
    state, before = TrainingState(own), own.weight.detach().clone()
    own.weight.grad = torch.full((1, 1), 0.5)
    state.update(1e-3)
    decayed = before * (1 - 1e-3 * TrainingState.DECAY)
    assert torch.allclose(own.weight, decayed - 1e-3, atol=1e-7)


def test_the_average_is_that_of_few_steps_at_first():
    own = nn.Linear(1, 1, bias=False)
    state, before = TrainingState(own), own.weight.detach().clone()
    own.weight.grad = torch.ones(1, 1)
    state.update(0.1)
    expected = before + (own.weight.detach() - before) * 10 / 11
    assert torch.allclose(state.average["weight"], expected, atol=1e-6)


def test_a_gradient_that_is_not_finite_moves_nothing_but_counts():
    own, before = module(), module()
    state = TrainingState(own)
    own["used"].weight.grad = torch.full((2, 3), math.nan)
    assert math.isnan(state.update(1e-2))
    assert same(own, before)
    assert state.step == 1
    assert own["used"].weight.grad is None


def test_a_large_gradient_is_clipped_and_its_norm_told():
    own = nn.Linear(1, 1, bias=False)
    own.weight.grad = torch.full((1, 1), 1e6)
    assert TrainingState(own).update(1e-3) == pytest.approx(1e6)


@pytest.mark.parametrize("stop", [0, 1, 3])
def test_going_on_from_a_checkpoint_is_as_if_nothing_had_happened(tmp_path, stop):
    whole, first, second = module(), module(), module(1)
    states = [TrainingState(one) for one in (whole, first, second)]
    learn(states[0], whole, range(6))
    learn(states[1], first, range(stop))
    states[1].save(tmp_path / "c", {"seconds": 3.0})
    assert states[2].load(tmp_path / "c") == {"seconds": 3.0, "step": stop}
    learn(states[2], second, range(stop, 6))
    assert same(whole, second)
    assert all(torch.equal(states[0].average[n], states[2].average[n]) for n in states[0].average)


def test_a_parameter_first_used_after_a_checkpoint_learns_the_same(tmp_path):
    whole, second = module(), module(1)
    state, other = TrainingState(whole), TrainingState(second)
    learn(state, whole, range(2))
    state.save(tmp_path / "c", {})
    other.load(tmp_path / "c")
    for one, own in ((state, whole), (other, second)):
        learn(one, own, range(2, 4), part="unused")
        learn(one, own, range(4, 6))
    assert same(whole, second)


def test_a_checkpoint_holds_moments_of_what_was_used_only(tmp_path):
    own = module()
    state = TrainingState(own)
    learn(state, own, range(2))
    state.save(tmp_path / "c", {})
    with safe_open(tmp_path / "c", "pt") as file:
        names = set(file.keys())
        assert json.loads(file.metadata()["facts"]) == {"step": 2}
    moments = {name for name in names if name.startswith("exp_avg/")}
    assert moments == {"exp_avg/used.weight", "exp_avg/used.bias"}
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def test_loading_replaces_moments_that_are_there_already(tmp_path):
    fresh, used = module(), module()
    TrainingState(fresh).save(tmp_path / "c", {})
    state = TrainingState(used)
    learn(state, used, range(3))
    state.load(tmp_path / "c")
    assert state.step == 0
    assert same(fresh, used)
    learn(state, used, range(1))
    other = module()
    learn(TrainingState(other), other, range(1))
    assert same(used, other)


@pytest.mark.parametrize(
    ("own", "other"),
    [
        (nn.ModuleDict({"used": nn.Linear(3, 2)}), nn.Linear(3, 2)),
        (nn.Linear(3, 2), nn.Linear(1, 2)),
        (nn.Linear(1, 2), nn.Linear(3, 2)),  # copying would broadcast
    ],
)
def test_a_checkpoint_of_another_network_is_refused(tmp_path, own, other):
    TrainingState(own).save(tmp_path / "c", {})
    with pytest.raises(ModelError, match="no checkpoint of this network"):
        TrainingState(other).load(tmp_path / "c")


@pytest.mark.parametrize("content", [b"", b"nothing", b"\x08\0\0\0\0\0\0\0{}      "])
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path, content):
    (tmp_path / "c").write_bytes(content)
    with pytest.raises(ModelError):
        TrainingState(module()).load(tmp_path / "c")
