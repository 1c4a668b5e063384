"""What lies on disk: whole or absent, and refused where it does not fit."""
import os

import pytest
import torch

from experiment import adapters as store
from bandit import LinUCB, SoftmaxBandit
from experiment.reward_table import Arm
from decode import GREEDY, Strategy
from features import N_THRESHOLDS, CONTEXT_PARTS
from utils.errors import UserError
from pomdp import TokenPolicy
from experiment.adapters import arms_from_json, arms_to_json, load_adapter, save_adapter
from utils.files import append_csv, read_json, write

ARMS = [Arm("cot", GREEDY), Arm("direct", Strategy(1.5, 2, 0.8, 0.1)), Arm("cot", Strategy(), True)]


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


def adapters(lm):
    torch.manual_seed(0)
    token = TokenPolicy(lm.d, 40, ("hidden", "budget"))
    soft, lin = SoftmaxBandit(lm.d + 2 * N_THRESHOLDS, 3), LinUCB(lm.d + 2 * N_THRESHOLDS, 3)
    lin.update(torch.randn(lm.d + 2 * N_THRESHOLDS), 1, 1.0)
    return {"token": (token, token.state_dict(), {"horizon": 40, "parts": ["hidden", "budget"]}),
            "softmax": (soft, soft.state_dict(), {"arms": arms_to_json(ARMS), "parts": CONTEXT_PARTS}),
            "linucb": (lin, lin.state_dict(), {"arms": arms_to_json(ARMS), "parts": CONTEXT_PARTS})}


@pytest.mark.parametrize("kind", ["token", "softmax", "linucb"])
def test_an_adapter_comes_back_as_it_was(lm, tmp_path, kind):
    adapter, tensors, about = adapters(lm)[kind]
    path = str(tmp_path / "a.safetensors")
    save_adapter(path, tensors, kind, lm, **about)
    again, config = load_adapter(path, lm)
    x = torch.randn(4, lm.d + 2 * N_THRESHOLDS)
    assert all(torch.equal(v, again.state_dict()[k]) for k, v in tensors.items())
    if kind == "token":
        assert again.parts == ("hidden", "budget") and again.horizon == 40
    else:
        assert torch.equal(adapter(x), again(x)) and arms_from_json(config["arms"]) == ARMS


def test_an_adapter_of_another_lm_or_action_set_is_refused(lm, tmp_path, monkeypatch):
    _, tensors, about = adapters(lm)["token"]
    path = str(tmp_path / "a.safetensors")
    save_adapter(path, tensors, "token", lm, **about)
    monkeypatch.setattr(store, "TEMPERATURES", (0.0, 0.7))
    with pytest.raises(UserError, match="for the actions"):
        load_adapter(path, lm)
    monkeypatch.undo()
    weight = lm.model.model.norm.weight
    before = weight[0].item()
    weight[0] += 1
    try:
        with pytest.raises(UserError, match="was trained for the LM"):
            load_adapter(path, lm)
    finally:
        weight[0] = before
    load_adapter(path, lm)


def test_files_that_are_no_adapters_are_named(lm, tmp_path):
    (tmp_path / "empty.safetensors").write_bytes(b"")
    for name in ("empty.safetensors", "missing.safetensors"):
        with pytest.raises(UserError, match=name):
            load_adapter(str(tmp_path / name), lm)
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
