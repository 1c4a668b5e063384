"""How every program here behaves: a mistake, Ctrl-C or a full disk gets one line and a failing exit
status; a closed pipe (| head) no line.
"""
import gc
import io
import os
import sys
from types import TracebackType
from typing import Callable

from utils.errors import UserError

# Progress bars move every second on a terminal; a file keeps every move, so there every 10 seconds.
# tqdm reads this when it is imported, and this file is imported first.
os.environ.setdefault("TQDM_MININTERVAL", "1" if sys.stderr.isatty() else "10")


def run_program(program: str, main: Callable[[], None], stopped: str = "stopped") -> None:
    for stream in (sys.stdout, sys.stderr):          # a console of Windows lacks ₀, ≤ and the like
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    gc.freeze()       # 340,000 objects of torch and its like: looking at them takes a second
    try:
        try:
            main()
        finally:
            print(end="", flush=True)                # here, not at exit, where an error is a riddle
    except UserError as error:
        sys.exit(f"{program}: {' '.join(str(error).split())}")
    except KeyboardInterrupt:
        sys.exit(f"{program}: {stopped}")
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)         # what could not be printed goes there
        sys.exit(1 if isinstance(error, BrokenPipeError) else f"{program}: {error}")


def interrupted_import(kind: type[BaseException], error: BaseException,
                       trace: TracebackType | None) -> None:
    """Ctrl-C before `run_program` is reached: importing torch takes seconds."""
    if kind is KeyboardInterrupt:
        spec = getattr(sys.modules["__main__"], "__spec__", None)           # python -m demos.regret
        program = spec.name if spec else os.path.basename(sys.argv[0])
        print(f"{program}: stopped", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


sys.excepthook = interrupted_import
