"""The plays of scripts/quickstart, and what the benches borrow of them."""
