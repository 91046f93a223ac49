"""The life of a grant: authorized, redeemed, refreshed, introspected, revoked."""
