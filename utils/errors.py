"""The exceptions whose messages are written for the user."""


class UserError(Exception):
    """A mistake that the user can correct. Programs print it as one line and exit with status 1."""


class OptionError(UserError):
    """A mistake in the options, given or in a config.json: status 2, as argparse has it."""
