"""Files that are whole or absent: they are written under a temporary name, then renamed.

With several processes (utils/distributed.py) rank 0 writes, and the others wait until it has.
"""
import csv
import io
import json
import os
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np
import torch

from utils import distributed
from utils.errors import UserError


def write(path: str, data: bytes | str) -> None:
    """Rank 0 writes the file; all processes go on when it is there.

    It writes a temporary file beside `path`, syncs it and renames it. Raises UserError, as of a
    full disk, which leaves the old file whole and no temporary one.
    """
    distributed.main_process_first(partial(_write, path, data))


def _write(path: str, data: bytes | str) -> None:
    try:
        with open(path + ".tmp", "wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(path + ".tmp", path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}")
    finally:
        with suppress(OSError):
            os.remove(path + ".tmp")


def exists(path: str) -> bool:
    """Whether rank 0 sees the file: all processes get the same answer."""
    return distributed.main_process_first(partial(os.path.exists, path))


def damaged(path: str, error: Exception) -> UserError:
    """The error to raise where a run's file cannot be read: it says how the file is made again."""
    problem = f"there is no {path}: "
    if os.path.exists(path):
        problem = f"cannot read {path} ({type(error).__name__}): delete it, "
    folder = os.path.dirname(path)
    rename = "" if folder.endswith(".part") else f"rename {folder} to {folder}.part, "
    return UserError(f"{problem}{rename}then train.py with the same options and --resume makes it "
                     "again")


def refuse_unfinished(folder: str) -> None:
    """Raises UserError if folder is a run's .part, or if that is all there is of the run."""
    part = folder.removesuffix(".part") + ".part"
    if os.path.exists(part) and (folder == part or not os.path.exists(folder)):
        raise UserError(f"{part} is unfinished: train.py --resume finishes it")


def read_json(path: str) -> Any:
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror} (train.py makes run folders)")
    except ValueError as error:
        raise damaged(path, error)


def shorter(value: Any) -> Any:
    """The same with 5 digits for every float: the file is half as long."""
    if isinstance(value, dict):
        return {k: shorter(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [shorter(v) for v in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


def other_lines(path: str, key: dict) -> list[dict]:
    """The lines of a CSV file without those of `key`. Raises UserError for a damaged file."""
    if not os.path.exists(path):
        return []
    with open(path, newline="", encoding="utf-8", errors="replace") as file:
        text = file.read()
    rows = list(csv.DictReader(io.StringIO(text)))
    # A line with too few or too many columns has None among its values, or as a name
    whole = all(None not in (*row, *row.values()) and key.keys() <= row.keys() for row in rows)
    if not whole or not text.endswith("\n"):
        raise UserError(f"{path} is damaged: delete it, then --resume; its lines are lost")
    return [row for row in rows if any(row[k] != v for k, v in key.items())]


def append_csv(path: str, key: dict, lines: list[dict]) -> None:
    """Adds `lines`, each with the columns of `key` before it; earlier lines of that key go."""
    key = {k: str(v) for k, v in key.items()}

    def append() -> None:
        rows = other_lines(path, key)
        for line in lines:
            rows.append(key | {k: f"{v:.6g}" for k, v in line.items()})
        columns: dict[str, None] = {}                  # in the order in which they first appear
        for row in rows:
            columns |= dict.fromkeys(row)
        text = io.StringIO()
        writer = csv.DictWriter(text, list(columns), restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write(path, text.getvalue())

    distributed.main_process_first(append)


def load_checkpoint(path: str) -> dict | None:
    """On the CPU, where every process can read it; None if there is no checkpoint."""
    try:
        return torch.load(path, map_location="cpu") if os.path.exists(path) else None
    except Exception as error:                   # torch raises errors of many kinds
        raise damaged(path, error)


def write_arrays(path: str, arrays: dict[str, Any]) -> None:
    """An npz file. Raises UserError as `write` does."""
    # Packed in memory: on a full disk, zipfile raises a second error while it closes
    data = io.BytesIO()
    np.savez_compressed(data, **arrays)
    write(path, data.getvalue())


def save_checkpoint(path: str, **what: object) -> None:
    data = io.BytesIO()
    torch.save(what, data)
    write(path, data.getvalue())
