"""A figure and its budget, as one line of a table. Pure."""

from typing import NamedTuple


class Figure(NamedTuple):
    """``value`` may be ``budget`` at most."""

    name: str
    value: float
    budget: float
    unit: str

    @property
    def fits(self) -> bool:
        return self.value <= self.budget

    def __str__(self) -> str:
        value, budget = (f"{number:.4g} {self.unit}" for number in (self.value, self.budget))
        return f"{self.name:<62} {value:>12}  budget {budget:>10}  {'ok' if self.fits else 'OVER'}"


def show(figure: Figure) -> bool:
    """Print it; whether it is within its budget."""
    print(figure, flush=True)
    return figure.fits
