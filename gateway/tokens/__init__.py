"""Codes, tokens and keys as values, and what the store keeps of a grant."""
