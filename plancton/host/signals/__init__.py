"""What an owner can notice, as named values: one module for each place that they are read from."""
