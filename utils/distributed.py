"""The processes of one run: each takes its share of the prompts, all end with the same adapters.

    torchrun --nproc-per-node 8 train.py --model FOLDER ...       # a GPU each; CPUs work as well

Started in any other way there is one process, rank 0, and nothing below does or costs anything.
Rank 0 alone writes and prints, and decides what depends on files (`first`); what every process
must know of the others' work goes through `gather` and `gather_list`. All call these in the same order.
"""
import contextlib
import datetime
import os
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

# Gloo's own 30 minutes would end a job in which one share samples longer than another. A process
# that died is seen by its closed connection, not by time.
PATIENCE = datetime.timedelta(days=1)


class Ended(KeyboardInterrupt):
    """Another process is no more, or this one got SIGTERM; alone, that is as good as Ctrl-C."""


# ---- one run ------------------------------------------------------------------------------------
@contextlib.contextmanager
def job(advice: str) -> Iterator[None]:
    """Within this block the processes that torchrun started are one group.

    Ranks but 0 are silent. Whatever ends the block is told by one process; the others exit with 1
    and no word. advice: what to do after a process died, the end of a UserError.
    """
    store, me = start(), rank()
    signal.signal(signal.SIGTERM, _stopped)
    if store is not None:
        signal.signal(signal.SIGINT, _stopped)
    try:
        with open(os.devnull, "w", encoding="utf-8") as nowhere, contextlib.ExitStack() as quiet:
            if me > 0:
                quiet.enter_context(contextlib.redirect_stdout(nowhere))
                quiet.enter_context(contextlib.redirect_stderr(nowhere))
            yield
    except (Exception, KeyboardInterrupt) as error:
        if store is None:
            raise
        _ignore_signals()
        dist.destroy_process_group()                     # whoever waits for this process wakes up
        if not _speaks(store, me, error):
            sys.exit(1)
        if isinstance(error, Ended):
            raise UserError(f"another process of this job has ended, or all were stopped; {advice}")
        raise
    if store is not None:
        dist.destroy_process_group()


def start() -> dist.Store | None:
    """Joins the group that torchrun's environment names; None, and nothing done, without one."""
    if not {"RANK", "WORLD_SIZE"} <= set(os.environ):
        return None
    store, me, count = next(dist.rendezvous("env://"))
    # Gloo on GPUs too: 5 MB a minibatch, and unlike NCCL's its calls end where a process has died.
    dist.init_process_group("gloo", store=store, rank=me, world_size=count, timeout=PATIENCE)
    return store


def _stopped(number: int, _frame: object) -> None:
    _ignore_signals()
    raise Ended if number == signal.SIGTERM else KeyboardInterrupt


def _ignore_signals() -> None:
    """Ctrl-C reaches a process twice, from the terminal and from torchrun; one is enough to end."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _speaks(store: dist.Store, me: int, error: BaseException) -> bool:
    """Does this process tell how the run ended? The first to ask: rank 0 sooner than the others,
    and a cause sooner than what follows from it (ours: by half a second)."""
    time.sleep(0.5 * (me > 0) + isinstance(error, Ended))
    try:
        return store.add("told", 1) == 1
    except RuntimeError:                                 # the store went with another process
        return True


# ---- what the processes do together -------------------------------------------------------------
def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def size() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def share(count: int) -> slice:
    """This process's part of `count` things: consecutive, in rank order, empty where too few."""
    return slice(count * rank() // size(), count * (rank() + 1) // size())


def _together(collective: Callable, *arguments: Any) -> None:
    """Nothing when alone. Raises Ended where another process is no more."""
    if dist.is_initialized():
        try:
            collective(*arguments)
        except RuntimeError as error:                          # gloo: Connection closed by peer
            raise Ended from error


def main_process_first(function: Callable[[], T]) -> T:
    """What `function` returns on rank 0, which alone calls it; a UserError is raised by all.

    For files: what rank 0 wrote is there when the others go on. No `function` may call back here.
    """
    told: list[Any] = [None, None]
    if rank() == 0:
        try:
            told[0] = function()
        except (UserError, SystemExit) as error:               # --help is a SystemExit
            told[1] = error
    _together(dist.broadcast_object_list, told)
    if told[1]:
        raise told[1]
    return told[0]


def gather(part: Part) -> Part:
    """All processes' parts, numpy or CPU tensors (m, ...), in rank order; m may differ, be 0."""
    parts = [part] * size()
    _together(dist.all_gather_object, parts, part)
    return torch.cat(parts) if isinstance(part, Tensor) else np.concatenate(parts)


def gather_list(part: list[T]) -> list[T]:
    """All processes' lists as one, in rank order."""
    parts: list[list[T]] = [part] * size()
    _together(dist.all_gather_object, parts, part)
    return [x for one in parts for x in one]
