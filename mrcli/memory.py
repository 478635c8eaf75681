"""Memory of the process."""

import ctypes
import sys


def return_freed_memory() -> None:
    """Give freed memory back to the system, where the C library would keep it for itself.

    Between two stages of work the pieces that the first one freed seldom fit the second.
    """
    if sys.platform != "linux":
        return
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it
    if trim is not None:
        trim(0)
