"""What scripts/simulate is made of."""
