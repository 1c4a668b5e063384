"""The one exception whose message is written for the user."""


class UserError(Exception):
    """A mistake that the user can correct. Programs print it as one line and exit with status 1."""
