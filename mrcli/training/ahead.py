"""Processes that simulate the samples that training will soon ask for.

They go through the groups of a curriculum in order, each taking every n-th, and end with the last
one or with the process that started them. What they write is what training would have simulated
itself, so how many there are changes the time and nothing else.
"""

import multiprocessing
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import torch

from mrcli.errors import MrcliError
from mrcli.training.pool import Pool

_NICENESS = 10  # training itself goes first


@contextmanager
def simulated_ahead(pool: Pool, groups: range, n_workers: int) -> Iterator[None]:
    """Let `n_workers` processes simulate `groups`, first to last, within the block."""
    context = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
    workers = [
        context.Process(target=_simulate, args=(pool, groups[first::n_workers]), daemon=True)
        for first in range(n_workers)
    ]
    for worker in workers:
        worker.start()
    try:
        yield
    finally:
        for worker in workers:
            worker.terminate()
            worker.join()


def _simulate(pool: Pool, groups: Sequence[int]) -> None:
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)  # Ctrl-C is for the trainer, which ends this process
        os.nice(_NICENESS)
    torch.set_num_threads(1)
    with suppress(MrcliError, OSError):  # the trainer meets the same and says it
        for group in groups:
            if not _has_parent():
                return
            pool.ensure_group(group)


def _has_parent() -> bool:
    parent = multiprocessing.parent_process()
    return parent is None or parent.is_alive()
