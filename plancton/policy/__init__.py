"""What to do, and why. Pure: no clock, no file, no socket; imports only the base modules above it."""
