"""Makes a service of an installed Plancton, and removes it. Only `scripts/install` calls it.

What other libraries bring is imported where it is needed: removing works with a Python that has none of them.
"""
