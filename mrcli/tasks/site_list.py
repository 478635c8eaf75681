"""The simulated sites as a list to look at."""

from dataclasses import dataclass
from pathlib import Path

from mrcli.simulate.site_file import load_sites
from mrcli.simulate.sites import SiteSpec


@dataclass(frozen=True)
class SiteList:
    """The sites of a file."""

    sites: tuple[SiteSpec, ...]
    exit_code: int = 0

    def document(self) -> dict[str, object]:
        """Return the JSON form."""
        return {"is_simulated": True, "scans": [], "sites": [_facts(site) for site in self.sites]}


def list_of_sites(path: Path) -> SiteList:
    """Read the sites of a file; raises `InputError`."""
    return SiteList(load_sites(path))


def _facts(site: SiteSpec) -> dict[str, object]:
    return {
        "name": site.name,
        "folder": site.folder,
        "vendor": site.vendor,
        "field_strength_t": site.field_strength_t,
        "n_coils": site.array.n_coils,
        "n_virtual_coils": site.n_virtual,
        "split": site.split,
        "modelled_on": site.modelled_on,
        "protocols": [one.contrast for one in site.protocols],
    }
