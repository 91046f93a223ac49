"""What operators see: the audit log."""
