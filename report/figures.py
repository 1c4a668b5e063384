"""Figures of a run, each made from the files of its folder alone.

    python -m report.figures runs/sums               # PNG and SVG into runs/sums/figures/

A figure is a function of `Data`; its docstring is its caption on the page (page.py). If a run does
not have what a figure needs, one line says so. Needs matplotlib, which is optional.

    regret after j steps of m pulls    m sum_{i <= j} (bound - r_i)     r_i: mean reward of step i

What they share is in plots.py.
"""
from utils.cli import run_program                    # first: Ctrl-C while torch loads gets one line

import io
import os
from collections import Counter
from typing import Callable, Iterable

import numpy as np

from pomdp import TEMPERATURES
from report.plots import (ACTIONS, LOOK, LOOKS, STYLE, Figure, finish, matplotlib, panels,
                          plot_rows, plot_seeds, running_mean, shown)
from report.run_data import Data, Missing
from utils.errors import UserError
from utils.files import write
from utils.options import Parser

PULLS = {"softmax": 256, "linucb": 16}          # of a step: batch of train_softmax, train_linucb
HATCHES = ("", "....", "xxxx", "////")           # of bars, for grey


# ---- the figures --------------------------------------------------------------------------------
def accuracy(data: Data) -> "Figure":
    """Pass@1 on held-out problems against the token budget T, with 95 % bands over problems and
    training seeds. A panel holds policies that ask in the same prompt styles. Higher is better; the
    gap above best static is what adapting gains."""
    budgets = data.results["about"]["budgets"]
    cells = {T: f"pass@1[{t}]" for t, T in enumerate(budgets)}
    names = ("optimum, knows the answer", "scripted oracle", "both levels", "token level",
             "softmax bandit", "best static", "greedy")
    figure, axes = panels_of_styles(data, names, cells, 4.2)
    for ax in axes[0]:
        ax.set_xticks(budgets)
    return finish(figure, axes, "token budget T, tokens", "Pass@1, % of problems")


def pass_at_k(data: Data) -> "Figure":
    """Pass@k against the number k of completions of a problem, at the middle token budget, with
    95 % bands; a panel holds policies that ask in the same prompt styles. Where the lines meet,
    many samples do as well as a good choice."""
    budgets, ks = data.results["about"]["budgets"], (1, 2, 4, 8)
    t = len(budgets) // 2
    names = ("both levels", "token level", "softmax bandit", "best static")
    figure, axes = panels_of_styles(data, names, {k: f"pass@{k}[{t}]" for k in ks}, 4.0)
    for ax in axes[0]:
        ax.set_xscale("log", base=2)
        ax.set_xticks(ks, ks)
    x = f"k, completions of a problem (T = {budgets[t]} tokens)"
    return finish(figure, axes, x, "Pass@k, % of problems", 2)


def panels_of_styles(data: Data, names: Iterable[str], cells: dict, height: float
                     ) -> tuple["Figure", np.ndarray]:
    """These table rows in a panel for each set of prompt styles; cells: as in Data.points."""
    style_sets = list(data.results["selection"])
    width = 6.6 if len(style_sets) == 1 else 8.4
    figure, axes = panels(1, len(style_sets), width, height, sharey=True)
    for ax, styles in zip(axes[0], style_sets):
        plot_rows(data, ax, names, cells, styles)
        if len(style_sets) > 1:
            ax.set_title(shown(styles), fontsize=9)
    return figure, axes


def coverage(data: Data) -> "Figure":
    """coverage(S), the mean over contexts of the reward of the best strategy in S, as S grows. S is
    chosen by greedy coverage, or as the top |S| by average reward; the gap between the two lines is
    what diversity is worth."""
    figure, axes = panels(1, 1, 6.6, 3.8)
    looks = iter(LOOKS)
    for styles, selected in data.results["selection"].items():
        for key, how in (("coverage", "greedy coverage"), ("top_average", "top |S| by average")):
            sizes = range(1, len(selected[key]) + 1)
            label = f"{how}, {shown(styles)}"
            axes[0, 0].plot(sizes, selected[key], **next(looks), label=label)
    axes[0, 0].xaxis.get_major_locator().set_params(integer=True)
    return finish(figure, axes, "|S|, strategies in the action set",
                  "coverage(S), mean reward of the best", 2)


def training(data: Data) -> "Figure":
    """The training of the token level. Above: how often it takes each action. Below: the reward of
    its most likely actions on fixed validation problems. Thick lines are means over the training
    seeds, thin lines are single seeds."""
    figure, axes = panels(2, 1, 6.6, 5.2, sharex=True, height_ratios=(3, 2))
    for temperature, name, look in zip(TEMPERATURES, ACTIONS, LOOKS):
        curves = data.curves("token", f"share_tau{temperature:g}")
        plot_seeds(axes[0, 0], [(x, 100 * y) for x, y in curves], look, name)
    plot_seeds(axes[1, 0], data.curves("token", "validation"), LOOKS[4], "validation")
    axes[0, 0].set_ylabel("share of decisions, %")
    return finish(figure, axes, "iteration of PPO", "validation reward,\nmean of 0 and 1", 5)


def learners(data: Data) -> "Figure":
    """PPO and the baselines after the same number of rollouts. Left: the reward of sampled actions
    in training, a running mean of 10 iterations. Right: the reward of the most likely actions on
    validation problems. Thin lines are single training seeds."""
    figure, axes = panels(1, 2, 7.4, 3.6, sharey=True)
    trained = {line["adapter"] for line in data.select("metrics.csv")}
    names = {"token": "PPO", "token-reinforce": "REINFORCE", "token-lpo": "LPO"}
    if len(trained & names.keys()) < 2:
        raise Missing("this run trained one learner alone (train.py --baselines trains all)")
    for (adapter, name), look in zip(names.items(), LOOKS):
        if adapter in trained:
            plot_seeds(axes[0, 0], running_mean(data.curves(adapter, "reward")), look, name)
            plot_seeds(axes[0, 1], data.curves(adapter, "validation"), look, name)
    axes[0, 1].set_ylabel("validation reward, mean of 0 and 1")
    return finish(figure, axes, "iteration", "training reward, mean of 0 and 1")


def entropy(data: Data) -> "Figure":
    """Entropy of the next token at decisions (p_max <= .95): that of the LM, and that of what is
    sampled from after the action. A line is the share of decisions with at most this entropy; after
    a greedy action the entropy is 0 nats."""
    figure, axes = panels(1, 1, 6.6, 3.6)
    before, after = data.numbers("tokens.csv", ("entropy", "entropy_after"), policy="token level")
    x = np.linspace(0, max(before.max(), after.max()), 241)
    for values, label, look in ((before, "before: the LM's", LOOKS[1]),
                                (after, "after: sampled from", LOOKS[0])):
        share = 100 * np.searchsorted(np.sort(values), x, side="right") / len(values)
        axes[0, 0].plot(x, share, **look, label=label, drawstyle="steps-post", markevery=24)
    axes[0, 0].set_ylim(0, 103)
    return finish(figure, axes, "entropy, nats", "share of decisions, %")


def lengths(data: Data) -> "Figure":
    """How long completions get, in a panel for each token budget T. A line is the share of
    completions with at most this many tokens; its jump at the right edge is the truncated ones."""
    names = ("greedy", "best static", "token level")
    budgets = sorted({int(line["budget"]) for line in data.select("lengths.csv")})
    figure, axes = panels(1, len(budgets), 1.2 + 1.5 * len(budgets), 3.2, sharey=True)
    for ax, T in zip(axes[0], budgets):
        for name in names:
            length, count = data.numbers("lengths.csv", ("length", "count"), policy=name,
                                         budget=str(T))
            counts = np.bincount(length.astype(int), count, minlength=T + 1)            # (T + 1,)
            ax.plot(100 * counts.cumsum() / counts.sum(), **LOOK[name], label=name,
                    drawstyle="steps-post", markevery=max(1, T // 5))
        ax.set_title(f"T = {T}", fontsize=9)
    return finish(figure, axes, "length, tokens", "share of completions, %")


def cumulative_regret(reward: np.ndarray, bound: float, pulls: int) -> np.ndarray:
    """(steps,) in rewards, from the mean reward of each step of so many pulls."""
    return pulls * np.cumsum(bound - reward)


def regret(data: Data) -> "Figure":
    """Cumulative regret: the rewards lost so far against the best arm of every context, which the
    reward table tells. A flat line loses nothing any more. Left: the pulls that both bandits have
    had. Right: all pulls. LinUCB learns from 16 pulls a step, the softmax bandit from 256. Thin
    lines are single training seeds."""
    sets = data.results["selection"]
    figure, axes = panels(len(sets), 2, 7.4, 0.9 + 2.5 * len(sets))
    for (left, right), (styles, selected) in zip(axes, sets.items()):
        both = []
        for kind, pulls in PULLS.items():
            rewards = data.curves(f"{kind} {styles}", "reward")
            both.append([(pulls * (x + 1) / 1000, cumulative_regret(y, selected["bound"], pulls))
                         for x, y in rewards])
        common = min(max(x[-1] for x, _ in curves) for curves in both)
        for curves, name, look in zip(both, ("softmax bandit", "LinUCB"), (LOOKS[2], LOOKS[0])):
            plot_seeds(right, curves, look, name)
            plot_seeds(left, [(x[x <= common], y[x <= common]) for x, y in curves], look, name)
        left.set_ylabel(f"regret, rewards\n{shown(styles)}")
    return finish(figure, axes, "pulls, thousands", "")


def temperature(data: Data) -> "Figure":
    """Above: how often the token level takes each action, in % of the decisions (p_max <= .95) with
    so many tokens left. Below: how many such decisions there are; where there are few, the lines
    are noise."""
    figure, axes = panels(2, 1, 6.6, 4.8, sharex=True, height_ratios=(3, 1))
    left, action = data.numbers("tokens.csv", ("left", "action"), policy="token level")
    width = max(1, round(left.max() / 14))                     # ours: 14 points show a trend
    bins = np.arange(0.5, left.max() + width + 0.5, width)
    x = (bins[:-1] + bins[1:]) / 2                                                      # (bins,)
    total, _ = np.histogram(left, bins)                                                 # (bins,)
    filled = total > 0
    for a, (name, look) in enumerate(zip(ACTIONS, LOOKS)):
        taken, _ = np.histogram(left[action == a], bins)
        axes[0, 0].plot(x[filled], 100 * taken[filled] / total[filled], **look, label=name)
    axes[1, 0].bar(x, total, width * 0.85, color="#8A8A8A")
    axes[0, 0].set_ylabel("share of decisions, %")
    return finish(figure, axes, f"tokens left, {width} a point", "decisions", 4)


def kinds(data: Data) -> "Figure":
    """What the token level does where. A bar for each token that the LM finds likeliest at many
    decisions, such as "a next line" or a digit: how often each action is taken there. Their number
    stands behind the token."""
    lines = data.select("tokens.csv", policy="token level")
    if "likeliest" not in lines[0]:
        raise Missing("tokens.csv has no column likeliest")
    counts = Counter(line["likeliest"] for line in lines)
    often = [token for token, _ in counts.most_common(12)]               # ours: a readable height
    figure, axes = panels(1, 1, 6.6, 1.2 + 0.26 * len(often))
    left = np.zeros(len(often))
    for a, (name, look) in enumerate(zip(ACTIONS, LOOKS)):
        taken = Counter(line["likeliest"] for line in lines if line["action"] == str(a))
        share = np.array([100 * taken[token] / counts[token] for token in often])
        axes[0, 0].barh(range(len(often)), share, left=left, color=look["color"], label=name,
                        hatch=HATCHES[a % len(HATCHES)], edgecolor="white")
        left += share
    labels = [f"{token!r}  {counts[token]}" for token in often]
    axes[0, 0].set_yticks(range(len(often)), labels)
    axes[0, 0].invert_yaxis()
    return finish(figure, axes, "share of decisions, %", "the LM's likeliest token", 4)


def choices(data: Data) -> "Figure":
    """Which arm the softmax bandit chooses for which prompts (B = 1). The darker, the larger the
    share of the prompts of that difficulty; the shares of a column add up to 100 %. A panel is a
    token budget T."""
    lines = data.select("choices.csv", adapter="softmax", parallel="1")
    budgets = unique(lines, "budget")
    difficulties = unique(lines, "difficulty")                 # the file has them in rising order
    arms = {styles: unique([x for x in lines if x["styles"] == styles], "arm")
            for styles in unique(lines, "styles")}
    heights = [len(names) for names in arms.values()]
    figure, axes = panels(len(arms), len(budgets), 3.0 + 1.5 * len(budgets),
                          0.8 + 0.3 * sum(heights) + 0.3 * len(arms), sharey="row", sharex=True,
                          height_ratios=heights)
    for row, (styles, names) in zip(axes, arms.items()):
        row[0].set_ylabel(shown(styles))
        for ax, T in zip(row, budgets):
            share = np.zeros((len(names), len(difficulties)))
            for x in lines:
                if (x["styles"], x["budget"]) == (styles, T):
                    at = names.index(x["arm"]), difficulties.index(x["difficulty"])
                    share[at] = 100 * float(x["share"])
            image = ax.imshow(share, cmap="Greys", vmin=0, vmax=100, aspect="auto")
            ax.set_yticks(range(len(names)), names)
            every = 1 + len(difficulties) // 8
            ax.set_xticks(range(0, len(difficulties), every),
                          [x or "all" for x in difficulties[::every]])
            ax.grid(False)
    for ax, T in zip(axes[0], budgets):
        ax.set_title(f"T = {T}", fontsize=9)
    figure.colorbar(image, ax=axes, label="share of prompts, %", pad=0.01)
    figure.supxlabel("difficulty of the prompt (sums: how many numbers)", fontsize=9)
    return figure


def unique(lines: list[dict], column: str) -> list[str]:
    """The values of a column, in the order of the file."""
    return list(dict.fromkeys(line[column] for line in lines))


FIGURES = (accuracy, pass_at_k, coverage, training, learners, entropy, lengths, regret, temperature,
           kinds, choices)


# ---- files --------------------------------------------------------------------------------------
def pictures(data: Data, kinds: Iterable[str], left_out: Callable[[str], object]
             ) -> Iterable[tuple[str, dict[str, bytes]]]:
    """(name, kind -> bytes) of each figure; kinds: of "png", "svg".

    left_out is called with a line for a figure that has no data. Raises UserError without
    matplotlib.
    """
    if matplotlib is None:
        raise UserError("figures need matplotlib: ./run -m pip install matplotlib")
    with matplotlib.rc_context(STYLE):
        for draw in FIGURES:
            try:
                figure = draw(data)
            except Missing as missing:
                left_out(f"no figure {draw.__name__}: {missing}")
                continue
            files = {}
            for kind in kinds:
                file = io.BytesIO()
                no_date = {"Date": None} if kind == "svg" else None           # the same bytes
                figure.savefig(file, format=kind, dpi=130, metadata=no_date)
                files[kind] = file.getvalue()
            yield draw.__name__, files


def main() -> None:
    parser = Parser(description="Draw the figures of a run.")
    parser.add_argument("folder", help="a finished run, such as runs/sums")
    data = Data(parser.parse_args().folder)
    figures = os.path.join(data.folder, "figures")
    for name, files in pictures(data, ("png", "svg"), print):
        os.makedirs(figures, exist_ok=True)
        for kind, content in files.items():
            write(os.path.join(figures, f"{name}.{kind}"), content)
    print(f"figures are in {figures}/")


if __name__ == "__main__":
    run_program("report.figures", main)
