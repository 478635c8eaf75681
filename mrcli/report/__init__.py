"""The quality report as data: rows, summaries, comparisons, limits and their CSV form."""
