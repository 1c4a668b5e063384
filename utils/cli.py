"""How every program ends: after a mistake, Ctrl-C or a full disk, with one line and status 1; after
a mistake in its options with status 2, as argparse does.

Only programs import this file, as their first import, because importing it changes the process:
  1. It replaces sys.excepthook. Importing torch takes seconds, and Ctrl-C in that time should print
     one line too, not a traceback.
  2. It sets TQDM_MININTERVAL, if the user has not: a progress bar moves every second on a terminal,
     but every ten seconds in a log file, which keeps all the lines. tqdm reads it when imported.
"""
import gc
import io
import os
import sys
from types import TracebackType
from typing import Callable

from utils.errors import OptionError, UserError


def check_options(program: str, parse: Callable[[], object]) -> None:
    """Ends the program after a mistake in its options, before it imports torch: that takes seconds.

    Under torchrun all processes read the same options, and rank 0 alone reports.
    """
    def parse_or_exit() -> None:
        try:
            parse()
        except OptionError:
            if os.environ.get("RANK", "0") == "0":
                raise
            sys.exit(2)

    run_program(program, parse_or_exit)


def run_program(program: str, main: Callable[[], None], stopped: str = "stopped") -> None:
    """Calls main(). program: its name in messages. stopped: the message after Ctrl-C."""
    # A Windows console lacks characters such as ₀ and ≤: print "?" in their place
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    # torch and others have made 340,000 objects; the garbage collector need not look at them again
    gc.freeze()
    try:
        try:
            main()
        finally:
            # Write what is still buffered: an error at exit could no longer be caught
            print(end="", flush=True)
    except UserError as error:
        one_line = f"{program}: {' '.join(str(error).split())}"
        if isinstance(error, OptionError):
            print(one_line, file=sys.stderr)
            sys.exit(2)
        sys.exit(one_line)
    except KeyboardInterrupt:
        sys.exit(f"{program}: {stopped}")
    except OSError as error:
        # Python flushes stdout again at exit: send what could not be written to nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        if isinstance(error, BrokenPipeError):                 # | head: no message is needed
            sys.exit(1)
        sys.exit(f"{program}: {error}")


def interrupted_import(kind: type[BaseException], error: BaseException,
                       trace: TracebackType | None) -> None:
    """One line for a Ctrl-C that comes before `run_program` is called."""
    if kind is KeyboardInterrupt:
        spec = getattr(sys.modules["__main__"], "__spec__", None)      # of python -m demos.regret
        program = spec.name if spec else os.path.basename(sys.argv[0])
        print(f"{program}: stopped", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


sys.excepthook = interrupted_import
os.environ.setdefault("TQDM_MININTERVAL", "1" if sys.stderr.isatty() else "10")
