"""Memory of the process."""

import ctypes
import sys

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # of mallopt(3)
_NEVER = 2**31 - 1  # bytes
_STEP_OF_GROWTH = 2**28  # bytes


def keep_freed_memory() -> None:
    """Let the C library keep what large arrays leave behind for the next ones.

    It would fetch every array above 32 MiB from the system anew, page by page, which takes longer
    than what is computed in it. `return_freed_memory` gives back what has been kept.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # glibc has it
    if mallopt is None:
        return
    for option, value in (
        (_MMAP_MAX, 0),
        (_TRIM_THRESHOLD, _NEVER),
        (_TOP_PAD, _STEP_OF_GROWTH),
    ):
        mallopt(option, value)


def return_freed_memory() -> None:
    """Give freed memory back to the system, where the C library would keep it for itself.

    Between two stages of work the pieces that the first one freed seldom fit the second.
    """
    if sys.platform != "linux":
        return
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it
    if trim is not None:
        trim(0)
