"""Measurements. docs/benchmarks.md explains them and shows the results."""
