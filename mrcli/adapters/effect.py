"""What an adapter of a linear form does at one slot, and the form that does the same.

Every linear form is ``h -> (diag(d) + R) h + t``: a gain per channel, a matrix of low rank and an
offset. With ``d = 1 + g`` and ``R = diag(d) U V`` this is the form `combined`; `scale-shift` has
no `R`, `low-rank` has ``d = 1`` and no offset. Everything here is in double precision.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from mrcli.adapters.forms import Combined, LowRank, ScaleShift
from mrcli.errors import ModelError

PerChannel = Float[Tensor, " channel"]
Matrix = Float[Tensor, "channel channel"]
Numbers = dict[str, Tensor]  # of a form, by their names there


@dataclass(frozen=True, eq=False)  # tensors have no truth value to compare
class Effect:
    """``h -> (diag(diagonal) + low_rank) h + offset`` over the channels of one slot."""

    diagonal: PerChannel
    low_rank: Matrix
    offset: PerChannel

    @staticmethod
    def identity(n_channels: int) -> "Effect":
        """Return what a slot without an adapter does."""
        one = torch.ones(n_channels, dtype=torch.float64)
        return Effect(one, torch.zeros_like(one.diag()), torch.zeros_like(one))

    @property
    def matrix(self) -> Matrix:
        """Return the matrix over channels, ``diag(diagonal) + low_rank``."""
        return self.diagonal.diag() + self.low_rank


def effect_of(form: nn.Module) -> Effect:
    """Return what a form does; raises `ModelError` for one that is not linear."""
    if isinstance(form, Combined):
        after = effect_of(form.scale_shift)
        change = effect_of(form.low_rank).low_rank
        return Effect(after.diagonal, after.diagonal[:, None] * change, after.offset)
    if isinstance(form, ScaleShift):
        gain, offset = form.gain.detach().double(), form.offset.detach().double()
        return Effect(1 + gain, torch.zeros_like(gain.diag()), offset)
    if isinstance(form, LowRank):
        change = form.up.detach().double() @ form.down.detach().double()
        nothing = Effect.identity(len(change))
        return Effect(nothing.diagonal, change, nothing.offset)
    raise ModelError(
        f"an adapter of form {type(form).__name__.lower()} is no matrix and offset",
        hint="adapters of the forms scale-shift, low-rank and combined are",
    )


def fitted(form: str, effect: Effect, rank: int) -> Numbers:
    """Return the numbers of a linear form that does nearest what is wanted.

    The low-rank part is cut to `rank` by its singular values. A form with gains takes from what
    is cut the diagonal, so that of the matrix only entries off the diagonal are lost.
    """
    if form == "scale-shift":
        return {"gain": effect.diagonal - 1, "offset": effect.offset}
    up, down = factors(effect.low_rank, rank)
    if form == "low-rank":
        return {"up": up, "down": down}
    scale = effect.diagonal + (effect.low_rank - up @ down).diagonal()
    # a channel of gain zero has no low-rank part in this form: nothing there to divide by
    inverse = torch.where(scale == 0, 0, 1 / scale)
    return {
        "low_rank.up": inverse[:, None] * up,
        "low_rank.down": down,
        "scale_shift.gain": scale - 1,
        "scale_shift.offset": effect.offset,
    }


def factors(
    matrix: Matrix, rank: int
) -> tuple[Float[Tensor, "channel rank"], Float[Tensor, "rank channel"]]:
    """Return the two factors of the nearest matrix of a rank, equal in size; zeros fill them up."""
    left, sizes, right = torch.linalg.svd(matrix)
    root = sizes[:rank].sqrt()
    missing = max(0, rank - len(matrix))
    up = functional.pad(left[:, :rank] * root, (0, missing))
    return up, functional.pad(root[:, None] * right[:rank], (0, 0, 0, missing))
