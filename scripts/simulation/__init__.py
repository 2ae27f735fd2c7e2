"""The library of scripts/simulate."""
