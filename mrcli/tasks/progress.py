"""How a task tells how far it is."""

from collections.abc import Callable

# scan index, number of scans, name, slices done, slices of this scan
OnProgress = Callable[[int, int, str, int, int], None]


def say_nothing(index: int, n_scans: int, name: str, done: int, n_slices: int) -> None:
    """Take a report of progress and do nothing with it."""
    del index, n_scans, name, done, n_slices
