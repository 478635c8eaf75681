"""Which scans the field test reconstructs: a fixed design, the same for everybody with one seed.

A *cell* is a modality, a pattern and an acceleration. The full version takes every site, protocol
and condition; the quick one deals the cells to sites and protocols in turn. Patients of the tuning
set belong to training sites and to a cohort of their own.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from mrcli.physics.sampling import Pattern
from mrcli.simulate.recipes import FULL_SIZE, Cohort, Reduction, ScanRecipe
from mrcli.simulate.sites import ProtocolSpec, SiteSpec, Split

PATTERNS = (Pattern.UNIFORM, Pattern.KT_GAUSSIAN, Pattern.KT_RADIAL)
ACCELERATIONS = (8, 16, 24)
_QUICK_TUNING = ("Cine", "Mapping", "T1w")  # many frames that move, few that change, one


class Group(StrEnum):
    """What a method may know of the site of a scan; its patient is new to it in any case."""

    SEEN = "seen site"  # a training site
    UNSEEN = "unseen site"  # held out


@dataclass(frozen=True)
class FieldVersion:
    """One version of the test: how large its scans are, and how many there are."""

    name: str
    reduction: Reduction
    removes_oversampling: bool  # of the readout, before the mask is drawn
    is_rotating: bool  # cells are dealt to sites in turn, each case a patient of its own


FULL = FieldVersion("full", FULL_SIZE, removes_oversampling=False, is_rotating=False)
QUICK = FieldVersion(
    "quick", Reduction(matrix=0.5, max_frames=4), removes_oversampling=True, is_rotating=True
)


@dataclass(frozen=True)
class FieldCase:
    """One scan of one patient under one condition."""

    recipe: ScanRecipe
    pattern: str
    acceleration: int
    group: Group
    removes_oversampling: bool

    @property
    def modality(self) -> str:
        """Return the protocol as the challenge calls it."""
        return self.recipe.protocol.modality

    @property
    def patient(self) -> str:
        """Return the name of the patient: cases of one patient are not independent."""
        recipe = self.recipe
        return f"{recipe.site.name}/{recipe.cohort.value}/P{recipe.patient:03d}"

    @property
    def name(self) -> str:
        """Return the name of the case, of which there is one."""
        scan = f"{self.patient}/{self.recipe.protocol.contrast}"
        return f"{scan}/{self.pattern}{self.acceleration}"


@dataclass(frozen=True)
class Place:
    """One protocol of one site."""

    site: SiteSpec
    protocol: ProtocolSpec


Places = Mapping[str, Sequence[Place]]  # by modality
Cell = tuple[Place, Pattern, int]  # where it is measured, pattern, acceleration


@dataclass(frozen=True)
class FieldDesign:
    """Makes the cases of one version of the test."""

    version: FieldVersion
    seed: int

    def tuning_cases(self, sites: Sequence[SiteSpec]) -> tuple[FieldCase, ...]:
        """Return the tuning set: per pattern one case of each modality, accelerations in turn.

        Sites that are held out have no part in it.
        """
        places = places_by_modality(sites, Group.SEEN)
        wanted = _QUICK_TUNING if self.version.is_rotating else tuple(places)
        chosen = {modality: places[modality] for modality in wanted if modality in places}
        return self._numbered(_latin_square(chosen), Group.SEEN, Cohort.TUNE)

    def test_cases(self, sites: Sequence[SiteSpec], n_patients: int = 1) -> tuple[FieldCase, ...]:
        """Return the test set, with `n_patients` of each place, when rotating of each cell."""
        groups = {group: places_by_modality(sites, group) for group in Group}
        if not self.version.is_rotating:
            return tuple(
                case for group in Group for case in self._all_of(groups[group], group, n_patients)
            )
        unseen, seen = groups[Group.UNSEEN], groups[Group.SEEN]
        return (
            *self._numbered(_all_cells(unseen, n_patients), Group.UNSEEN, Cohort.TEST),
            *self._numbered(_latin_square(seen, n_patients), Group.SEEN, Cohort.TEST),
        )

    def _all_of(self, places: Places, group: Group, n_patients: int) -> Iterator[FieldCase]:
        """Yield every condition of every place; the conditions of a patient follow each other."""
        for place in (place for members in places.values() for place in members):
            n_protocols, own = len(place.site.protocols), place.site.protocols.index(place.protocol)
            for turn in range(n_patients):
                patient = 1 + own + turn * n_protocols  # the same, however many patients there are
                recipe = self._recipe(place, patient, Cohort.TEST)
                for pattern in PATTERNS:
                    for acceleration in ACCELERATIONS:
                        yield self._case(recipe, pattern, acceleration, group)

    def _numbered(
        self, cells: Iterator[Cell], group: Group, cohort: Cohort
    ) -> tuple[FieldCase, ...]:
        """Give each case a patient of its own, counted per site."""
        counts: Counter[str] = Counter()
        cases = []
        for place, pattern, acceleration in cells:
            counts[place.site.name] += 1
            recipe = self._recipe(place, counts[place.site.name], cohort)
            cases.append(self._case(recipe, pattern, acceleration, group))
        return tuple(cases)

    def _recipe(self, place: Place, patient: int, cohort: Cohort) -> ScanRecipe:
        reduction = self.version.reduction
        return ScanRecipe(
            place.site, place.protocol, patient, self.seed, cohort, reduction=reduction
        )

    def _case(
        self, recipe: ScanRecipe, pattern: Pattern, acceleration: int, group: Group
    ) -> FieldCase:
        return FieldCase(
            recipe, pattern.value, acceleration, group, self.version.removes_oversampling
        )


def group_of(site: SiteSpec) -> Group:
    """Return the group that scans of a site belong to."""
    return Group.SEEN if site.split is Split.TRAIN else Group.UNSEEN


def places_by_modality(sites: Sequence[SiteSpec], group: Group) -> dict[str, list[Place]]:
    """Return the protocols of the sites of one group, by modality."""
    places: dict[str, list[Place]] = defaultdict(list)
    for site in sites:
        for protocol in site.protocols if group_of(site) is group else ():
            places[protocol.modality].append(Place(site, protocol))
    return places


def _all_cells(places: Places, n_turns: int) -> Iterator[Cell]:
    """Yield all cells of each modality, dealt to its places; of three each has a Latin square."""
    n = len(ACCELERATIONS)
    for turn in range(n_turns):
        for members in places.values():
            for row, pattern in enumerate(PATTERNS):
                for column, acceleration in enumerate(ACCELERATIONS):
                    index = turn + n * row + (row + column) % n
                    yield members[index % len(members)], pattern, acceleration


def _latin_square(places: Places, n_turns: int = 1) -> Iterator[Cell]:
    """Yield each modality with each pattern once a turn; accelerations and sites take turns."""
    counts: Counter[str] = Counter()
    for turn in range(n_turns):
        for number, members in enumerate(places.values()):
            for row, pattern in enumerate(PATTERNS):
                acceleration = ACCELERATIONS[(number + row + turn) % len(ACCELERATIONS)]
                place = min(members, key=lambda one: counts[one.site.name])
                counts[place.site.name] += 1
                yield place, pattern, acceleration
