"""Command line options: given by their full names; a wrong one raises an OptionError."""
import argparse
from typing import Any, NoReturn

from utils.errors import OptionError

DTYPES = ("float32", "bfloat16", "float16")
DEVICES = ("cpu", "cuda", "mps")


class Parser(argparse.ArgumentParser):
    """An ArgumentParser without abbreviations, whose errors are OptionErrors."""

    def __init__(self, **options: Any):
        super().__init__(allow_abbrev=False, **options)

    def print_help(self, file: Any = None) -> None:
        # argparse ignores a full disk or a closed pipe; print raises the error
        print(self.format_help(), end="", file=file)

    def error(self, message: str) -> NoReturn:
        raise OptionError(f"{message} (see --help)")


def whole_numbers(text: str, flag: str) -> list[int]:
    """"1,2" -> [1, 2]; "" -> []. Raises OptionError for anything else."""
    if not text:
        return []
    try:
        return [int(x) for x in text.split(",")]
    except ValueError:
        raise OptionError(f"{flag} takes whole numbers separated by commas, not {text!r}")


def check_device_and_dtype(device: str, dtype: str) -> None:
    """Raises OptionError for a name that is none; "auto" and cuda:1 are names."""
    if dtype not in ("auto", *DTYPES):
        raise OptionError(f"--dtype takes auto, {', '.join(DTYPES)}, not {dtype!r}")
    if device.split(":")[0] not in ("auto", *DEVICES):
        raise OptionError(f"--device takes auto, {', '.join(DEVICES)}, not {device!r}")
