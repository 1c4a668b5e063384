"""Files that are whole or absent: written to a temporary name beside them, then renamed."""
import csv
import io
import json
import os
from contextlib import suppress
from typing import Any

import torch

from utils.errors import UserError


def write(path: str, data: bytes | str) -> None:
    """To a temporary name beside `path`; synced, then renamed. Raises UserError, as of a full disk,
    which leaves the old file whole and nothing temporary."""
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


def damaged(path: str, error: Exception) -> UserError:
    """To be raised where a run's file cannot be read: says how it is made again."""
    folder = os.path.dirname(path)
    first = "" if folder.endswith(".part") else f"rename {folder} to {folder}.part, "
    what = (f"cannot read {path} ({type(error).__name__}): delete it, " if os.path.exists(path) else
            f"there is no {path}: ")
    return UserError(f"{what}{first}then train.py with the same options and --resume makes it "
                     "again")


def read_json(path: str) -> Any:
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror} (train.py makes run folders)")
    except ValueError as error:
        raise damaged(path, error)


def shorter(value: Any) -> Any:
    """The same, every float with 5 digits: the file is half as long."""
    if isinstance(value, dict):
        return {k: shorter(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [shorter(v) for v in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


def other_lines(path: str, key: dict) -> list[dict]:
    """The lines of a CSV file, if it is there, not of `key`. Raises UserError: damaged."""
    if not os.path.exists(path):
        return []
    with open(path, newline="", encoding="utf-8", errors="replace") as file:
        text = file.read()
    rows = list(csv.DictReader(io.StringIO(text)))
    if not text.endswith("\n") or any(
            None in (*row, *row.values()) or not key.keys() <= row.keys() for row in rows):
        raise UserError(f"{path} is damaged: delete it, then --resume; its lines are lost")
    return [row for row in rows if any(row[k] != v for k, v in key.items())]


def append_csv(path: str, key: dict, lines: list[dict]) -> None:
    """Adds `lines`, each with the columns of `key` before it; earlier lines of that key go."""
    key = {k: str(v) for k, v in key.items()}
    rows = other_lines(path, key)
    rows += [{**key, **{k: f"{v:.6g}" for k, v in line.items()}} for line in lines]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(k for row in rows for k in row)), restval="",
                            lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write(path, text.getvalue())


def load_checkpoint(path: str) -> dict | None:
    """On the CPU, where every process can read it; None where there is none."""
    try:
        return torch.load(path, map_location="cpu") if os.path.exists(path) else None
    except Exception as error:                   # a damaged file raises kinds of torch's own
        raise damaged(path, error)


def save_checkpoint(path: str, **what: object) -> None:
    data = io.BytesIO()
    torch.save(what, data)
    write(path, data.getvalue())
