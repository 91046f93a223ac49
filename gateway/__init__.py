"""An OAuth 2.0 authorization gateway in front of any backend."""
