"""Where to compute."""

import torch

from mrcli.errors import ResourceError


def choose_device(name: str) -> str:
    """Return the device that `auto`, `cpu`, `cuda` or `cuda:N` stands for on this machine.

    Raises `ResourceError` where a device is asked for that is not there.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cpu":
        return name
    index = int(name.partition(":")[2] or 0)
    n_devices = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if index >= n_devices:
        raise ResourceError(
            f"device {name} is not there: {n_devices} CUDA devices found",
            hint="compute on the CPU, or name another device",
        )
    return name
