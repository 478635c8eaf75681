"""Sampling patterns by name, as `Pattern` and the challenges write them: ``ktRadial16``."""

import re
from difflib import get_close_matches

from mrcli.errors import InputError
from mrcli.physics.line_patterns import variable_density_lines
from mrcli.physics.patterns import (
    DEFAULT_ACS_LINES,
    kt_gaussian_lines,
    shifted_uniform_lines,
    uniform_lines,
)
from mrcli.physics.sampling import Pattern
from mrcli.physics.spokes import kt_radial_spokes
from mrcli.types import SamplingMask

DRAWN_PATTERNS = (
    Pattern.UNIFORM,
    Pattern.SHIFTED_UNIFORM,
    Pattern.KT_GAUSSIAN,
    Pattern.KT_RADIAL,
    Pattern.RANDOM,
)
_IS_NEAR = 0.4


def draw_mask(
    name: str,
    acceleration: int,
    *,
    n_frames: int,
    matrix: tuple[int, int],
    n_acs: int = DEFAULT_ACS_LINES,
    seed: int,
) -> SamplingMask:
    """Draw the pattern called `name` on a matrix of (y, x) samples.

    Args:
        name: one of `DRAWN_PATTERNS`.
        acceleration: the nominal R, ACS not counted.
        n_frames: how many frames; of "Uniform" and "random" all frames share one.
        matrix: samples along (y, x).
        n_acs: lines of the ACS, of spokes the side of its block.
        seed: of the random patterns; the others ignore it.

    Returns:
        The mask: ``(frame or 1, 1, y, 1)``, of spokes ``(frame, 1, y, x)``.

    Raises:
        InputError: no drawn pattern has this name.
        ShapeError: acceleration and ACS do not fit the matrix.

    """
    n_y, _ = matrix
    match pattern_named(name):
        case Pattern.UNIFORM:
            return uniform_lines(n_y, acceleration, n_acs)
        case Pattern.SHIFTED_UNIFORM:
            return shifted_uniform_lines(n_frames, n_y, acceleration, n_acs)
        case Pattern.KT_GAUSSIAN:
            return kt_gaussian_lines(n_frames, n_y, acceleration, n_acs, seed=seed)
        case Pattern.KT_RADIAL:
            return kt_radial_spokes(n_frames, matrix, acceleration, n_acs)
        case _:
            return variable_density_lines(n_y, acceleration, n_acs, seed=seed)


def parse_pattern(text: str) -> tuple[str, int]:
    """Split ``ktRadial16`` into its name and its acceleration; raises `InputError`."""
    found = re.fullmatch(r"(.*?)([0-9]+)", text)
    if found is None or int(found[2]) < 1:
        raise InputError(
            f"the pattern '{text}' has no acceleration",
            hint="write its name and a whole number from 1, such as Uniform8",
        )
    return str(pattern_named(found[1])), int(found[2])


def pattern_named(name: str) -> Pattern:
    """Return the drawn pattern called `name`; raises `InputError` with the nearest."""
    if name in DRAWN_PATTERNS:
        return Pattern(name)
    known = ", ".join(DRAWN_PATTERNS)
    nearest = get_close_matches(name, DRAWN_PATTERNS, n=1, cutoff=_IS_NEAR)
    hint = f"did you mean '{nearest[0]}'? " if nearest else ""
    raise InputError(f"no pattern is called '{name}'", hint=f"{hint}known are {known}")
