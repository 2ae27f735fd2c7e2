"""The Engine API over its socket. Knows nothing of Plancton's own rules."""
