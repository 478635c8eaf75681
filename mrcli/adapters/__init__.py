"""Adapters: small changes of a frozen backbone, by protocol and by site."""
