"""Use cases: they return results, never print, never exit."""
