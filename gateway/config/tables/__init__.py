"""The tables of the configuration: one frozen pydantic model each."""
