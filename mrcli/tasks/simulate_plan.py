"""Which scans a simulated study has: sites, protocols and patients in turn."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from mrcli.errors import InputError
from mrcli.io.anatomy_images import AnatomyImages, load_anatomy_images
from mrcli.simulate.recipes import Cohort, ScanRecipe
from mrcli.simulate.site_file import load_sites
from mrcli.simulate.sites import ProtocolSpec, SiteSpec, Split, choose_sites
from mrcli.tasks.simulate_result import SimulateSettings

# real patients are dealt to the cohorts in turn: six of ten to train, one to tune, three to test
_DEAL = (
    *(Cohort.TRAIN, Cohort.TRAIN, Cohort.TEST, Cohort.TRAIN, Cohort.TUNE),
    *(Cohort.TRAIN, Cohort.TEST, Cohort.TRAIN, Cohort.TRAIN, Cohort.TEST),
)
_VIEW_WORDS = {"2ch": "lax_2ch", "3ch": "lax_3ch", "4ch": "lax_4ch"}


@dataclass(frozen=True, eq=False)  # tensors have no truth value to compare
class StudyScan:
    """One scan to write: its recipe, the images of its patient if real ones are used."""

    recipe: ScanRecipe
    images: Tensor | None = None

    @property
    def place(self) -> str:
        """Return where its files go below the folder of a kind of file: site and patient."""
        site = self.recipe.site
        return f"{site.center}/{site.folder}/P{self.recipe.patient:03d}"

    @property
    def set_name(self) -> str:
        """Return the set of data: sites that are never trained on are for validation."""
        return "TrainingSet" if self.recipe.site.split is Split.TRAIN else "ValidationSet"

    def stem(self, view: str) -> str:
        """Return the name of its files, as the challenge calls them."""
        contrast = self.recipe.protocol.contrast
        if contrast not in {"cine", "lge"}:
            return contrast
        return f"{contrast}_{_VIEW_WORDS.get(view, view)}"


def plan_study(settings: SimulateSettings) -> tuple[StudyScan, ...]:
    """Deal scans to the sites in turn, and to the protocols of a site in turn, a patient each.

    Raises `InputError` for names that nothing has, and where there are too few real patients.
    """
    sites = _chosen_sites(settings)
    protocols = [_chosen_protocols(site, settings.protocols) for site in sites]
    recipes = [_recipe(sites, protocols, index, settings) for index in range(settings.n_scans)]
    images = _images_of(recipes, settings)
    return tuple(StudyScan(*one) for one in zip(recipes, images, strict=True))


def _recipe(
    sites: Sequence[SiteSpec],
    protocols: Sequence[Sequence[ProtocolSpec]],
    index: int,
    settings: SimulateSettings,
) -> ScanRecipe:
    turn, place = divmod(index, len(sites))
    protocol = protocols[place][(turn + place) % len(protocols[place])]
    if settings.view is not None and settings.view not in protocol.views:
        raise InputError(
            f"{protocol.contrast} at {sites[place].name} has no view {settings.view!r}",
            hint=f"its views are {', '.join(protocol.views)}",
        )
    return ScanRecipe(
        sites[place],
        protocol,
        patient=turn + 1,
        seed=settings.seed,
        cohort=settings.cohort,
        view=settings.view,
        reduction=settings.reduction,
    )


def _chosen_sites(settings: SimulateSettings) -> tuple[SiteSpec, ...]:
    known = load_sites(settings.site_file)
    if settings.sites:
        return choose_sites(known, settings.sites)
    _require_known_protocols(known, settings.protocols)
    able = tuple(site for site in known if _matching(site, settings.protocols))
    return able if settings.protocols else known


def _require_known_protocols(sites: Sequence[SiteSpec], names: Sequence[str]) -> None:
    known = {name for site in sites for one in site.protocols for name in _names(one)}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise InputError(
            f"no site has a protocol {unknown[0]!r}",
            hint=f"the protocols are {', '.join(sorted(known))}",
        )


def _chosen_protocols(site: SiteSpec, names: Sequence[str]) -> tuple[ProtocolSpec, ...]:
    if not _matching(site, names):
        _require_known_protocols([site], names)
    return _matching(site, names)


def _matching(site: SiteSpec, names: Sequence[str]) -> tuple[ProtocolSpec, ...]:
    if not names:
        return site.protocols
    return tuple(one for one in site.protocols if set(_names(one)) & set(names))


def _names(protocol: ProtocolSpec) -> tuple[str, str]:
    return protocol.contrast, protocol.modality


def _images_of(
    scans: Sequence[ScanRecipe], settings: SimulateSettings
) -> tuple[Tensor | None, ...]:
    """Deal the real patients of each file to the scans that take them, one each."""
    sources = [settings.anatomy_path or recipe.site.anatomy for recipe in scans]
    dealt = {
        path: iter(_patients(path, sources.count(path), settings.cohort))
        for path in dict.fromkeys(sources)
        if path is not None
    }
    return tuple(None if path is None else next(dealt[path]) for path in sources)


def _patients(path: Path, n_scans: int, cohort: Cohort) -> tuple[Tensor, ...]:
    anatomy = load_anatomy_images(path)
    images = patients_of(anatomy, cohort)
    if len(images) < n_scans:
        raise InputError(
            f"{path.name}: {len(images)} of its {anatomy.n_patients} patients are for {cohort}, "
            f"{n_scans} scans need one each",
            hint="ask for fewer scans, or leave the real anatomy out",
        )
    return images


def patients_of(anatomy: AnatomyImages, cohort: Cohort) -> tuple[Tensor, ...]:
    """Return the real patients of a cohort; each belongs to one."""
    dealt = enumerate(anatomy.by_patient)
    return tuple(images for index, images in dealt if _DEAL[index % len(_DEAL)] is cohort)
