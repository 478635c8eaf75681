"""What decides a training, and where its files lie.

A later call goes on only where all that decides the numbers is the same; what an earlier version
did not write down counts as its default.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from mrcli.adapters.adapter import AdapterSpec
from mrcli.adapters.forms import FORMS
from mrcli.errors import InputError
from mrcli.io.atomic import write_text_atomically
from mrcli.nn.backbone import SPECS
from mrcli.precision import DTYPES
from mrcli.simulate.site_file import load_sites
from mrcli.simulate.sites import SiteSpec, Split, choose_sites

BACKBONE, ADAPTERS = "backbone", "adapters"
STAGES = (BACKBONE, ADAPTERS)
CHECKPOINT, SETTINGS, LOG, PLOT = "checkpoint.safetensors", "settings.json", "log.jsonl", "loss.png"
_LEAST_PIXELS = 1000
# before these were written down
_FIRST_DEFAULTS: Mapping[str, object] = {
    "stage": BACKBONE,
    "leave_out": [],
    "processes": 1,
    "most_pixels": 45_000,
}


@dataclass(frozen=True)
class TrainSettings:
    """What one training is."""

    out_dir: Path
    size: str = "small"
    n_steps: int = 10_000
    peak_rate: float = 1e-3
    seed: int = 2025
    device: str = "cpu"
    precision: str = "bf16"
    anatomy_path: Path | None = None
    pool_dir: Path | None = None  # simulated samples; None: in the output folder
    stage: str = BACKBONE
    model_dir: Path | None = None  # the backbone to train on or to adapt; None: new, OUT/model
    form: str = AdapterSpec.form
    rank: int = AdapterSpec.rank
    universal_share: float = 0.3  # how often the universal adapter takes the site's place
    leave_out: tuple[str, ...] = ()  # sites, center/scanner, that are not trained on
    most_pixels: int = 45_000  # of a step's sample; of a larger one a part is drawn
    n_workers: int = 0  # that simulate samples ahead

    @property
    def dtype(self) -> torch.dtype:
        """Return the type that convolutions compute in."""
        return DTYPES[self.precision]

    @property
    def is_backbone(self) -> bool:
        """Say whether the backbone is learned, not its adapters."""
        return self.stage == BACKBONE

    @property
    def run_dir(self) -> Path:
        """Return the folder of checkpoint, settings, log and plot."""
        return self.out_dir if self.is_backbone else self.out_dir / ADAPTERS

    @property
    def checkpoint(self) -> Path:
        """Return the file of the checkpoint."""
        return self.run_dir / CHECKPOINT

    @property
    def log(self) -> Path:
        """Return the file with a line per step."""
        return self.run_dir / LOG

    @property
    def model(self) -> Path:
        """Return the folder of the model that comes out."""
        return self.out_dir / "model"

    @property
    def samples(self) -> Path:
        """Return the folder of simulated samples; both stages share it where they may."""
        if self.pool_dir is not None:
            return self.pool_dir
        return (self.run_dir if self.leave_out else self.out_dir) / "samples"

    def decisive(self) -> Mapping[str, object]:
        """Return what a later call has to agree with."""
        own: dict[str, object] = {
            "size": self.size,
            "n_steps": self.n_steps,
            "peak_rate": self.peak_rate,
            "seed": self.seed,
            "precision": self.precision,
            "anatomy": self.anatomy_path is not None,
            "stage": self.stage,
            "leave_out": sorted(set(self.leave_out)),
            "most_pixels": self.most_pixels,
        }
        if not self.is_backbone:  # which backbone, its hash tells, not its size
            del own["size"]
            own |= {"form": self.form, "rank": self.rank, "universal_share": self.universal_share}
        return own


def require_valid(settings: TrainSettings) -> None:
    """Raise `InputError` for values that no training has."""
    _require_known("stage", settings.stage, STAGES)
    _require_known("size", settings.size, SPECS)
    _require_known("form", settings.form, FORMS)
    _require_known("precision", settings.precision, DTYPES)
    if settings.n_steps < 1 or settings.rank < 1:
        raise InputError("steps and rank are at least 1")
    if settings.most_pixels < _LEAST_PIXELS or settings.n_workers < 0:
        raise InputError(f"pixels are at least {_LEAST_PIXELS}, workers at least 0")
    if not 0 <= settings.universal_share <= 1:
        raise InputError(f"universal share is {settings.universal_share}, needed 0 to 1")
    if not 0 < settings.peak_rate < math.inf:
        raise InputError(f"rate is {settings.peak_rate}, needed a number above 0")


def _require_known(what: str, found: str, known: Mapping[str, object] | tuple[str, ...]) -> None:
    if found not in known:
        raise InputError(f"no {what} is called {found!r}", hint=f"known are {', '.join(known)}")


def training_sites(leave_out: tuple[str, ...] = ()) -> tuple[SiteSpec, ...]:
    """Return the built-in sites that are not held out, without some.

    Raises `InputError` for names that are none of them, and where none is left.
    """
    own = tuple(site for site in load_sites() if site.split is Split.TRAIN)
    without = choose_sites(own, leave_out)
    left = tuple(site for site in own if site not in without)
    if not left:
        raise InputError("no site is left to train on", hint="leave out fewer sites")
    return left


def agree(path: Path, wanted: Mapping[str, object], remedy: str) -> None:
    """Write what decides something, or compare it with what an earlier call wrote.

    Raises `InputError` naming the first key that differs.
    """
    if not path.exists():
        write_text_atomically(path, json.dumps(dict(wanted), indent=2) + "\n", overwrite=False)
        return
    found = {**_FIRST_DEFAULTS, **_read(path, remedy)}
    other = sorted(key for key in wanted if found.get(key) != wanted[key])
    if other:
        key = other[0]
        raise InputError(f"{path}: {key} was {found.get(key)}, now {wanted[key]}", hint=remedy)


def remove_partial_files(folder: Path) -> None:
    """Remove what killed runs left half-written; call it under the lock."""
    for path in folder.glob(".mrcli-*.partial"):
        path.unlink(missing_ok=True)


def _read(path: Path, remedy: str) -> dict[str, object]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: no JSON: {error}", hint=remedy) from error
    if not isinstance(found, dict):
        raise InputError(f"{path}: no JSON object", hint=remedy)
    return found
