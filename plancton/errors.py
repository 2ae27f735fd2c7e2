"""The one base of all errors that a user can mend."""


class PlanctonError(Exception):
    """``str()`` is one line that names the thing and the remedy. Anything else that is raised is a bug."""
