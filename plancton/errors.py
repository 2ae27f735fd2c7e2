"""The base of all errors that a user can fix."""

import re
from typing import ClassVar


class PlanctonError(Exception):
    """``str()`` is one line that names the thing and the remedy. Any other exception is a bug.

    ``lines`` is what a terminal shows if there is more to say, ``exit_code`` the command's.
    """

    exit_code: ClassVar[int] = 2

    def __init__(self, message: str, lines: tuple[str, ...] = ()) -> None:
        super().__init__(_one_line(message))
        self.lines = tuple(_one_line(line) for line in lines) or (str(self),)


def _one_line(text: str) -> str:
    """Paths and keys come from users: keep line breaks and escape sequences out of the terminal."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f]+", " ", text)
