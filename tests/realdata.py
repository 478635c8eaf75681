"""Real k-space for tests and benchmarks: read where it lies, never stored with the code."""

import os
from pathlib import Path

import pytest

DATA = Path(os.environ.get("MRCLI_DATA", Path(__file__).parents[2] / "shared" / "data"))
KSPACE = DATA / "kspace"


def real_file(name):
    """Return the path of a real file, or skip the test that needs it."""
    path = DATA / name
    if not path.is_file():
        pytest.skip(f"needs {name} in the folder that MRCLI_DATA names")
    return path
