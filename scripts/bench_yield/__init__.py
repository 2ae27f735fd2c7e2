"""What scripts/bench-yield measures, and what it makes of it."""
