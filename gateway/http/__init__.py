"""HTTP as it is written: paths, targets, peers, and the one header policy."""
