"""Registered clients: where they are kept, and how they prove who they are."""
