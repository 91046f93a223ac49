"""May this request go on: routes, decisions, and the identity that the backend is told."""
