"""What Plancton itself costs: the library of scripts/bench and scripts/soak."""
