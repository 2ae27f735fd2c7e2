"""Plancton lends a host's spare CPU to a pool, in Docker containers, and gives it back at once."""

__version__ = "1.0.0.dev0"
