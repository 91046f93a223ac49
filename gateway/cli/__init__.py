"""The command ``gateway``."""
