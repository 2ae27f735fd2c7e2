"""``plancton doctor``: the facts of a host, and what to think of them."""
