"""One donated container, from its label to its last word."""
