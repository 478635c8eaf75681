"""An array that is loaded once, when first asked for, and freed with the scan that holds it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mrcli.io.layout import Layout, as_kspace
from mrcli.types import KSpace


@dataclass(eq=False)
class LazyArray:
    """The array that `load` returns; loaded once for containers that cannot give one slice.

    `label` names file and field for messages.
    """

    load: Callable[[], np.ndarray]
    label: str

    @cached_property
    def values(self) -> np.ndarray:
        """Load the array, or return it if that was done before."""
        return self.load()

    def __getstate__(self) -> dict[str, object]:
        """Leave the values behind when a scan is sent to another process."""
        return {"load": self.load, "label": self.label}


def lazy_slice(array: LazyArray, layout: Layout, index: int) -> KSpace:
    """Return slice `index` as complex64 ``(frame, coil, y, x)``."""
    layout.require_slice(index)
    return as_kspace(layout, array.values[layout.slice_index(index)], array.label)
