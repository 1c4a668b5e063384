"""Features against numbers worked by hand."""
import math
import re

import pytest
import torch

from demos.observation import show
from features import (N_THRESHOLDS, OBSERVATION_PARTS, P_MAX_COLUMN, context, distribution_features,
                      observation_size, observe, soft_thresholds)


def test_distribution_of_known_probabilities():
    p = torch.tensor([[0.5, 0.25, 0.125, 0.125], [1.0, 0, 0, 0]])
    d = distribution_features(p.log())
    assert d[0].tolist() == pytest.approx([1.75 * math.log(2), 0.5, 0.25, 0.125])
    assert d[1].tolist() == [0, 1, 0, 0] and d[0, P_MAX_COLUMN] == 0.5


def test_distribution_does_not_change_with_a_constant_added_to_the_logits():
    logits = torch.randn(5, 30)
    shifted = distribution_features(logits + 7)
    assert torch.allclose(distribution_features(logits), shifted, atol=1e-5)


def test_soft_thresholds_are_thresholds_that_rise_one_after_the_other():
    s = soft_thresholds(torch.tensor([0.0, 26.0, 52.0]), 52)          # centres 0, 4, .. 52; w = 1.5
    assert s.shape == (3, N_THRESHOLDS)
    assert s[0, 0] == 0.5 and s[1, 6].item() == pytest.approx(1 / (1 + math.exp(-2 / 1.5)))
    assert (s[2, :-1] > 0.9).all() and (s.diff(dim=1) <= 0).all()


def test_each_part_of_the_observation_can_be_switched_off():
    h, e, dist = torch.randn(3, 8), torch.randn(3, 8), torch.rand(3, 4)
    left = soft_thresholds(torch.tensor([1, 5, 9]), 40)
    for off in OBSERVATION_PARTS:
        parts = [p for p in OBSERVATION_PARTS if p != off]
        assert observe(h, e, dist, left, parts).shape == (3, observation_size(8, parts))
    a = observe(h, e, dist, left, ["hidden"])
    assert torch.equal(a, observe(h, e + 1, dist + 1, left + 1, ["hidden"]))


def test_context_tells_parallel_and_token_budgets_apart():
    e = torch.randn(1, 8).repeat(4, 1)
    x = context(e, torch.tensor([1, 2, 1, 2]), torch.tensor([16, 16, 32, 32]), 52)
    assert x.shape == (4, 8 + 2 * N_THRESHOLDS)
    assert all((x[i] - x[j]).abs().max() > 0.3 for i in range(4) for j in range(i))


def test_the_program_shows_every_token_and_two_ways_at_the_forks_alone():
    lines = show("7+8+5:", 24)
    assert "".join(line[0] for line in lines[:-1]) == "7+8=15;15+5=20#20"
    assert lines[-1].startswith("<eos>")
    forks = {i: line.split("decision: ")[1] for i, line in enumerate(lines) if "decision" in line}
    assert forks == {4: "1 or ?", 6: "; or #", 12: "2 or ?"}
    left = [int(re.findall(r" (\d+)  [ ▁-█]{14}", line)[0]) for line in lines]
    assert left == [*range(24, 6, -1)]
