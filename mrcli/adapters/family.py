"""All adapters of one backbone: protocols, sites, and the universal one for unknown sites."""

from collections.abc import Iterable

import torch
from torch import nn

from mrcli.adapters.adapter import Adapter, AdapterSpec
from mrcli.nn.backbone import Backbone
from mrcli.nn.inputs import NetworkInput
from mrcli.nn.slots import attached
from mrcli.types import Image


class Family(nn.Module):
    """The adapters that are trained together: by protocol, by site, and the universal one."""

    def __init__(
        self,
        backbone: Backbone,
        spec: AdapterSpec,
        *,
        protocols: Iterable[str],
        sites: Iterable[str],
    ) -> None:
        super().__init__()
        self.protocols = {name: Adapter.of(backbone, spec) for name in sorted(set(protocols))}
        self.sites = {name: Adapter.of(backbone, spec) for name in sorted(set(sites))}
        self.universal = Adapter.of(backbone, spec)
        self.members = nn.ModuleList([*self.protocols.values(), *self.sites.values()])

    def chain(self, protocol: str | None, site: str | None) -> tuple[Adapter, ...]:
        """Return the adapters of a protocol and a site, in the order in which they act.

        A protocol that is not known has no adapter; a site that is not known has the universal one.
        """
        own = self.protocols.get(protocol or "")
        place = self.sites.get(site or "", self.universal)
        return (place,) if own is None else (own, place)


def adapted(
    backbone: Backbone,
    chain: Iterable[Adapter],
    given: NetworkInput,
    dtype: torch.dtype = torch.float32,
) -> Image:
    """Return the image of the backbone with some adapters; afterwards it is plain again."""
    with attached(backbone, [one.by_slot() for one in chain]):
        return backbone(given, dtype)
