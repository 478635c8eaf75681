"""Models on disk: a backbone, its adapters, and the index of those that ship."""
