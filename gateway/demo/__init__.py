"""``gateway demo``: a gateway and everything around it, to try."""
