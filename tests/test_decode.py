"""Contracts 1-3 and 5-7 of the decode loop: equivalences and exact distributions."""
import gc
from functools import partial

import pytest
import torch
from transformers import (GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM,
                          MinPLogitsWarper, Qwen3Config, Qwen3ForCausalLM, TemperatureLogitsWarper,
                          TopKLogitsWarper, TopPLogitsWarper)

from decode import (FULL_SORT, GREEDY, Choice, Strategy, probs, rollout, rollout_simple, sample,
                    static, strategy_pool, top_k_top_p)
from demos.sampler import demonstrate
from lm import LM
from pomdp import TokenPolicy
from utils.errors import UserError
from utils.fast_filters import rank_few
from utils.growing import FIRST, GrowingRows
from utils.prefixes import shared_prefixes
from utils.kv_cache import KVCache
from utils.random_streams import prompt_key, row_keys, uniform_table, uniforms

PROMPTS = ["7+8+5+9:", "3+4+5:", "12+13+14+15+16+17+18+19+3:", "9+9+9?", "11+4+6+7+8:"]


def run(lm, prompts, strategies, n=1, budget=52, **options):
    ids = [lm.encode(p) for p in prompts]
    keys = torch.tensor([prompt_key(p) for p in prompts])
    rows = len(prompts) * n
    budgets = budget if torch.is_tensor(budget) else torch.full((rows,), budget)
    return rollout(lm, ids, static(torch.tensor(strategies)), budgets, keys, n=n, **options)


def warped(logits, s):
    """transformers' own warpers on one row."""
    if s.temperature == 0:
        return torch.nn.functional.one_hot(logits.argmax(-1), logits.shape[-1]).float()
    x = TemperatureLogitsWarper(s.temperature)(None, logits)
    x = TopKLogitsWarper(s.top_k)(None, x) if s.top_k else x
    x = TopPLogitsWarper(s.top_p)(None, x) if s.top_p < 1 else x
    x = MinPLogitsWarper(s.min_p)(None, x) if s.min_p else x
    return x.softmax(-1)


@pytest.mark.assignment_1
@pytest.mark.parametrize("V, spread", [(50, 3), (1000, 8), (1000, 0.5), (5000, 8)])
def test_probs_equal_transformers_warpers_in_a_mixed_batch(V, spread):
    strategies = [Strategy(t, k, p, m) for t in (0, 0.5, 1.0, 1.5) for k in (0, 1, 3, 500)
                  for p in (0.0, 0.1, 0.9, 1.0) for m in (0.0, 0.1, 0.5)]
    logits = torch.randn(len(strategies), V, generator=torch.Generator().manual_seed(1)) * spread
    ours = probs(logits, torch.tensor(strategies))
    theirs = torch.cat([warped(logits[i:i + 1], s) for i, s in enumerate(strategies)])
    assert (ours - theirs).abs().max() < 1e-6
    alone = torch.cat([probs(logits[i:i + 1], torch.tensor([s])) for i, s in enumerate(strategies)])
    assert torch.equal(ours, alone)


@pytest.mark.assignment_1
def test_all_ties_at_top_k_stay_as_in_transformers():
    flat = torch.zeros(1, 1000)
    flat[0, 3] = 1.0
    assert (probs(flat, torch.tensor([Strategy(1.0, 5)])) > 0).sum() == 1000
    assert (warped(flat, Strategy(1.0, 5)) > 0).sum() == 1000


@pytest.mark.assignment_1
@pytest.mark.parametrize("V", [5, 3000])
def test_probabilities_of_no_numbers_are_none(V):
    logits = torch.zeros(6, V)
    logits[:3, 2] = torch.nan
    strategies = torch.tensor([GREEDY, Strategy(1.0), Strategy(0.7, 5, 0.9, 0.1)] * 2)
    assert probs(logits, strategies).isnan().any(1).tolist() == [True] * 3 + [False] * 3


def test_sampled_frequencies_are_the_probabilities():
    p = torch.tensor([0.5, 0.0, 0.3, 0.15, 0.05])
    rows = 40_000
    keys = row_keys(3, torch.arange(rows), torch.zeros(rows, dtype=torch.long))
    y = sample(p.repeat(rows, 1), uniforms(keys, torch.tensor(0), 0))
    share = y.bincount(minlength=5) / rows
    assert sample(torch.tensor([[0.0, 1.0]]), torch.zeros(1)) == 1         # never what cannot be
    assert share[1] == 0
    assert ((share - p).abs() < 4 * (p * (1 - p) / rows).sqrt() + 1e-9).all()


def test_streams_are_uniform_and_do_not_repeat():
    keys = row_keys(0, torch.arange(200).repeat_interleave(50), torch.arange(50).repeat(200))
    u = torch.stack([uniforms(keys, torch.tensor(t), s) for t in range(5)
                     for s in (0, 1)])                                                # (10, 10_000)
    assert abs(u.mean() - 0.5) < 0.005 and abs(u.var() - 1 / 12) < 0.002
    assert torch.corrcoef(u).triu(1).abs().max() < 0.05                            # 5 sigma
    assert len(keys.unique()) == len(keys)


def test_the_table_of_uniforms_has_both_streams_of_each_step():
    keys = row_keys(0, torch.arange(3), torch.arange(3))
    table = uniform_table(keys, 4)
    assert table.shape == (3, 2, 5)
    for stream in (0, 1):
        for t in range(5):
            assert torch.equal(table[:, stream, t], uniforms(keys, torch.tensor(t), stream))


# ---- top-k and top-p: the plain function and the fast one ---------------------------------------
def mixed_filters(R, generator):
    """top_k (R, 1) and top_p (R, 1), each off in a third of the rows, and wide in some."""
    top_k = torch.tensor([0, 0, 1, 5, 200, 256, 300, 4096, 9000])
    top_p = torch.tensor([1.0, 1.0, 0.0, 0.3, 0.9, 0.95, 0.999])
    k = top_k[torch.randint(len(top_k), (R, 1), generator=generator)]
    p = top_p[torch.randint(len(top_p), (R, 1), generator=generator)]
    return k, p


def many_logits(V, R, generator):
    """Rows from flat to peaked; the second half is rounded, so that most values are tied."""
    spread = torch.logspace(-1, 1.2, R)[torch.randperm(R, generator=generator), None]
    x = torch.randn(R, V, generator=generator) * spread
    x[R // 2:] = x[R // 2:].round(decimals=1)
    x[::7, V // 2:] = -torch.inf                              # as a padded vocabulary has it
    return x


@pytest.mark.parametrize("V", [30, 300, 5000, 20_000])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_fast_filters_keep_what_the_plain_ones_keep(V, seed):
    generator = torch.Generator().manual_seed(seed)
    x = many_logits(V, 96, generator)
    k, p = mixed_filters(96, generator)
    before = x.clone()
    plain = top_k_top_p(x, k, p)
    assert torch.equal(rank_few(top_k_top_p, x, k, p), plain) and torch.equal(x, before)
    assert len((plain > -torch.inf).sum(1).unique()) > 10             # few are kept, or many


def test_top_k_cuts_first_where_its_ties_lie_beyond_the_candidates():
    """One likely token and 4,999 ties at the 5th place: their mass decides whether they stay."""
    x = torch.zeros(1, 5000)
    x[0, 77] = 8.0                              # .37 of the mass, and .92 of 256 tokens' mass
    five, half = torch.tensor([[5]]), torch.tensor([[0.5]])
    kept = top_k_top_p(x, five, half) > -torch.inf
    assert kept.sum() > 600 and torch.equal(rank_few(top_k_top_p, x, five, half) > -torch.inf, kept)


def test_the_fast_filters_seldom_sort_whole_rows():
    sizes = []

    def plain(x, top_k, top_p):
        sizes.append(tuple(x.shape))
        return top_k_top_p(x, top_k, top_p)

    x = torch.randn(100, 20_000, generator=torch.Generator().manual_seed(0)) * 6
    x[17] /= 60                                           # one flat row, whose top-p needs them all
    rank_few(plain, x, torch.zeros(100, 1).long(), torch.full((100, 1), 0.9))
    assert sizes == [(100, 256), (1, 4096), (1, 20_000)]
    sizes.clear()
    rank_few(plain, x, torch.zeros(100, 1).long(), torch.ones(100, 1))
    assert sizes == []                                                        # nothing to filter


@pytest.mark.parametrize("V", [24, 1000, 6000])
def test_probabilities_do_not_depend_on_the_neighbours_in_their_last_bit(V):
    """Neighbours that need a longer look, or none, change neither the kept tokens nor their p."""
    assert 24 < FULL_SORT < 6000
    pool = torch.tensor(strategy_pool() + [Strategy(1.0, 300), Strategy(5.0, 0, 0.99)])
    for seed in range(4):
        generator = torch.Generator().manual_seed(seed)
        logits = many_logits(V, 64, generator).bfloat16()      # 8 bits: most logits are tied
        strategies = pool[torch.randint(len(pool), (64,), generator=generator)]
        together = probs(logits, strategies)
        for rows in torch.randperm(64, generator=generator).split([1] * 40 + [7, 17]):
            assert torch.equal(probs(logits[rows], strategies[rows]), together[rows])


def small(config, model, vocabulary=50):
    torch.manual_seed(2)
    return model(config(vocab_size=vocabulary, hidden_size=32, intermediate_size=64,
                        num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
                        head_dim=8, max_position_embeddings=128, eos_token_id=1, pad_token_id=0,
                        initializer_range=0.5))


class Letters:
    """The least a tokenizer must do for `rollout`: a length and an end token."""
    eos_token_id = 1

    def __init__(self, size):
        self.size = size

    def __len__(self):
        return self.size


@pytest.mark.parametrize("config, model", [(LlamaConfig, LlamaForCausalLM),
                                           (Qwen3Config, Qwen3ForCausalLM)])
def test_greedy_equals_generate_for_left_padded_prompts(config, model):
    model = small(config, model)
    lm = LM(model, Letters(50))
    prompts = [[5, 6, 7], [8], [9, 10, 11, 12, 13, 14, 2], [3, 3]]
    ours = rollout(lm, prompts, static(torch.tensor([GREEDY] * 4)), torch.full((4,), 20),
                   torch.arange(4))
    for prompt, episode in zip(prompts, ours):
        theirs = model.generate(torch.tensor([prompt]), max_new_tokens=20, do_sample=False,
                                attention_mask=torch.ones(1, len(prompt), dtype=torch.long))
        assert episode.tokens.tolist() == theirs[0, len(prompt):].tolist()


# ---- the simple loop is the oracle of the fast one ----------------------------------------------
ARCHITECTURES = [(LlamaConfig, LlamaForCausalLM), (Qwen3Config, Qwen3ForCausalLM)]
SHARED = [[7, 8, 9, 10] * 5, [30, 31, 32] * 6]               # beginnings of 20 and 18 tokens


def same_episodes(simple, fast):
    assert len(simple) == len(fast)
    for a, b in zip(simple, fast):
        assert (a.prompt, a.sample, a.budget) == (b.prompt, b.sample, b.budget)
        assert torch.equal(a.tokens, b.tokens) and a.truncated == b.truncated
        assert torch.equal(a.action, b.action)
        assert torch.equal(a.decision_steps, b.decision_steps)
        assert torch.allclose(a.logp, b.logp, rtol=0, atol=1e-4)
        assert torch.allclose(a.h, b.h, atol=1e-4) and torch.allclose(a.e, b.e, atol=1e-4)
        assert torch.allclose(a.distribution, b.distribution, atol=1e-4)


@pytest.mark.parametrize("config, model", ARCHITECTURES)
@pytest.mark.parametrize("kind", ["static", "token"])
def test_rollout_gives_the_episodes_of_the_simple_loop(config, model, kind):
    """Contract 9: mixed budgets, shared beginnings, more rows than slots."""
    lm = LM(small(config, model), Letters(50))
    prompts = [SHARED[0] + [5, 6], [8], SHARED[0] + [3], [9, 10, 11, 12], SHARED[1] + [4, 4, 4],
               SHARED[1] + [2], SHARED[0] + [14, 15, 16]]
    n, T = 4, 24
    generator = torch.Generator().manual_seed(3)
    budgets = torch.randint(1, T + 1, (len(prompts) * n,), generator=generator)
    keys = torch.tensor([prompt_key(str(prompt)) for prompt in prompts])
    if kind == "static":
        pool = torch.tensor(strategy_pool())
        policy = static(pool[torch.randint(len(pool), (len(budgets),), generator=generator)])
    else:
        torch.manual_seed(5)
        actor = TokenPolicy(lm.d, T)
        torch.nn.init.normal_(actor.actor[-1].weight)
        policy = partial(actor, explore=True)
    simple = rollout_simple(lm, prompts, policy, budgets, keys, n=n, seed=9)
    for rows in (28, 5, 1):
        same_episodes(simple, rollout(lm, prompts, policy, budgets, keys, n=n, seed=9, rows=rows))
    # The case is worth its name: some rows end, some are truncated, and actions differ
    assert {episode.truncated for episode in simple} == {True, False}
    assert len({len(episode.tokens) for episode in simple}) > 5
    if kind == "token":
        assert len(torch.cat([episode.action for episode in simple]).unique()) == 4
        assert sum(len(episode.decision_steps) for episode in simple) > 50


def test_the_simple_loop_gives_the_small_lms_completions_too(lm):
    ids = [lm.encode(prompt) for prompt in PROMPTS]
    keys = torch.tensor([prompt_key(prompt) for prompt in PROMPTS])
    policy = static(torch.tensor([Strategy(1.0), Strategy(0.7, 5, 0.9)] * 10))
    budgets = torch.arange(3, 63, 3)
    simple = rollout_simple(lm, ids, policy, budgets, keys, n=4)
    same_episodes(simple, rollout(lm, ids, policy, budgets, keys, n=4, rows=6))


def test_a_completion_does_not_depend_on_its_neighbours(lm):
    strategies = [Strategy(1.0), GREEDY, Strategy(1.5, 0, 1.0, 0.1), Strategy(0.7, 5, 0.9)]
    rows = [strategies[i % 4] for i in range(len(PROMPTS) * 3)]
    together = run(lm, PROMPTS, rows, n=3)
    for rows_at_once in (1, 2, 7):
        apart = run(lm, PROMPTS, rows, n=3, rows=rows_at_once)
        assert all(torch.equal(a.tokens, b.tokens) for a, b in zip(together, apart))
    alone = run(lm, PROMPTS[2:3], rows[6:9], n=3)
    assert all(torch.equal(a.tokens, b.tokens) for a, b in zip(together[6:9], alone))


def test_cached_hidden_state_equals_uncached(lm):
    seen = {}

    def watch(state):
        for r, h, left in zip(state.row.tolist(), state.h, state.tokens_left.tolist()):
            seen[r, 52 - left] = h.clone()
        return Choice(torch.tensor([Strategy(1.0)] * len(state.row)))

    ids = [lm.encode(p) for p in PROMPTS]
    episodes = rollout(lm, ids, watch, torch.full((5,), 52), torch.arange(5))
    for i, episode in enumerate(episodes):
        whole = torch.tensor([ids[i] + episode.tokens.tolist()])
        lm.model(whole, logits_to_keep=0)
        hidden = lm.model.model(whole).last_hidden_state[0]
        for t in range(len(episode.tokens)):
            assert (seen[i, t] - hidden[len(ids[i]) - 1 + t]).abs().max() < 1e-4
        assert (episode.e - hidden[len(ids[i]) - 1]).abs().max() < 1e-4


def test_padded_vocabulary_is_never_sampled():
    lm = LM(small(LlamaConfig, LlamaForCausalLM, 64), Letters(10))
    flat = torch.tensor([Strategy(50.0)] * 200)
    episodes = rollout(lm, [[3, 4]], static(flat), torch.full((200,), 8), torch.tensor([0]), n=200)
    drawn = torch.cat([e.tokens for e in episodes])
    assert drawn.max() == 9 and len(drawn) > 500


def test_each_row_has_its_own_budget_and_running_out_is_marked(lm):
    budgets = torch.tensor([1, 5, 60, 12, 3])
    episodes = run(lm, PROMPTS, [GREEDY] * 5, budget=budgets)
    assert all(len(e.tokens) <= b for e, b in zip(episodes, budgets.tolist()))
    assert [e.truncated for e in episodes] == [e.tokens[-1].item() != 1 for e in episodes]
    assert episodes[0].truncated and len(episodes[0].tokens) == 1
    longer = run(lm, PROMPTS, [GREEDY] * 5, budget=60)
    for short, long in zip(episodes, longer):
        assert torch.equal(short.tokens, long.tokens[:len(short.tokens)])


def test_bad_budgets_and_prompts_are_refused(lm):
    greedy = static(torch.tensor([GREEDY]))
    for loop in (rollout, rollout_simple):
        with pytest.raises(UserError, match="budget must be at least 1, not 0"):
            loop(lm, [[3]], greedy, torch.tensor([0]), torch.tensor([0]))
        with pytest.raises(UserError, match="no tokens"):
            loop(lm, [[]], greedy, torch.tensor([4]), torch.tensor([0]))


def test_the_language_model_is_frozen(lm):
    assert not any(p.requires_grad for p in lm.model.parameters())


def test_decisions_do_not_depend_on_the_rows_that_decode_at_once(lm):
    torch.manual_seed(5)
    policy = TokenPolicy(lm.d, 60)
    torch.nn.init.normal_(policy.actor[-1].weight)
    ids = [lm.encode(p) for p in PROMPTS]
    budgets = torch.randint(1, 60, (30,), generator=torch.Generator().manual_seed(6))
    runs = [rollout(lm, ids, partial(policy, explore=True), budgets, torch.arange(5), 6, rows=rows)
            for rows in (30, 8, 5, 1)]
    for some in runs[1:]:
        for a, b in zip(runs[0], some):
            assert torch.equal(a.tokens, b.tokens) and torch.equal(a.action, b.action)
            assert torch.equal(a.decision_steps, b.decision_steps) and a.truncated == b.truncated
            assert torch.allclose(a.h, b.h, atol=1e-4) and torch.allclose(a.e, b.e, atol=1e-4)
            assert torch.allclose(a.logp, b.logp, atol=1e-4)
    assert sum(len(x.decision_steps) for x in runs[0]) > 50
    assert all((x.decision_steps < len(x.tokens)).all() for x in runs[0])


def test_on_end_is_called_once_for_every_row_with_its_tokens(lm):
    ended = []
    ids = [lm.encode(p) for p in PROMPTS]
    episodes = rollout(lm, ids, static(torch.tensor([Strategy(1.0)] * 20)), torch.full((20,), 40),
                       torch.arange(5), 4, rows=6, on_end=lambda i, y: ended.append((i, y)))
    assert sorted(i for i, _ in ended) == list(range(20)) != [i for i, _ in ended]
    assert all(torch.equal(y, episodes[i].tokens) for i, y in ended)


def test_a_slot_is_filled_again_as_soon_as_enough_are_empty(lm, monkeypatch):
    """64 completions of 20 tokens beside one of 52, 8 at once: 8 x 20 + ~32 steps, not 8 x 52."""
    calls = []
    forward = lm.forward
    monkeypatch.setattr(lm, "forward", lambda ids, *rest: calls.append(ids) or forward(ids, *rest))
    monkeypatch.setattr(lm, "ends", lm.ends[:0])
    budgets = torch.full((64,), 20)
    budgets[::8] = 52
    rollout(lm, [lm.encode("7+8+5+9:")] * 64, static(torch.tensor([GREEDY] * 64)), budgets,
            torch.arange(64), rows=8)
    steps = [ids for ids in calls if ids.shape[1] == 1]
    assert sum(map(len, steps)) < 1.15 * (budgets.sum() - 64)        # rows computed in vain: few
    calls.clear()
    rollout(lm, [lm.encode("7+8+5+9:")] * 64, static(torch.tensor([GREEDY] * 64)), budgets,
            torch.arange(64), rows=64)
    assert sum(map(len, calls)) < 1.15 * budgets.sum()               # nothing waits: slots close


def test_an_empty_slot_has_no_position_beyond_what_the_lm_reads():
    torch.manual_seed(2)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=50, n_embd=16, n_layer=1, n_head=2,
                                       n_positions=14, eos_token_id=1))
    budgets = [6] * 15 + [7] + [11] * 20        # the 16th is alone in having ended, for 10 steps
    greedy = static(torch.tensor([GREEDY] * 36))
    episodes = rollout(LM(model, Letters(50)), [[5, 6, 7]] * 36, greedy,
                       torch.tensor(budgets), torch.arange(36), rows=16)
    assert [len(x.tokens) for x in episodes] == budgets


def test_prompts_of_one_beginning_stay_together_and_share_it():
    chat, work, once = list(range(9)), list(range(30, 60)), list(range(70, 110))
    prompts = [chat + once + [1, 3], chat + work + [2], chat + once + [4], chat + work + [1], [3]]
    order, shared = shared_prefixes(prompts)
    assert order == [3, 1, 0, 2, 4] and shared == [49, 39, 49, 39, 0]
    assert shared_prefixes([[1, 2]] * 3)[1] == [0] * 3                # fewer than 16: not worth it


def test_a_shared_beginning_is_computed_once_a_call(lm, monkeypatch):
    calls = []
    forward = lm.forward
    monkeypatch.setattr(lm, "forward", lambda ids, *rest: calls.append(ids) or forward(ids, *rest))
    shots = lm.encode("1+2:1+2=3#3;" * 4)
    ids = [shots + lm.encode(p) for p in PROMPTS * 4]
    rollout(lm, ids, static(torch.tensor([GREEDY] * 20)), torch.full((20,), 9), torch.arange(20),
            rows=4)
    assert sum(x.shape[1] >= len(shots) for x in calls) == 1


def test_logits_that_are_no_numbers_stop_the_run_and_name_the_row(lm, monkeypatch):
    forward = lm.forward

    def broken(ids, *rest):
        logits = forward(ids, *rest)
        if ids.shape[1] == 1:
            logits[3] = torch.nan
        return logits

    monkeypatch.setattr(lm, "forward", broken)
    for strategy in (GREEDY, Strategy(1.0), Strategy(0.7, 5, 0.9, 0.1)):
        with pytest.raises(UserError, match="token 2 of sample 1 of prompt 2"):
            run(lm, PROMPTS, [strategy] * 10, n=2)


def test_a_policy_whose_strategy_leaves_no_token_is_blamed_and_not_the_lm(lm):
    def policy(state):
        return Choice(torch.tensor([[1.0, 0, 1.0, 1.5]]).expand(len(state.logits), 4), True)

    with pytest.raises(UserError, match="strategy leaves no token at token 1 of sample 0"):
        rollout(lm, [lm.encode("7+8:")], policy, torch.tensor([9]), torch.tensor([0]))


def test_the_lm_has_one_kv_cache_whatever_the_calls(lm):
    gc.collect()
    gc.disable()                               # a cycle of objects would wait for the collector
    try:
        alone = [run(lm, PROMPTS[:1], [GREEDY], budget=T)[0].tokens for T in (60, 8)]
        run(lm, PROMPTS * 9, [GREEDY] * 45, budget=70)                         # a larger one
        again = [run(lm, PROMPTS[:1], [GREEDY], budget=T)[0].tokens for T in (60, 8)]
        assert sum(isinstance(x, KVCache) for x in gc.get_objects()) == 1
        assert all(torch.equal(a, b) for a, b in zip(alone, again))            # emptied each time
    finally:
        gc.enable()


def test_in_bf16_the_frequencies_are_those_of_the_uncached_lm():
    """Completions may differ with the batch there; their distribution does not."""
    lm = LM.load("tiny", device="cpu", dtype="bfloat16")
    prompt, n = lm.encode("7+8+5+9:7+8=15"), 3000
    for rows in (n, 200):                                                # at once, and in turns
        episodes = rollout(lm, [prompt], static(torch.tensor([Strategy(1.5)] * n)),
                           torch.full((n,), 3), torch.tensor([4]), n, rows=rows)
        completions = [x.tokens.tolist() for x in episodes]
        for start in ([], completions[0][:1], completions[0][:2]):
            logits = lm.model(torch.tensor([prompt + start])).logits[0, -1, :len(lm.tokenizer)]
            p = (logits.float() / 1.5).softmax(-1)
            drawn = [x[len(start)] for x in completions
                     if x[:len(start)] == start and len(x) > len(start)]
            share = torch.tensor(drawn).bincount(minlength=len(p)) / len(drawn)
            error = 4.5 * (p * (1 - p) / len(drawn)).sqrt() + 0.005             # bf16: 8 bits
            assert len(drawn) > 50 and ((share - p).abs() < error).all()


def test_the_program_draws_a_histogram_within_the_error_of_the_exact_probabilities(capsys):
    worst = demonstrate()
    *_, rare, last = capsys.readouterr().out.splitlines()
    assert 0.5 < worst < 3.5 and last.endswith(f"{worst:.1f} standard errors")
    assert [x for x in rare.split() if "." in x][4:] == ["0.000"] * 6          # what is cut off


def test_rows_that_arrive_a_few_at_a_time_are_those_of_all_laid_end_to_end():
    generator = torch.Generator().manual_seed(0)
    parts, rows = [], GrowingRows()
    for F in (0, 3, FIRST, 1, 5 * FIRST, 0, 7):
        h = torch.randn(F, 5, generator=generator).bfloat16()
        parts.append((torch.arange(F), h))
        rows.add(*parts[-1])
        for field, all_parts in zip(rows.fields(), zip(*parts)):
            assert torch.equal(field, torch.cat(all_parts))
            assert field.dtype == all_parts[0].dtype


@pytest.mark.assignment_1
def test_probs_where_ties_and_extremes_meet():
    assert probs(torch.tensor([[1.0, 2, 2]]), torch.tensor([GREEDY])).tolist() == [[0, 1, 0]]
    only = probs(torch.tensor([[4.0, 2, 1]]).log(), torch.tensor([Strategy(1.0, min_p=1.0)]))
    assert only.tolist() == [[1, 0, 0]]
    assert (probs(torch.tensor([[20.0, 0, -5]]), torch.tensor([Strategy()])) > 0).all()
