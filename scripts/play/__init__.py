"""The plays of scripts/quickstart, which the benches share in part."""
