"""The base of all errors that a user can fix."""

from typing import ClassVar

from plancton.units import printable


class PlanctonError(Exception):
    """``str()`` is one line that names the thing and the remedy. Any other exception is a bug.

    ``lines`` is what a terminal shows if there is more to say, ``exit_code`` the command's,
    ``begins`` what each line begins with there.
    """

    exit_code: ClassVar[int] = 2
    begins: ClassVar[str] = "plancton: "

    def __init__(self, message: str, lines: tuple[str, ...] = ()) -> None:
        super().__init__(printable(message))
        self.lines = tuple(printable(line) for line in lines) or (str(self),)
