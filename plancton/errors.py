"""The one base of all errors that a user can mend."""

import re


class PlanctonError(Exception):
    """``str()`` is one line that names the thing and the remedy. Anything else that is raised is a bug."""

    def __init__(self, message: str) -> None:
        # Paths and keys are the user's: a line break or an escape sequence in one stays out of the terminal.
        super().__init__(re.sub(r"[\x00-\x1f\x7f-\x9f]+", " ", message))
