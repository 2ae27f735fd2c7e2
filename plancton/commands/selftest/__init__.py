"""``plancton selftest``: does this host yield? Measured."""
