"""The settings: one model for each table of the configuration file, and how they are read."""
