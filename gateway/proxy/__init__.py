"""To the backend: one request forwarded, one response handed on."""
