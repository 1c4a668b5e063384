"""Files on disk are whole or absent; a damaged one is named."""
import os

import pytest

from utils.errors import UserError
from utils.files import append_csv, read_json, write


def test_a_write_that_fails_leaves_the_old_file_whole(tmp_path, monkeypatch):
    path = str(tmp_path / "file")
    write(path, "old")

    def breaks(number):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", breaks)
    with pytest.raises(UserError, match="No space left"):
        write(path, "new")
    assert open(path).read() == "old" and os.listdir(tmp_path) == ["file"]
    with pytest.raises(UserError, match="cannot write"):
        write(str(tmp_path / "missing" / "file"), "x")


def test_a_json_file_that_is_missing_or_damaged_is_named(tmp_path):
    with pytest.raises(UserError, match="train.py makes"):
        read_json(str(tmp_path / "config.json"))
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(UserError, match="config.json .*: delete it"):
        read_json(str(tmp_path / "config.json"))


def test_csv_lines_of_one_key_are_replaced_and_columns_join(tmp_path):
    path = str(tmp_path / "m.csv")
    append_csv(path, {"adapter": "a", "seed": 0}, [{"step": 0, "reward": 0.5}])
    append_csv(path, {"adapter": "b", "seed": 0}, [{"step": 0, "kl": 0.25}])
    append_csv(path, {"adapter": "b", "seed": 0}, [{"step": 1, "kl": 0.125}])
    assert open(path).read() == "adapter,seed,step,reward,kl\na,0,0,0.5,\nb,0,1,,0.125\n"
    assert not os.path.exists(path + ".tmp")
