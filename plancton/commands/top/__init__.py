"""``plancton top``: who uses the CPU, now and in the last two minutes."""
