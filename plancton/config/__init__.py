"""What the administrator wrote: how it is read, checked, and made plain for one host."""
