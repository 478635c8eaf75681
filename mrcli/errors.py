"""What can go wrong, and the exit code that each kind of failure has.

    MrcliError
    |- InputError       3   nothing usable there: missing, empty or unreadable path
    |- DataError        4   a file is corrupt, unsupported or contradicts itself
    |    |- UnknownFormat     no reader recognises the content
    |    |- MissingField      a container lacks a field that its format needs
    |    |- ShapeError        axes or sizes do not fit together
    |    '- NotFinite         NaN or infinity where a number is needed
    |- OutputError      5   a result cannot be written
    |- ResourceError    6   device or memory
    |- ModelError       7   model or adapter refused
    |- PartialFailure   8   some scans of a batch failed, all are listed
    |- QualityError     9   a gate failed
    '- LockedError     10   another run owns the output folder

Usage errors are 2, a bug of ours is 1, an interrupt is 130, a termination 143. One class per
remedy, not per place. Codes are public API: documented, tested, never renumbered.
"""

from typing import ClassVar


class MrcliError(Exception):
    """A failure with one line for the user, an optional remedy and an exit code."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class InputError(MrcliError):
    """Nothing usable was found where the input should be."""

    exit_code = 3


class DataError(MrcliError):
    """A file is corrupt, of an unsupported kind, or contradicts itself."""

    exit_code = 4


class UnknownFormat(DataError):  # noqa: N818 - named after the fact
    """No reader recognises the content of the file."""


class MissingField(DataError):  # noqa: N818 - named after the fact
    """A container lacks a field that its format needs."""


class ShapeError(DataError):
    """Axes or sizes do not fit together."""


class NotFinite(DataError):  # noqa: N818 - named after the fact
    """NaN or infinity stands where a number is needed."""


class OutputError(MrcliError):
    """A result cannot be written where it should go."""

    exit_code = 5


class ResourceError(MrcliError):
    """The device or the memory does not suffice."""

    exit_code = 6


class ModelError(MrcliError):
    """A model or an adapter is refused."""

    exit_code = 7


class PartialFailure(MrcliError):  # noqa: N818 - named after the fact
    """Some scans of a batch failed; the result lists all of them."""

    exit_code = 8


class QualityError(MrcliError):
    """A quality gate failed."""

    exit_code = 9


class LockedError(MrcliError):
    """Another run owns the output folder."""

    exit_code = 10
