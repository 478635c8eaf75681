"""In which precision the convolutions of a network run; all else is in single precision."""

import torch

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
SINGLE = "fp32"
_BF16_INSTRUCTIONS = ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16")  # of x86, then of ARM


def choose_precision(name: str, device: str) -> tuple[str, str]:
    """Return the precision that `auto`, `fp32` or `bf16` stands for on a device, and why."""
    if name != "auto":
        return name, "asked for"
    what = "gpu" if device.startswith("cuda") else "processor"
    if has_bf16(device):
        return "bf16", f"this {what} has bf16 instructions"
    return SINGLE, f"this {what} has no bf16 instructions"


def has_bf16(device: str) -> bool:
    """Say whether a device computes in bf16 itself, rather than by converting back and forth.

    Versions of torch that cannot tell of a processor count as no.
    """
    if device.startswith("cuda"):
        with torch.cuda.device(device):
            return torch.cuda.is_bf16_supported(including_emulation=False)
    known: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(bool(known.get(name)) for name in _BF16_INSTRUCTIONS)
