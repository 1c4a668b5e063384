"""One problem under four policies as a picture, every token coloured by its action.

    python -m report.sample_svg runs/sums                # runs/sums/figures/sample.svg

Made from comparison.json of the run's folder. An action shows without colour too, by the line below
its tokens: solid, dotted, dashed, thick.
"""
from utils.cli import run_program                    # first: Ctrl-C while torch loads gets one line

import os
from html import escape
from typing import Iterable

from report.plots import ACTIONS
from report.run_data import Data, Missing, verdict_of
from utils.errors import UserError
from utils.files import write
from utils.options import Parser

COLUMNS = 72                         # characters in a line (ours: legible in a README)
CHARACTER, LINE, MARGIN = 8.4, 24, 16                                    # pixels
FONT = 'font-family="ui-monospace, Menlo, Consolas, monospace" font-size="14"'
COLOURS = ("#f3c6ad", "#d9d9d9", "#bcd8ee", "#ecd0de", "#bfe3d6")        # of actions 0 to 4
DASHES = ("", "1.5 2.5", "5 3", "", "8 2 2 2")                           # of the line below them
WIDTHS = (1.5, 1.5, 1.5, 3, 1.5)


class Canvas:
    """Text in columns and lines; SVG elements."""

    def __init__(self) -> None:
        self.elements: list[str] = []
        self.column, self.line = 0, 0

    def new_line(self) -> None:
        self.column, self.line = 0, self.line + 1

    def add(self, text: str, action: int = -1, colour: str = "#1d1d1f", weight: str = "") -> None:
        """Adds a token; it goes to the next line if it does not fit. action -1: no mark."""
        text = text.replace("\n", "↵") or "·"
        if self.column + len(text) > COLUMNS:
            self.new_line()
        x = MARGIN + CHARACTER * self.column
        y = MARGIN + LINE * (self.line + 1)                              # the base line
        width = CHARACTER * len(text)
        if action >= 0:
            kind = action % len(COLOURS)
            self.elements.append(
                f'<rect x="{x:.1f}" y="{y - 15}" width="{width:.1f}" height="20" '
                f'fill="{COLOURS[kind]}"/><path d="M{x:.1f} {y + 5}h{width:.1f}" '
                f'stroke="#1d1d1f" stroke-width="{WIDTHS[kind]}" '
                f'stroke-dasharray="{DASHES[kind]}"/>')
        bold = f' font-weight="{weight}"' if weight else ""
        self.elements.append(
            f'<text x="{x:.1f}" y="{y}" textLength="{width:.1f}" xml:space="preserve" '
            f'fill="{colour}"{bold}>{escape(text)}</text>')
        self.column += len(text)

    def svg(self) -> str:
        width = 2 * MARGIN + CHARACTER * COLUMNS
        height = 2 * MARGIN + LINE * (self.line + 1)
        return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" '
                f'width="{width:.0f}" height="{height}" {FONT}>'
                f'<rect width="100%" height="100%" rx="8" fill="#ffffff" stroke="#d8d8dd"/>'
                + "\n".join(self.elements) + "</svg>\n")


def picture(entries: Iterable[dict]) -> str:
    """entries: of comparison.json."""
    canvas = Canvas()
    for x in entries:
        # The policy, its arm if it has one, and what became of its completion
        canvas.add(x["policy"], weight="bold")
        if x["arm"]:
            canvas.add(f"  {x['arm']}"[:COLUMNS - len(x["policy"])], colour="#63636a")
        canvas.new_line()
        canvas.add(verdict_of(x)[:COLUMNS], colour="#63636a")
        canvas.new_line()
        # The prompt, whose end is enough of a long one; then the completion
        canvas.add(x["prompt"][-COLUMNS:], colour="#63636a")
        for token in x["tokens"]:
            canvas.add(token["text"], token["action"] if token["decision"] else -1)
        canvas.new_line()
        canvas.new_line()
    for action, name in enumerate(ACTIONS):
        canvas.add(f" {name} ", action)
        canvas.add(" ")
    canvas.add("unmarked: no decision", colour="#63636a")
    return canvas.svg()


def main() -> None:
    parser = Parser(description="Draw one problem under four policies.")
    parser.add_argument("folder", help="a finished run, such as runs/sums")
    data = Data(parser.parse_args().folder)
    try:
        entries = data.json("comparison.json")
    except Missing as missing:
        raise UserError(f"{missing} in {data.folder}: demos.remake writes it")
    path = os.path.join(data.folder, "figures", "sample.svg")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    write(path, picture(entries))
    print(f"wrote {path}")


if __name__ == "__main__":
    run_program("report.sample_svg", main)
