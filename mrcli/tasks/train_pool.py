"""The samples that a training draws from, in a folder that belongs to one curriculum.

Trainings with the same sites, seed and anatomy share a folder, others never: a site that is left
out would come back by the samples of another training.
"""

from dataclasses import asdict
from hashlib import sha256

from torch import Tensor

from mrcli.io.anatomy_images import load_anatomy_images
from mrcli.provenance import NUMERICS_VERSION, sha256_of_json
from mrcli.simulate.recipes import Cohort
from mrcli.simulate.sites import SiteSpec
from mrcli.tasks.simulate_plan import patients_of
from mrcli.tasks.train_settings import TrainSettings, agree
from mrcli.training.curriculum import MASKS_PER_GROUP, Curriculum
from mrcli.training.pool import Pool

RECORD = "curriculum.json"
_PATIENCE = 120.0  # seconds; a worker takes some for a group
_REMEDY = "name another folder for the samples"


def pool_of(settings: TrainSettings, sites: tuple[SiteSpec, ...], device: str) -> Pool:
    """Return the samples that a training draws from.

    Simulated on `device`, or on the processor where workers do so ahead of the training.
    """
    images: tuple[Tensor, ...] = ()
    if settings.anatomy_path is not None:
        images = patients_of(load_anatomy_images(settings.anatomy_path), Cohort.TRAIN)
    curriculum = Curriculum(sites, settings.seed)
    if settings.n_workers == 0:
        return Pool(curriculum, settings.samples, images, device)
    return Pool(curriculum, settings.samples, images, patience=_PATIENCE)


def claim(pool: Pool) -> None:
    """Say in a pool's folder whose samples it holds, or compare.

    Samples without such a record, of an earlier version, are taken over where each has the site
    and the protocol that the curriculum gives it. Raises `InputError` or `DataError`.
    """
    path = pool.folder / RECORD
    if not path.exists():
        for sample in sorted(pool.folder.glob("*.safetensors")):
            pool.require_own(sample)
    agree(path, _facts(pool), _REMEDY)


def _facts(pool: Pool) -> dict[str, object]:
    curriculum = pool.curriculum
    return {
        "seed": curriculum.seed,
        "cohort": curriculum.cohort.value,
        "masks_per_group": MASKS_PER_GROUP,
        "numerics_version": NUMERICS_VERSION,
        "sites": {site.name: _hash_of_site(site) for site in curriculum.sites},
        "anatomy": _hash_of_images(pool.images),
    }


def _hash_of_site(site: SiteSpec) -> str:
    return sha256_of_json(asdict(site) | {"anatomy": None})  # the images count, not where they lie


def _hash_of_images(images: tuple[Tensor, ...]) -> str | None:
    if not images:
        return None
    digest = sha256()
    for one in images:
        digest.update(one.numpy().tobytes())
    return digest.hexdigest()
