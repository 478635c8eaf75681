"""Weights as safetensors bytes; what is read has exactly the names and shapes asked for."""

from collections.abc import Mapping

import numpy as np
import torch
from safetensors import SafetensorError, deserialize
from safetensors.torch import save
from torch import Tensor

from mrcli.adapters.records import require_size, sha256_of_bytes
from mrcli.errors import ModelError

Shapes = Mapping[str, tuple[int, ...]]


def tensor_bytes(tensors: Mapping[str, Tensor]) -> bytes:
    """Return tensors as safetensors; raises `ModelError` unless all are finite float32."""
    plain = {name: one.detach().cpu().contiguous() for name, one in tensors.items()}
    for name, one in plain.items():
        if one.dtype != torch.float32 or not bool(one.isfinite().all()):
            raise ModelError(f"tensor {name}: holds {one.dtype}, needed finite float32")
    return save(plain)


def require_hash(content: bytes, needed: str, where: str) -> None:
    """Raise `ModelError` unless the bytes have a SHA-256."""
    found = sha256_of_bytes(content)
    if found != needed:
        raise ModelError(
            f"{where}: sha256 is {found[:12]}, needed {needed[:12]}",
            hint="fetch or make the file again",
        )


def parsed_tensors(content: bytes, shapes: Shapes, limit: int, where: str) -> dict[str, Tensor]:
    """Return the tensors of safetensors bytes.

    Raises `ModelError` unless these are at most `limit` bytes that hold finite float32 tensors of
    exactly the names and shapes in `shapes`.
    """
    require_size(content, limit, where)
    try:
        found = dict(deserialize(content))  # type: ignore[no-untyped-call]
    except SafetensorError as error:
        raise ModelError(f"{where}: no safetensors file: {error}") from error
    _require_names(found.keys() ^ shapes.keys(), where)
    return {name: _tensor(found[name], shapes[name], f"{where}: {name}") for name in shapes}


def _require_names(odd: set[str], where: str) -> None:
    if odd:
        raise ModelError(
            f"{where}: tensor {min(odd)!a} is missing or too many",
            hint="it was made for another network",
        )


def _tensor(entry: Mapping[str, object], shape: tuple[int, ...], where: str) -> Tensor:
    found = f"{entry['dtype']} {entry['shape']}"
    needed = f"F32 {list(shape)}"
    if found != needed:
        raise ModelError(f"{where}: is {found}, needed {needed}")
    values = np.frombuffer(entry["data"], "<f4").astype(np.float32)  # type: ignore[call-overload]
    if not np.isfinite(values).all():
        raise ModelError(f"{where}: holds values that are not finite")
    return torch.from_numpy(values.reshape(shape))
