"""The processes of one training: `torchrun` starts them and tells each its place."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import distributed

from mrcli.device import choose_device
from mrcli.errors import InputError
from mrcli.training.loop import World


@contextmanager
def joined_world(device: str) -> Iterator[tuple[World, str]]:
    """Yield the processes that train together, and this one's device.

    Alone unless the environment says otherwise, as `torchrun` writes it. More processes than GPUs
    share them in turn: one sample seldom fills a GPU, and NCCL wants one for each. Raises
    `ResourceError` for a device that is not there, `InputError` for an environment that makes no
    sense.
    """
    n_processes = _number("WORLD_SIZE", 1)
    device = choose_device(device)
    if n_processes == 1 or distributed.is_initialized():
        yield World.of_environment(), device
        return
    has_gpu_of_its_own = False
    if device.startswith("cuda"):
        n_gpus = torch.cuda.device_count()
        device = choose_device(f"cuda:{_number('LOCAL_RANK', 0) % n_gpus}")
        torch.cuda.set_device(device)
        has_gpu_of_its_own = _number("LOCAL_WORLD_SIZE", n_processes) <= n_gpus
    distributed.init_process_group("nccl" if has_gpu_of_its_own else "gloo")
    try:
        yield World.of_environment(), device
    finally:
        distributed.destroy_process_group()


def is_first_process() -> bool:
    """Say whether this process writes and speaks for all."""
    return _number("RANK", 0) == 0 or _number("WORLD_SIZE", 1) == 1


def wait_for_all(world: World) -> None:
    """Go on when all processes are here."""
    if world.size > 1:
        distributed.barrier()


def any_says(world: World, device: str, *, yes: bool) -> bool:
    """Say, the same in all processes, whether at least one says yes."""
    if world.size == 1:
        return yes
    said = torch.tensor(float(yes), device=device)
    distributed.all_reduce(said)
    return bool(said > 0)


def _number(variable: str, default: int) -> int:
    text = os.environ.get(variable, str(default))
    if not text.isdecimal():
        raise InputError(f"{variable} is {text!r}, needed a number", hint="start with torchrun")
    return int(text)
