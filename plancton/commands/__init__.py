"""What each plancton COMMAND does, under its own name."""
