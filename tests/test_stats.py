"""Statistics against simulation, enumeration and numbers worked by hand."""
import itertools

import numpy as np
import pytest

from bandit import pass_at
from demos.bootstrap import simulated
from experiment.stats import holm, interval, oracle, p_value, resampled, resampling_weights


@pytest.mark.assignment_10
@pytest.mark.parametrize("K", [1, 3])
def test_resampled_means_of_a_difference_are_the_difference_of_the_resampled_means(K):
    a, b = np.random.default_rng(7).random((2, K, 50))
    assert resampled(a - b, 99) == pytest.approx(resampled(a, 99) - resampled(b, 99), abs=1e-12)


@pytest.mark.assignment_10
def test_a_spread_over_seeds_is_in_the_interval_at_its_unbiased_size():
    by_seed = np.array([[0.2], [0.5], [0.8]]).repeat(300, 1)            # problems: all the same
    assert resampled(by_seed, 20000).std() == pytest.approx(0.3 / 3 ** 0.5, rel=0.02)
    assert resampled(by_seed[:1]).std() < 1e-12


@pytest.mark.assignment_10
@pytest.mark.parametrize("K, P, spread", [(1, 200, 0), (3, 500, 0.01)])
def test_the_interval_contains_the_true_mean_95_percent_of_the_time(K, P, spread):
    rng, inside = np.random.default_rng(3), 0
    for _ in range(1000):
        low, high = interval(simulated(rng, K, P, spread), resamples=400)
        inside += low <= 0.4 <= high
    assert 0.93 <= inside / 1000 <= 0.97


@pytest.mark.assignment_10
def test_p_values_are_uniform_where_there_is_no_difference_and_small_where_there_is():
    rng = np.random.default_rng(4)
    p = [p_value(rng.normal(0, 1, (1, 300))) for _ in range(400)]
    assert 0.02 < np.mean(np.array(p) < 0.05) < 0.09 and 0.4 < np.mean(p) < 0.6
    assert p_value(rng.normal(0.5, 1, (1, 300))) < 1e-10
    assert p_value(np.zeros((1, 9))) == 1 and p_value(np.ones((1, 9))) == 0


def test_holm_equals_a_hand_worked_example():
    # .01, .02, .03, .04 times 4, 3, 2, 1 = .04, .06, .06, .04, and none is below its forerunner
    assert holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1, 1] and holm([]) == []


@pytest.mark.assignment_9
def test_pass_at_equals_the_mean_over_all_choices_of_samples():
    rng = np.random.default_rng(5)
    for _ in range(20):
        rewards = (rng.random(6) < 0.3).astype(int)
        for B in range(1, 7):
            each = [max(x) for x in itertools.combinations(rewards, B)]
            assert pass_at(rewards, B) == pytest.approx(np.mean(each))


def test_the_oracle_does_not_take_luck_for_knowledge():
    rng = np.random.default_rng(6)
    alike = (rng.random((4000, 6, 8)) < 0.4).astype(np.uint8)                # arms do not differ
    assert oracle(alike, 1).mean() == pytest.approx(0.4, abs=0.01)
    assert pass_at(alike, 1).max(1).mean() > 0.6                             # the biased estimate
    rates = np.where(rng.random((4000, 1)) < 0.5, [[0.9, 0.1]], [[0.1, 0.9]])
    apart = (rng.random((4000, 2, 8)) < rates[..., None]).astype(np.uint8)
    assert oracle(apart, 1).mean() == pytest.approx(0.9, abs=0.02)


@pytest.mark.assignment_10
def testresampling_weights_are_whole_counts_of_seeds_and_of_problems_and_come_again():
    w, c = resampling_weights(3, 40, 2000)
    assert w.shape == (2000, 3) and c.shape == (2000, 40)
    assert w.sum(1) == pytest.approx(1) and c.sum(1) == pytest.approx(1)
    seeds, problems = 1 + 3 * (w - 1 / 3) / np.sqrt(1.5), 40 * c
    for counts in (seeds, problems):
        assert np.allclose(counts, np.round(counts))
    assert set(np.round(seeds).astype(int).ravel()) == {0, 1, 2, 3}
    assert resampled(np.zeros((2, 5)), 99).shape == (99,)
    w, c = resampling_weights(40, 40, 2000)
    assert not np.allclose(1 + 40 * (w - 1 / 40) / np.sqrt(40 / 39), 40 * c)   # drawn apart
    resampling_weights.cache_clear()
    assert all(np.array_equal(a, b) for a, b in zip(resampling_weights(40, 40, 2000), (w, c)))
