"""May this request go on? Routes, decisions, and the identity that the backend is told."""
