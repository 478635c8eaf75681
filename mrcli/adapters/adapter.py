"""An adapter: one form at every slot of a backbone, or at those of its last cascades."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from torch import nn

from mrcli.adapters.forms import FORMS
from mrcli.errors import ModelError
from mrcli.nn.backbone import Backbone
from mrcli.nn.slots import slots


@dataclass(frozen=True)
class AdapterSpec:
    """What has to be known to build an adapter for a backbone."""

    form: str = "combined"
    rank: int = 2
    n_cascades: int | None = None  # how many of the last have it; None: all

    def document(self) -> dict[str, object]:
        """Return the JSON form."""
        return asdict(self)


class Adapter(nn.Module):
    """The numbers of one protocol, one site, or all sites together; new ones are the identity."""

    def __init__(self, spec: AdapterSpec, channels: Mapping[str, int]) -> None:
        super().__init__()
        self.spec = spec
        build = FORMS.get(spec.form)
        if build is None:
            raise ModelError(
                f"no adapter form is called {spec.form!r}", hint=f"known are {', '.join(FORMS)}"
            )
        self.names = tuple(channels)
        self.forms = nn.ModuleList(build(n, spec.rank) for n in channels.values())

    @staticmethod
    def of(backbone: Backbone, spec: AdapterSpec) -> "Adapter":
        """Return a new adapter that fits a backbone."""
        n_all = backbone.spec.n_cascades
        first = n_all - (n_all if spec.n_cascades is None else spec.n_cascades)
        places = {
            name: place.n_channels
            for name, place in slots(backbone).items()
            if int(name.split(".")[1]) >= first
        }
        return Adapter(spec, places)

    def by_slot(self) -> Mapping[str, nn.Module]:
        """Return the forms by the name of their slot."""
        return dict(zip(self.names, self.forms, strict=True))
