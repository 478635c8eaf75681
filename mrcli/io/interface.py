"""What a reader of a k-space container is: two functions and a description.

A format joins by adding one module that defines `READER` and one line in `registry.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from mrcli.scan import Scan


class Match(Enum):
    """What a look at the content of a file says."""

    NO = "no"  # another format
    YES = "yes"  # k-space in this format
    NOT_KSPACE = "not k-space"  # this container, holding something else: a mask, an image


@dataclass(frozen=True)
class Reader:
    """A format: how to recognise it by content and how to open it.

    `sniff` reads as little as possible, raises nothing for foreign content, and never decides by
    the file's name. `open` returns the header at once and k-space slice by slice; it raises
    `DataError` naming file, field and format. `open_with_axes` is there only where the container
    cannot tell its own axes; it takes their stored order, such as ``x,y,coil,slice,frame``.
    """

    name: str
    describes: str  # one line for `mrcli inspect --readers`
    needs: str  # what the file must hold, one line
    sniff: Callable[[Path], Match]
    open: Callable[[Path], Scan]
    open_with_axes: Callable[[Path, str], Scan] | None = None
