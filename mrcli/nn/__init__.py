"""The network: an unrolled variational reconstruction with slots for adapters."""
