"""The one base of all errors that a user can mend."""

import re


class PlanctonError(Exception):
    """``str()`` is one line that names the thing and the remedy. Anything else that is raised is a bug.

    ``lines`` is what a terminal shows where there is more to say than that.
    """

    def __init__(self, message: str, lines: tuple[str, ...] = ()) -> None:
        super().__init__(_one_line(message))
        self.lines = tuple(_one_line(line) for line in lines) or (str(self),)


def _one_line(text: str) -> str:
    """Paths and keys are the user's: a line break or an escape sequence in one stays out of the terminal."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f]+", " ", text)
