"""How every program here behaves: a mistake or Ctrl-C gets one line and a failing exit status."""
import argparse
import sys
from typing import Callable


class UserError(Exception):
    """Something the user can mend: shown as one line, exit status 1."""


class Parser(argparse.ArgumentParser):
    """Options are given in full; a wrong one is a UserError."""

    def __init__(self, **options):
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str):
        raise UserError(f"{message} (see --help)")


def whole_numbers(text: str, flag: str) -> list[int]:
    """"1,2" -> [1, 2]; "" -> []."""
    try:
        return [int(x) for x in text.split(",")] if text else []
    except ValueError:
        raise UserError(f"{flag} takes whole numbers by commas, not {text!r}")


def run(program: str, main: Callable[[], None], stopped: str = "stopped"):
    try:
        main()
    except UserError as error:
        sys.exit(f"{program}: {' '.join(str(error).split())}")
    except KeyboardInterrupt:
        sys.exit(f"{program}: {stopped}")
