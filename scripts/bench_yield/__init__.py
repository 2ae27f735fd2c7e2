"""What scripts/bench-yield measures, and how it reports that."""
