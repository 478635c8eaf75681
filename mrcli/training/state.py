"""What training has to remember: weights, their running average, moments, and the step.

A checkpoint is safetensors with the step in its header; no pickle, whole or not at all. Parameters
that no step has used yet have no moments, in memory as in the file.
"""

import json
import math
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.optim import AdamW

from mrcli.errors import ModelError
from mrcli.io.atomic import atomic_path

_FIRST_MOMENT = "exp_avg"  # as the optimizer calls it; the other parts come with it


Module = TypeVar("Module", bound=nn.Module)


@dataclass(frozen=True)
class Schedule:
    """How large a step is."""

    n_steps: int
    peak: float = 1e-3
    warm_up: int = 200
    final_share: float = 0.01

    def rate(self, step: int) -> float:
        """Return the learning rate: a linear rise, then half a cosine."""
        if step < self.warm_up:
            return self.peak * (step + 1) / self.warm_up
        done = min((step - self.warm_up) / max(self.n_steps - self.warm_up, 1), 1.0)
        low = self.final_share
        cosine = 0.5 * (1 + math.cos(math.pi * done))
        return self.peak * (low + (1 - low) * cosine)


class TrainingState:
    """Learns the parameters of a module with AdamW and keeps their running average.

    (Loshchilov 2019, arXiv:1711.05101; gradients are clipped by their norm.)
    """

    BETAS, DECAY, CLIP = (0.9, 0.99), 1e-4, 1.0
    AVERAGING = 0.999

    def __init__(self, learned: nn.Module) -> None:
        self.step = 0
        self.parameters = dict(learned.named_parameters())
        values = list(self.parameters.values())
        self.optimizer = AdamW(values, betas=self.BETAS, weight_decay=self.DECAY, foreach=True)
        self.average = {name: one.detach().clone() for name, one in self.parameters.items()}

    def update(self, rate: float) -> float:
        """Take one step along the gradients, which are then forgotten; returns their norm.

        A gradient that is not finite moves nothing; the step counts all the same. Parameters
        without a gradient stay as they are, their moments too.
        """
        values: list[Tensor] = list(self.parameters.values())
        norm = float(clip_grad_norm_(values, self.CLIP))
        self.step += 1
        if math.isfinite(norm):
            self.optimizer.param_groups[0]["lr"] = rate
            self.optimizer.step()
            with torch.no_grad():
                kept = min(self.AVERAGING, self.step / (self.step + 10))
                torch._foreach_lerp_(list(self.average.values()), values, 1 - kept)
        self.optimizer.zero_grad(set_to_none=True)
        return norm

    def save(self, path: Path, facts: Mapping[str, object]) -> None:
        """Write a checkpoint, whole or not at all; `facts` are kept beside the tensors."""
        stored = {name: one.cpu().contiguous() for name, one in self._tensors().items()}
        with atomic_path(path, overwrite=True) as unfinished:
            save_file(stored, unfinished, {"facts": json.dumps({**facts, "step": self.step})})

    def load(self, path: Path) -> dict[str, object]:
        """Take over a checkpoint and return its facts.

        Raises `ModelError` for a file that is none, or that of another network.
        """
        try:
            with safe_open(path, "pt") as file:
                facts: dict[str, object] = json.loads(file.metadata()["facts"])
                self._take(file, set(file.keys()))
                self.step = int(str(facts["step"]))
        except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise ModelError(f"{path.name}: no checkpoint of this network: {error}") from error
        return facts

    def _take(self, file: "safe_open", names: set[str]) -> None:
        """Copy the tensors of a checkpoint; its names are exactly those that there are here."""
        prefix = f"{_FIRST_MOMENT}/"
        used = {name.removeprefix(prefix) for name in names if name.startswith(prefix)}
        self._create_moments(used & self.parameters.keys())
        own = self._tensors()
        if names != own.keys():
            raise ValueError("the names of its tensors differ")
        for name, one in own.items():
            found: Tensor = file.get_tensor(name)  # type: ignore[no-untyped-call]
            if found.shape != one.shape:  # copying would broadcast
                raise ValueError(f"{name} has another shape")
            one.copy_(found)

    def _tensors(self) -> dict[str, Tensor]:
        tensors = {f"average/{name}": one for name, one in self.average.items()}
        for name, one in self.parameters.items():
            tensors[f"weight/{name}"] = one.data
            for part, moment in self.optimizer.state[one].items():
                tensors[f"{part}/{name}"] = moment
        return tensors

    def _create_moments(self, names: Iterable[str]) -> None:
        """Let the optimizer make its state of some: a step of size zero, gradients of zero."""
        self.optimizer.state.clear()
        for name in names:
            self.parameters[name].grad = torch.zeros_like(self.parameters[name])
        self.optimizer.param_groups[0]["lr"] = 0.0
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


def averaged(learned: Module, state: TrainingState) -> Module:
    """Return a copy whose weights are the running average."""
    copy = deepcopy(learned)
    with torch.no_grad():
        for name, parameter in copy.named_parameters():
            parameter.copy_(state.average[name])
    return copy
