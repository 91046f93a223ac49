"""``gateway demo``: everything at once, to try."""
