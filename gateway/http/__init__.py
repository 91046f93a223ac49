"""HTTP as it is written: paths, peers, targets, header fields."""
