"""The page in the browser: `plancton web` serves it, and `report --html` writes it into one file."""
