"""The one exception that a user sees: a mistake that can be mended."""



class UserError(Exception):
    """Something the user can mend: shown as one line, exit status 1."""
