"""Figures of a run, each remade from the files of its folder alone.

    python -m report.figures runs/sums                        # PNG and SVG into runs/sums/figures/

| figure | from | figure | from |
|---|---|---|---|
| accuracy, pass_at_k, coverage | results.json | entropy, temperature | tokens.csv |
| training, learners | metrics.csv | lengths | lengths.csv |
| regret | metrics.csv, results.json | choices | choices.csv |

A figure is a function of `Data`; its docstring, how to read it, is its caption in report.py.
Where a run has not what a figure needs, one line says so. Needs matplotlib, which is optional.

    regret after j steps of m pulls    m sum_{i <= j} (bound - r_i)     r_i: mean reward of step i

Readable in grey: no two lines of a panel share dash pattern and marker. Same files, same bytes.
"""
from utils.cli import run_program                      # first: Ctrl-C while torch loads gets one line

import io
import os
from typing import Any, Iterable

import numpy as np

from pomdp import TEMPERATURES, action_names
from report.run_data import Data, Missing
from utils.errors import UserError
from utils.files import write
from utils.options import Parser

try:
    import matplotlib
    from matplotlib.figure import Figure
except ImportError:
    matplotlib = None

# Colours of Okabe and Ito (2008), which the colour-blind tell apart; dashes and markers do in grey.
LOOKS = [dict(color=c, linestyle=dash, marker=m) for c, dash, m in (
    ("#D55E00", "-", "o"), ("#000000", (0, (5, 2)), "s"), ("#0072B2", (0, (7, 2, 1, 2)), "^"),
    ("#CC79A7", (0, (3, 1, 1, 1, 1, 1)), "D"), ("#009E73", (0, (1, 2.5)), "X"),
    ("#6B6B6B", (0, (1, 1)), "v"))]
LOOK = dict(zip(("token level", "best static", "softmax bandit", "both levels",
                 "scripted oracle", "greedy"), LOOKS))
STYLE = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True,
         "axes.axisbelow": True, "grid.color": "#E4E4E4", "grid.linewidth": 0.6,
         "lines.linewidth": 1.6, "lines.markersize": 4.5, "legend.frameon": False,
         "legend.handlelength": 3.6, "figure.constrained_layout.w_pad": 0.08,
         "svg.hashsalt": "plots"}                                         # the salt: the same bytes
ACTIONS = action_names(TEMPERATURES)
PULLS = {"softmax": 256, "linucb": 16}         # of a step: batch of bandit.py's train_softmax, ..
THIN = dict(linewidth=0.6, alpha=0.5, marker="")                                      # one seed


# ---- what figures share -------------------------------------------------------------------------
def panels(rows: int, columns: int, width: float, height: float,
           **options: Any) -> tuple["Figure", np.ndarray]:
    """(figure, panels (rows, columns)); inches."""
    figure = Figure((width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def finish(figure: "Figure", axes: np.ndarray, x: str, y: str, columns: int = 3) -> "Figure":
    """Names the outer axes; one legend for all panels, above them, where it hides nothing."""
    for ax in axes[-1]:
        ax.set_xlabel(x)
    for ax in axes[:, 0]:
        ax.set_ylabel(ax.get_ylabel() or y)
    named = {}
    for ax in figure.axes:
        for handle, label in zip(*ax.get_legend_handles_labels()):
            named.setdefault(label, handle)
    figure.legend(named.values(), named, loc="outside upper center", ncols=columns)
    return figure


def with_bands(data: Data, ax: Any, names: Iterable[str], at: dict) -> None:
    """Lines of table rows with their 95 % bands."""
    for name in names:
        if (points := data.points(name, at)) is not None:
            x, mean, low, high = points
            ax.fill_between(x, low, high, color=LOOK[name]["color"], alpha=0.14, linewidth=0)
            ax.plot(x, mean, **LOOK[name], label=name)
    if not ax.lines:
        raise Missing(f"results.json has none of the rows {', '.join(names)}")


def with_seeds(ax: Any, curves: list, look: dict, label: str) -> None:
    """The mean over seeds, as far as all of them go; each seed as a thin line."""
    for x, y in curves:
        ax.plot(x, y, **look | THIN)
    n = min(len(x) for x, _ in curves)
    ax.plot(curves[0][0][:n], np.mean([y[:n] for _, y in curves], 0), **look, label=label,
            markevery=max(1, n // 9))


def running_mean(curves: list) -> list:
    """Of each curve, over 10 steps (ours: validation's interval), or all where there are fewer."""
    n = min(10, *(len(x) for x, _ in curves))
    return [(x[n - 1:], np.convolve(y, np.full(n, 1 / n), "valid")) for x, y in curves]


# ---- the figures --------------------------------------------------------------------------------
def accuracy(data: Data) -> "Figure":
    """Pass@1 on held-out problems against the token budget T, with 95 % bands (problems and
    training seeds): the higher, the better; what lies above best static is gained by adapting."""
    figure, axes = panels(1, 1, 6.6, 4.2)
    budgets = data.results["about"]["budgets"]
    with_bands(data, axes[0, 0], ("scripted oracle", "both levels", "token level",
                                  "softmax bandit", "best static", "greedy"),
               {T: f"pass@1[{t}]" for t, T in enumerate(budgets)})
    axes[0, 0].set_xticks(budgets)
    return finish(figure, axes, "token budget T, tokens", "Pass@1, % of problems")


def pass_at_k(data: Data) -> "Figure":
    """Pass@k against the number k of texts a problem, at the middle token budget, with 95 % bands:
    where lines meet, luck has taken the place of choice."""
    figure, axes = panels(1, 1, 6.6, 4.0)
    budgets, ks = data.results["about"]["budgets"], (1, 2, 4, 8)
    t = len(budgets) // 2
    with_bands(data, axes[0, 0], ("both levels", "token level", "softmax bandit", "best static"),
               {k: f"pass@{k}[{t}]" for k in ks})
    axes[0, 0].set_xscale("log", base=2)
    axes[0, 0].set_xticks(ks, ks)
    return finish(figure, axes, f"k, texts a problem (T = {budgets[t]} tokens)",
                  "Pass@k, % of problems", 2)


def coverage(data: Data) -> "Figure":
    """What the best strategy of a set S earns, F(S) = mean over contexts of the best reward, as S
    grows: chosen by greedy coverage against the top |S| by average; the gap is what diversity is
    worth."""
    figure, axes = panels(1, 1, 6.6, 3.8)
    looks = iter(LOOKS)
    for styles, told in data.results["selection"].items():
        for name, how in (("coverage", "greedy coverage"), ("top_average", "top |S| by average")):
            axes[0, 0].plot(range(1, len(told[name]) + 1), told[name], **next(looks),
                            label=f"{how}, styles: {styles.replace(',', ', ')}")
    axes[0, 0].xaxis.get_major_locator().set_params(integer=True)
    return finish(figure, axes, "|S|, strategies in the action set",
                  "F(S), mean reward of the best", 2)


def training(data: Data) -> "Figure":
    """The token level's training: above, how often it takes each action; below, the reward of its
    most likely actions on fixed validation problems. Thick lines are means over the training
    seeds, thin ones single seeds."""
    figure, axes = panels(2, 1, 6.6, 5.2, sharex=True, height_ratios=(3, 2))
    for t, name, look in zip(TEMPERATURES, ACTIONS, LOOKS):
        shares = data.curves("token", f"share_T{t:g}")
        with_seeds(axes[0, 0], [(x, 100 * y) for x, y in shares], look, name)
    with_seeds(axes[1, 0], data.curves("token", "validation"), LOOKS[4], "validation")
    axes[0, 0].set_ylabel("share of decisions, %")
    return finish(figure, axes, "iteration of PPO", "validation reward,\nmean of 0 and 1", 5)


def learners(data: Data) -> "Figure":
    """PPO against rivals after as many rollouts: reward of sampled actions in training (left,
    running mean of 10 iterations), of the most likely ones on validation problems (right); thin
    lines are single training seeds."""
    figure, axes = panels(1, 2, 7.4, 3.6, sharey=True)
    known = {x["adapter"] for x in data.select("metrics.csv")}
    names = {"token": "PPO", "token-reinforce": "REINFORCE", "token-lpo": "LPO"}
    if len(known & names.keys()) < 2:
        raise Missing("metrics.csv has no two of " + ", ".join(names))
    for (adapter, name), look in zip(names.items(), LOOKS):
        if adapter in known:
            with_seeds(axes[0, 0], running_mean(data.curves(adapter, "reward")), look, name)
            with_seeds(axes[0, 1], data.curves(adapter, "validation"), look, name)
    axes[0, 1].set_ylabel("validation reward, mean of 0 and 1")
    return finish(figure, axes, "iteration", "training reward, mean of 0 and 1")


def entropy(data: Data) -> "Figure":
    """Entropy of the next token at decisions (p_max <= .95), as the LM has it and as it is after
    the action: each line is the share of decisions with at most that entropy; greedy ones are at
    0 nats afterwards."""
    figure, axes = panels(1, 1, 6.6, 3.6)
    columns = data.numbers("tokens.csv", ("entropy", "entropy_after"), policy="token level")
    x = np.linspace(0, max(c.max() for c in columns), 241)
    for c, label, look in zip(columns, ("before: the LM's", "after: sampled from"), LOOKS[1::-1]):
        share = 100 * np.searchsorted(np.sort(c), x, side="right") / len(c)
        axes[0, 0].plot(x, share, **look, label=label, drawstyle="steps-post", markevery=24)
    axes[0, 0].set_ylim(0, 103)
    return finish(figure, axes, "entropy, nats", "share of decisions, %")


def lengths(data: Data) -> "Figure":
    """How long texts get, a panel for each token budget T: each line is the share of texts of at
    most so many tokens; its jump at the right edge are those that ran out of them."""
    names = ("greedy", "best static", "token level")
    there = [x for x in data.select("lengths.csv") if x["policy"] in names]
    budgets = sorted({int(x["budget"]) for x in there})
    figure, axes = panels(1, len(budgets), 1.2 + 1.5 * len(budgets), 3.2, sharey=True)
    for ax, T in zip(axes[0], budgets):
        for name in names:
            length, count = data.numbers("lengths.csv", ("length", "count"), policy=name,
                                         budget=str(T))
            texts = np.bincount(length.astype(int), count, minlength=T + 1)             # (T + 1,)
            ax.plot(100 * texts.cumsum() / texts.sum(), **LOOK[name], label=name,
                    drawstyle="steps-post", markevery=max(1, T // 5))
        ax.set_title(f"T = {T}", fontsize=9)
    return finish(figure, axes, "length, tokens", "share of texts, %")


def cumulative_regret(reward: np.ndarray, bound: float, pulls: int) -> np.ndarray:
    """(steps,) in rewards, from the mean reward of each step of so many pulls."""
    return pulls * np.cumsum(bound - reward)


def regret(data: Data) -> "Figure":
    """Cumulative regret, the rewards lost so far against the best arm of every context (known from
    the table of rewards): flat means nothing is lost any more. Left, the pulls that both bandits
    have had, right, all. LinUCB learns from 16 pulls a step, the softmax bandit from 256; thin
    lines are single training seeds."""
    sets = data.results["selection"]
    figure, axes = panels(len(sets), 2, 7.4, 0.9 + 2.5 * len(sets))
    for (left, right), (styles, told) in zip(axes, sets.items()):
        both = [[(pulls * (x + 1) / 1000, cumulative_regret(y, told["bound"], pulls))
                 for x, y in data.curves(f"{kind} {styles}", "reward")]
                for kind, pulls in PULLS.items()]
        common = min(max(x[-1] for x, _ in curves) for curves in both)
        for curves, name, look in zip(both, ("softmax bandit", "LinUCB"), LOOKS[2::-2]):
            with_seeds(right, curves, look, name)
            with_seeds(left, [(x[x <= common], y[x <= common]) for x, y in curves], look, name)
        left.set_ylabel(f"regret, rewards\nstyles: {styles.replace(',', ', ')}")
    return finish(figure, axes, "pulls, thousands", "")


def temperature(data: Data) -> "Figure":
    """Which action the token level takes with so many tokens left, in % of the decisions there
    (p_max <= .95); below, how many decisions there are: where few, the lines are noise."""
    figure, axes = panels(2, 1, 6.6, 4.8, sharex=True, height_ratios=(3, 1))
    left, action = data.numbers("tokens.csv", ("left", "action"), policy="token level")
    width = max(1, round(left.max() / 14))                          # ours: 14 points tell a trend
    bins = np.arange(0.5, left.max() + width + 0.5, width)
    total, _ = np.histogram(left, bins)                                                 # (bins,)
    on, x = total > 0, (bins[:-1] + bins[1:]) / 2
    for a, (name, look) in enumerate(zip(ACTIONS, LOOKS)):
        taken, _ = np.histogram(left[action == a], bins)
        axes[0, 0].plot(x[on], 100 * taken[on] / total[on], **look, label=name)
    axes[1, 0].bar(x, total, width * 0.85, color="#8A8A8A")
    axes[0, 0].set_ylabel("share of decisions, %")
    return finish(figure, axes, f"tokens left, {width} a point", "decisions", 4)


def choices(data: Data) -> "Figure":
    """Which strategy the softmax bandit names for which prompts (B = 1): the darker, the larger the
    share of the prompts of that level; a column of a panel adds up to 100 %, a panel is a token
    budget T."""
    there = [x for x in data.select("choices.csv", parallel="1")
             if x["adapter"].split()[0] == "softmax"]
    sets, budgets = (list(dict.fromkeys(x[k] for x in there)) for k in ("styles", "budget"))
    levels = sorted({x["level"] for x in there}, key=lambda v: float(v or 0))
    arms = [list(dict.fromkeys(x["arm"] for x in there if x["styles"] == s)) for s in sets]
    figure, axes = panels(len(sets), len(budgets), 3.0 + 1.5 * len(budgets),
                          0.8 + 0.3 * sum(map(len, arms)) + 0.3 * len(sets), sharey="row",
                          sharex=True, height_ratios=list(map(len, arms)))
    for line, styles, names in zip(axes, sets, arms):
        for ax, T in zip(line, budgets):
            share = np.zeros((len(names), len(levels)))
            for x in there:
                if (x["styles"], x["budget"]) == (styles, T):
                    share[names.index(x["arm"]), levels.index(x["level"])] = 100 * float(x["share"])
            image = ax.imshow(share, cmap="Greys", vmin=0, vmax=100, aspect="auto")
            ax.set_yticks(range(len(names)), names)
            every = 1 + len(levels) // 8
            ax.set_xticks(range(0, len(levels), every), [v or "all" for v in levels[::every]])
            ax.grid(False)
        line[0].set_ylabel(f"styles: {styles.replace(',', ', ')}")
    for ax, T in zip(axes[0], budgets):
        ax.set_title(f"T = {T}", fontsize=9)
    figure.colorbar(image, ax=axes, label="share of prompts, %", pad=0.01)
    figure.supxlabel("level of the prompt (sums: how many numbers)", fontsize=9)
    return figure


FIGURES = (accuracy, pass_at_k, coverage, training, learners, entropy, lengths, regret, temperature,
           choices)


# ---- files --------------------------------------------------------------------------------------
def pictures(data: Data) -> Iterable[tuple[str, dict[str, bytes]]]:
    """(name, {"png": .., "svg": ..}) of each figure the run has the data for; a line of others."""
    if matplotlib is None:
        raise UserError("figures need matplotlib: pip install matplotlib")
    with matplotlib.rc_context(STYLE):
        for draw in FIGURES:
            try:
                figure = draw(data)
            except Missing as missing:
                print(f"{draw.__name__}: left out, {missing}")
                continue
            yield draw.__name__, {kind: picture(figure, kind) for kind in ("png", "svg")}


def picture(figure: "Figure", kind: str) -> bytes:
    data = io.BytesIO()
    figure.savefig(data, format=kind, dpi=130, metadata={"Date": None} if kind == "svg" else None)
    return data.getvalue()


def main() -> None:
    parser = Parser(description="Draw the figures of a run.")
    parser.add_argument("folder", help="a finished run, such as runs/sums")
    data = Data(parser.parse_args().folder)
    figures = os.path.join(data.folder, "figures")
    for name, files in pictures(data):
        os.makedirs(figures, exist_ok=True)
        for kind, content in files.items():
            write(os.path.join(figures, f"{name}.{kind}"), content)
    print(f"figures are in {figures}/")


if __name__ == "__main__":
    run_program("report.figures", main)
