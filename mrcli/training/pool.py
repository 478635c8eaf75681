"""The samples of a curriculum, simulated when first asked for and kept on disk.

A step draws its sample from a window of the curriculum that moves on as training does, so that the
sample of every step is a function of seed and step alone: training that was interrupted goes on as
if it had not been.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from mrcli.errors import DataError
from mrcli.io.atomic import atomic_path
from mrcli.nn.inputs import NetworkInput
from mrcli.physics.encoding import Y_ONLY, YX
from mrcli.simulate.recipes import generator_of
from mrcli.simulate.scans import ScanPlan, SimulatedSlice
from mrcli.training.curriculum import MASKS_PER_GROUP, Curriculum
from mrcli.training.samples import Sample, cropped, simulate, undersample

_SECONDS_BETWEEN_LOOKS = 0.05
_ATTEMPTS = 8  # of masks that do not fit the matrix
_TENSORS = ("combined", "start", "average", "maps", "mask", "facts")


@dataclass(frozen=True)
class Window:
    """Which samples a step may draw from: the newest `size` of those that came until then."""

    first: int = 200  # there at the first step
    per_step: float = 0.25  # new ones
    size: int = 1600

    def numbers(self, step: int) -> range:
        """Return the samples that a step may draw from."""
        stop = self.first + int(self.per_step * step)
        return range(max(0, stop - self.size), stop)

    def draw(self, step: int, draw: int, seed: int) -> int:
        """Return the number of the sample that draw `draw` of a step takes."""
        numbers = self.numbers(step)
        random = generator_of(seed, "draw", draw)
        return numbers[int(torch.randint(len(numbers), (1,), generator=random))]


@dataclass(frozen=True, eq=False)  # tensors have no truth value to compare
class Pool:
    """Gives sample `n` of a curriculum."""

    curriculum: Curriculum
    folder: Path
    images: tuple[Tensor, ...] = ()  # of real patients
    device: str = "cpu"  # that simulates
    patience: float = 0.0  # seconds to wait for others that simulate the same

    def sample(self, number: int) -> Sample:
        """Return sample `number`, from disk where it has been before."""
        path = self._path(number)
        if not self._is_there_in_time(path):
            self._make_group(number // MASKS_PER_GROUP)
        sample = load_sample(path)
        self._require_own(path, sample.site, sample.modality)
        return sample

    def require_own(self, path: Path) -> None:
        """Raise `DataError` unless a file holds the site and protocol that its number has."""
        facts = _facts_of(path)
        self._require_own(path, facts.get("site"), facts.get("modality"))

    def ensure_group(self, group: int) -> None:
        """Simulate the samples of a group unless all are there."""
        numbers = range(group * MASKS_PER_GROUP, (group + 1) * MASKS_PER_GROUP)
        if not all(self._path(number).exists() for number in numbers):
            self._make_group(group)

    def _is_there_in_time(self, path: Path) -> bool:
        deadline = time.monotonic() + self.patience
        while not path.exists():
            if time.monotonic() >= deadline:
                return False
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        return True

    def _require_own(self, path: Path, site: str | None, modality: str | None) -> None:
        scan = self.curriculum.slice_of(int(path.stem) // MASKS_PER_GROUP).scan
        if (site, modality) != (scan.site.name, scan.protocol.modality):
            raise DataError(
                f"{path.name}: a sample of another curriculum",
                hint="name another folder for the samples",
            )

    def _make_group(self, group: int) -> None:
        """Simulate the slice of a group once, and keep all its samples."""
        plan, one = simulate(self.curriculum.slice_of(group), self.images, self.device)
        for number in range(group * MASKS_PER_GROUP, (group + 1) * MASKS_PER_GROUP):
            save_sample(self._masked(plan, one, number), self._path(number))

    def _masked(self, plan: ScanPlan, one: SimulatedSlice, number: int) -> Sample:
        """Return a sample with the first of its masks that fits the matrix; one has to."""
        for attempt in range(_ATTEMPTS - 1):
            try:
                return undersample(plan, one, self.curriculum.mask_of(number, attempt))
            except DataError:  # of which `ShapeError` is one
                continue
        return undersample(plan, one, self.curriculum.mask_of(number, _ATTEMPTS - 1))

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:08d}.safetensors"


def sample_of_step(sample: Sample, step: int, seed: int, most_pixels: int) -> Sample:
    """Return the part of a sample that a step trains on, its phase turned by a random angle."""
    random = generator_of(seed, "part", step)
    position, turn = torch.rand(2, generator=random).tolist()
    return _turned(_limited(sample, position, most_pixels), turn)


def _limited(sample: Sample, position: float, most_pixels: int) -> Sample:
    n_frames, n_y, n_x = sample.target.shape
    if sample.n_pixels <= most_pixels:
        return sample
    if sample.given.axes == Y_ONLY:
        n_kept = max(most_pixels // (n_frames * n_y), 16)
        return cropped(sample, int(position * (n_x - n_kept + 1)), n_kept)
    n_kept = max(most_pixels // (n_y * n_x), 1)
    return _some_frames(sample, int(position * (n_frames - n_kept + 1)), n_kept)


def _some_frames(sample: Sample, start: int, n_frames: int) -> Sample:
    kept = slice(start, start + n_frames)
    return replace(sample, given=sample.given.frames(kept), target=sample.target[kept])


def _turned(sample: Sample, turn: float) -> Sample:
    phase = torch.exp(torch.tensor(2j * torch.pi * turn)).to(sample.target)
    given = sample.given
    turned = {name: phase * getattr(given, name) for name in ("combined", "start", "average")}
    return replace(sample, given=replace(given, **turned), target=phase * sample.target)


def save_sample(sample: Sample, path: Path) -> None:
    """Write a sample as safetensors, whole or not at all."""
    tensors = {name: getattr(sample.given, name) for name in _TENSORS}
    tensors["target"] = sample.target
    stored = {name: _stored(one) for name, one in tensors.items()}
    facts = {"modality": sample.modality, "site": sample.site, "scale": sample.given.scale.hex()}
    with atomic_path(path, overwrite=True) as unfinished:
        save_file(stored, unfinished, facts | {"axes": str(len(sample.given.axes))})


def load_sample(path: Path) -> Sample:
    """Read a sample; raises `DataError` for a file that is none."""
    with _opened(path) as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return _sample_of(tensors, file.metadata())


def _facts_of(path: Path) -> dict[str, str]:
    with _opened(path) as file:
        return file.metadata() or {}


@contextmanager
def _opened(path: Path) -> Iterator[Any]:  # safetensors has no types
    try:
        with safe_open(path, "pt") as file:
            yield file
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"{path.name}: no sample: {error}", hint="remove the file") from error


def _sample_of(tensors: Mapping[str, Tensor], facts: Mapping[str, str]) -> Sample:
    complexes = {
        name: torch.view_as_complex(one) if one.ndim > 1 and one.is_floating_point() else one
        for name, one in tensors.items()
    }
    target = complexes.pop("target")
    axes = Y_ONLY if facts["axes"] == "1" else YX
    given = NetworkInput(**complexes, axes=axes, scale=float.fromhex(facts["scale"]))
    return Sample(given, target, facts["modality"], facts["site"])


def _stored(one: Tensor) -> Tensor:
    return (torch.view_as_real(one) if one.is_complex() else one).cpu().contiguous()
