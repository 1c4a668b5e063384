"""What the figures of a run share: the look of each policy's line, panels, legends, bands.

Readable in grey: no two lines of a panel share dash pattern and marker. Same files, same bytes.
"""
from typing import Any, Iterable

import numpy as np

from pomdp import TEMPERATURES, action_names
from report.run_data import Data, Missing

try:
    import matplotlib
    from matplotlib.figure import Figure
except ImportError:
    matplotlib = Figure = None                   # type: ignore

# Colours that the colour-blind can tell apart (Okabe and Ito 2008); dashes and markers for grey
LOOK: dict[str, dict[str, Any]] = {
    "token level": dict(color="#D55E00", linestyle="-", marker="o"),
    "best static": dict(color="#000000", linestyle=(0, (5, 2)), marker="s"),
    "softmax bandit": dict(color="#0072B2", linestyle=(0, (7, 2, 1, 2)), marker="^"),
    "both levels": dict(color="#CC79A7", linestyle=(0, (3, 1, 1, 1, 1, 1)), marker="D"),
    "scripted oracle": dict(color="#009E73", linestyle=(0, (1, 2.5)), marker="X"),
    "optimum, knows the answer": dict(color="#56B4E9", linestyle="-", marker="*"),
    "greedy": dict(color="#6B6B6B", linestyle=(0, (1, 1)), marker="v")}
LOOKS = list(LOOK.values())                                # for lines that are no policies
STYLE = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True,
         "axes.axisbelow": True, "grid.color": "#E4E4E4", "grid.linewidth": 0.6,
         "lines.linewidth": 1.6, "lines.markersize": 4.5, "legend.frameon": False,
         "legend.handlelength": 3.6, "figure.constrained_layout.w_pad": 0.08,
         "svg.hashsalt": "plots"}                                         # the salt: the same bytes
ONE_SEED = dict(linewidth=0.6, alpha=0.5, marker="")
ACTIONS = action_names(TEMPERATURES)


def panels(rows: int, columns: int, width: float, height: float,
           **options: Any) -> tuple["Figure", np.ndarray]:
    """(figure, panels (rows, columns)); inches."""
    figure = Figure((width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def finish(figure: "Figure", axes: np.ndarray, x: str, y: str, columns: int = 3) -> "Figure":
    """Labels the outer axes; puts one legend for all panels above them, where it hides nothing."""
    for ax in axes[-1]:
        ax.set_xlabel(x)
    for ax in axes[:, 0]:
        ax.set_ylabel(ax.get_ylabel() or y)
    handles = {}
    for ax in figure.axes:
        for handle, label in zip(*ax.get_legend_handles_labels()):
            handles.setdefault(label, handle)
    figure.legend(handles.values(), handles, loc="outside upper center", ncols=columns)
    return figure


def plot_rows(data: Data, ax: Any, names: Iterable[str], cells: dict, styles: str) -> None:
    """A line for each of these table rows, with its 95 % band; cells, styles: as in Data.points."""
    for name in names:
        points = data.points(name, cells, styles)
        if points is not None:
            x, mean, low, high = points
            ax.fill_between(x, low, high, color=LOOK[name]["color"], alpha=0.14, linewidth=0)
            ax.plot(x, mean, **LOOK[name], label=name)
    if not ax.lines:
        raise Missing(f"results.json has none of the rows {', '.join(names)}")


def plot_seeds(ax: Any, curves: list, look: dict, label: str) -> None:
    """A thin line for each seed; a thick one for their mean, as far as all of them go."""
    for x, y in curves:
        ax.plot(x, y, **look | ONE_SEED)
    n = min(len(x) for x, _ in curves)
    mean = np.mean([y[:n] for _, y in curves], 0)
    ax.plot(curves[0][0][:n], mean, **look, label=label, markevery=max(1, n // 9))


def running_mean(curves: list) -> list:
    """The mean over 10 steps (ours: validation's interval), or over all if there are fewer."""
    n = min(10, *(len(x) for x, _ in curves))
    return [(x[n - 1:], np.convolve(y, np.full(n, 1 / n), "valid")) for x, y in curves]


def shown(styles: str) -> str:
    return f"style{'s' * (',' in styles)}: {styles.replace(',', ', ')}"
