"""The processes of one run: each samples its share of the prompts, then all learn the same.

    torchrun --nproc-per-node 8 train.py --model FOLDER ...       # a GPU each; CPUs work as well

Without torchrun there is one process, rank 0, and the functions below do nothing and cost nothing.
Only rank 0 prints and writes files. What it decides, such as whether a file exists, it tells the
others (`main_process_first`). What the processes sampled is put together by `gather` and
`gather_list`, after which all processes hold the same data and take the same steps. All processes
call these functions in the same order.
"""
import contextlib
import datetime
import io
import os
import pickle
import signal
import sys
import time
from typing import Any, Callable, Iterator, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from utils.errors import UserError

T = TypeVar("T")
Part = TypeVar("Part", Tensor, np.ndarray)

# Gloo's own limit of 30 minutes would end a run in which one share takes longer than another. A
# process that died is noticed by its closed connection, not by time (ours: a day is never reached).
TIMEOUT = datetime.timedelta(days=1)

inside_main_process_first = False      # True while rank 0 works and the other processes wait for it


class Ended(KeyboardInterrupt):
    """Another process has died, or this one got SIGTERM. For a single process this is Ctrl-C."""


# ---- one run ------------------------------------------------------------------------------------
@contextlib.contextmanager
def process_group(advice: str) -> Iterator[None]:
    """Within this block the processes that torchrun started work together.

    Only rank 0 prints. If the run fails, one process reports why; the others exit with status 1.
    advice: what the user does when a process has died; it ends the error message.
    """
    store = join_group()
    is_main = rank() == 0
    signal.signal(signal.SIGTERM, _stop)
    if store is not None:
        signal.signal(signal.SIGINT, _stop)
    try:
        with contextlib.ExitStack() as stack:
            if not is_main:
                nowhere = stack.enter_context(open(os.devnull, "w", encoding="utf-8"))
                stack.enter_context(contextlib.redirect_stdout(nowhere))
                stack.enter_context(contextlib.redirect_stderr(nowhere))
            yield
    except (Exception, KeyboardInterrupt) as error:
        if store is None:
            raise
        _ignore_signals()
        # Closing the connections wakes up every process that waits for this one
        dist.destroy_process_group()
        if not _reports(store, is_main, error):
            sys.exit(1)
        if isinstance(error, Ended):
            raise UserError(f"another process of this run has ended, or all were stopped; {advice}")
        raise
    if store is not None:
        dist.destroy_process_group()


def join_group() -> dist.Store | None:
    """Joins the group that torchrun's environment variables name; None if there are none."""
    if not {"RANK", "WORLD_SIZE"} <= set(os.environ):
        return None
    store, me, count = next(dist.rendezvous("env://"))
    # Gloo on GPUs too: episodes are small, and unlike NCCL's, its calls end when a process has died
    dist.init_process_group("gloo", store=store, rank=me, world_size=count, timeout=TIMEOUT)
    return store


def _stop(number: int, _frame: object) -> None:
    _ignore_signals()
    raise Ended if number == signal.SIGTERM else KeyboardInterrupt


def _ignore_signals() -> None:
    """Ctrl-C reaches a process twice, from the terminal and from torchrun; the first one counts."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _reports(store: dist.Store, is_main: bool, error: BaseException) -> bool:
    """Whether this process reports how the run ended: the first one that asks the store does.

    Rank 0 asks half a second before the others (ours), and a process with a cause of its own a
    second before those that only noticed that another one has ended.
    """
    if not is_main:
        time.sleep(0.5)
    if isinstance(error, Ended):
        time.sleep(1)
    try:
        return store.add("reported", 1) == 1
    except RuntimeError:                             # the store was in a process that has ended
        return True


# ---- what the processes do together -------------------------------------------------------------
def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def size() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def share(count: int) -> slice:
    """This process's share of `count` items: consecutive, in rank order; it may be empty."""
    start = count * rank() // size()
    stop = count * (rank() + 1) // size()
    return slice(start, stop)


def _collective(function: Callable, *arguments: Any) -> None:
    """Calls a function of torch.distributed. Raises Ended where another process has died."""
    if dist.is_initialized():
        try:
            function(*arguments)
        except RuntimeError as error:                          # gloo: Connection closed by peer
            raise Ended from error


def main_process_first(function: Callable[[], T]) -> T:
    """Rank 0 alone calls `function`; all processes return its result, or raise its UserError.

    The others wait, so a file that it writes exists when they go on. `function` may call this again
    (as `files.write` does): rank 0 is then alone already, and nobody waits.
    """
    global inside_main_process_first
    if inside_main_process_first or size() == 1:
        return function()
    answer: list[Any] = [None, None]                           # the result, the error
    if rank() == 0:
        inside_main_process_first = True
        try:
            answer[0] = function()
        except (UserError, SystemExit) as error:               # --help is a SystemExit
            answer[1] = error
        finally:
            inside_main_process_first = False
    _collective(dist.broadcast_object_list, answer)
    if answer[1]:
        raise answer[1]
    return answer[0]


def gather(part: Part) -> Part:
    """All processes' parts in rank order, numpy or CPU tensors (m, ...); m may differ, or be 0."""
    parts = [part] * size()
    _collective(dist.all_gather_object, parts, part)
    return torch.cat(parts) if isinstance(part, Tensor) else np.concatenate(parts)


class CompactPickler(pickle.Pickler):
    """Pickles the numbers of a tensor alone. torch pickles a view with the whole storage that it
    looks at: 240 episodes of one batch were 184 MB so, and are 0.8 MB here."""

    def reducer_override(self, value: Any) -> Any:
        if not isinstance(value, Tensor):
            return NotImplemented                              # as pickle does it
        numbers = value.contiguous().flatten().view(torch.uint8).numpy().tobytes()
        return tensor_of, (numbers, value.dtype, value.shape)


def tensor_of(numbers: bytes, dtype: torch.dtype, shape: torch.Size) -> Tensor:
    if not numbers:
        return torch.zeros(shape, dtype=dtype)                 # frombuffer refuses empty ones
    return torch.frombuffer(bytearray(numbers), dtype=dtype).view(shape)


def gather_list(part: list[T]) -> list[T]:
    """The lists of all processes as one, in rank order. Their tensors lie on the CPU."""
    if size() == 1:
        return part
    buffer = io.BytesIO()
    CompactPickler(buffer).dump(part)
    parts = [b""] * size()
    _collective(dist.all_gather_object, parts, buffer.getvalue())
    together = []
    for one in parts:
        together += pickle.loads(one)
    return together
