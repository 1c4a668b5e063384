"""Options of the command line: given in full, and refused in one line."""
import argparse
from typing import Any, NoReturn

from utils.errors import UserError


class Parser(argparse.ArgumentParser):
    """Options are given in full; a wrong one is a UserError."""

    def __init__(self, **options: Any):
        super().__init__(allow_abbrev=False, **options)

    def print_help(self, file: Any = None) -> None:
        print(self.format_help(), end="", file=file)        # argparse hides that it could not print

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} (see --help)")


def whole_numbers(text: str, flag: str) -> list[int]:
    """"1,2" -> [1, 2]; "" -> []."""
    try:
        return [int(x) for x in text.split(",")] if text else []
    except ValueError:
        raise UserError(f"{flag} takes whole numbers by commas, not {text!r}")
