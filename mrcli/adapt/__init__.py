"""Fit an adapter to a site, and judge whether it helps: trials, fit, gate. Knows no file."""
