"""The gateway's own site: dispatch, requests and responses of its endpoints, its pages."""
