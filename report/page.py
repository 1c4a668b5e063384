"""One page about a run: what was gained, completions that show every token's action, all tables.

    python -m report.page runs/sums               # writes runs/sums/report.html, readable anywhere

A run writes it when it ends. Made from the files of the run's folder alone, in the frame of
page.html with the look of page.css. It has no script and loads nothing from elsewhere. Without
matplotlib it has no figures; a line says so.
"""
from utils.cli import run_program                    # first: Ctrl-C while torch loads gets one line

import os
import re
from html import escape
from pathlib import Path

from experiment.summary import about_the_run, caution, gains, rows_of
from experiment.tables import LEGEND, difference, percent
from report import figures
from report.plots import ACTIONS, matplotlib
from report.run_data import Data, Missing, verdict_of
from utils.files import write
from utils.options import Parser

HERE = Path(__file__).parent


# ---- tables -------------------------------------------------------------------------------------
def soft(text: str) -> str:
    return f"<p class=soft>{escape(text)}</p>"


def html_table(head: list[str], rows: list[list[str]]) -> str:
    """Cells are HTML already; the box scrolls, not the page."""
    lines = ["<tr>" + "".join(f"<th>{x}</th>" for x in head) + "</tr>"]
    lines += ["<tr>" + "".join(f"<td>{x}</td>" for x in row) + "</tr>" for row in rows]
    return '<div class="wide"><table>' + "\n".join(lines) + "</table></div>"


def cell_html(cell: dict | None) -> str:
    if cell is None:
        return ""
    compared = any(cell.get("difference_interval", ()))
    return percent(cell) + (f"<br><small>{difference(cell)}</small>" if compared else "")


def result_table(table: dict, budgets: list[int]) -> str:
    """One HTML table for each B that the run's table shows."""
    parts = [f"<h3>{escape(table['title'])}</h3>{soft(table['note'])}"]
    for B in table["pass"]:
        rows = []
        for row in table["rows"]:
            name = escape(row["name"] if row["competitor"] else row["name"] + " °")
            cells = [cell_html(row["cells"].get(f"pass@{B}[{t}]")) for t in range(len(budgets))]
            if any(cells):
                rows.append([name, *cells])
        parts.append(html_table([f"Pass@{B}, %"] + [f"T = {T}" for T in budgets], rows))
    return "\n".join(parts)


def paper_table(lines: list) -> str:
    """The paper's own figures; lines: (what was measured, row of the tables -> %)."""
    names = list(dict.fromkeys(name for _, values in lines for name in values))
    rows = [[escape(what)] + [f"{values[name]:g}" if name in values else "" for name in names]
            for what, values in lines]
    return html_table(["Qwen3-4B, %"] + [escape(name) for name in names], rows)


# ---- figures ------------------------------------------------------------------------------------
def figures_html(data: Data, left_out: list[str]) -> dict[str, str]:
    """Name -> HTML of each figure that the run has data for; left_out gets lines for the rest."""
    if matplotlib is None:
        left_out.append("no figures: they need matplotlib (./run -m pip install matplotlib, then "
                        "./run -m report.page and this folder)")
        return {}
    parts = {}
    for name, files in figures.pictures(data, ["svg"], left_out.append):
        svg = inline(files["svg"].decode(), name)
        caption = " ".join(str(getattr(figures, name).__doc__).split())
        parts[name] = f"<figure><div>{svg}</div><figcaption>{escape(caption)}</figcaption></figure>"
    return parts


def inline(svg: str, name: str) -> str:
    """An SVG as a part of a page: without its header, and with ids that no other figure has."""
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg"):], flags=re.DOTALL)
    svg = re.sub(r' xmlns(:xlink)?="[^"]*"', "", svg)                  # HTML knows both
    return re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{name}-", svg)


# ---- completions --------------------------------------------------------------------------------
LOOKS = 5                            # actions that page.css tells apart: ours, and one of a user's
PROMPT_LINES = 2                     # of a long prompt's end that are shown (ours: a question)


def token_html(x: dict) -> str:
    """A token of generations.json, coloured by its action where it is a decision.

    Its numbers are shown while the pointer rests on it. Decisions can be reached by keyboard.
    """
    text = escape(x["text"]).replace("\n", "↵\n") or "·"
    action = ACTIONS[x["action"]] if x["action"] >= 0 else "no action"
    # What its tip says; the critic's value only where there was something to decide
    tip = escape(f"{action}; p = {x['p']:.3f}, p_max = {x['p_max']:.3f}, "
                 f"entropy {x['entropy']:.2f} nats, {x['left']} tokens left")
    if x["decision"]:
        tip += f", value {x['value']:.2f}"
        return f'<span class="a{x["action"] % LOOKS}" tabindex="0" data-tip="{tip}">{text}</span>'
    return f'<span data-tip="{tip}">{text}</span>'


def prompt_html(prompt: str) -> str:
    """A prompt; what stands before the last lines of a long one, such as examples, is folded."""
    lines = prompt.splitlines(keepends=True)
    before, shown = lines[:-PROMPT_LINES], lines[-PROMPT_LINES:]
    folded = (f"<details><summary>{len(before)} more lines</summary>{escape(''.join(before))}"
              "</details>" if before else "")
    return folded + escape("".join(shown))


def completion_html(x: dict, heading: str = "") -> str:
    tokens = "".join(token_html(token) for token in x["tokens"])
    kind = "solved" if x["reward"] else "failed"
    return (f'<div class="text {kind}">{heading}<div class=tokens>{prompt_html(x["prompt"])}'
            f'{tokens}</div><small>{escape(verdict_of(x))}</small></div>')


LEGEND_OF_ACTIONS = " ".join(f'<span class="a{a % LOOKS}">&nbsp;{escape(name)}&nbsp;</span>'
                             for a, name in enumerate(ACTIONS))
FILTER = """<fieldset><legend class=soft>Show</legend>
<label><input type="radio" name="show" id="all" checked> all</label>
<label><input type="radio" name="show" id="solved"> solved</label>
<label><input type="radio" name="show" id="failed"> not solved</label></fieldset>"""


def comparison(data: Data) -> str:
    """The same problem under each policy, side by side where the window is wide enough."""
    try:
        entries = data.json("comparison.json")
    except Missing as missing:
        return soft(f"Nothing to show: {missing}")
    parts = []
    for x in entries:
        arm = f" <small>{escape(x['arm'])}</small>" if x["arm"] else ""
        parts.append(completion_html(x, f"<b>{escape(x['policy'])}</b>{arm}<br>"))
    return '<div class="grid">' + "\n".join(parts) + "</div>"


def completions(data: Data) -> str:
    try:
        entries = data.json("generations.json")
    except Missing as missing:
        return soft(f"Nothing to show: {missing}")
    intro = (f"<p>The token level's action at each decision: {LEGEND_OF_ACTIONS}. Unmarked tokens "
             "are greedy, since the LM is sure of them (p_max &gt; .95). Rest the pointer on a "
             "token, or go from decision to decision with the Tab key, to see its numbers.</p>")
    texts = "\n".join(completion_html(x) for x in entries)
    return f'{intro}{FILTER}<div class="grid shown">{texts}</div>'


# ---- the summary --------------------------------------------------------------------------------
def summary_html(results: dict) -> str:
    """The rows that tell most, and what each level gained, in words."""
    budgets = results["about"]["budgets"]
    # Two table rows for each policy: its numbers, and below them what it is
    lines = []
    for name, means, meaning in rows_of(results):
        cells = "".join(f"<td>{x:.1f}</td>" for x in means)
        lines.append(f"<tr><td>{escape(name)}</td>{cells}</tr><tr><td class=meaning "
                     f"colspan={1 + len(budgets)}><small>{escape(meaning)}</small></td></tr>")
    head = "".join(f"<th>T = {T}</th>" for T in budgets)
    parts = [soft(caution(results))] if caution(results) else []
    parts += ['<div class="wide"><table class=summary><tr><th>Pass@1, %</th>' + head + "</tr>"
              + "\n".join(lines) + "</table></div>"]
    for level, said in gains(results).items():
        items = "".join(f"<li>{escape(text)}</li>" for text in said)
        parts.append(f"<p>{level.capitalize()}, gain over best static:</p><ul>{items}</ul>")
    return "\n".join(parts)


# ---- the page -----------------------------------------------------------------------------------
LEARNED = ("temperature", "kinds", "choices")                # figures that the page shows at once


def page(data: Data) -> str:
    results = data.results
    budgets = results["about"]["budgets"]

    # The figures; those that a reader looks at first are taken out by name
    left_out: list[str] = []
    drawn = figures_html(data, left_out)
    accuracy = drawn.pop("accuracy", "") or soft(left_out[0])
    learned = [drawn.pop(name) for name in LEARNED if name in drawn]
    if learned:
        learned.insert(0, "<h2>What the policies learned</h2>")

    name = os.path.basename(os.path.abspath(data.folder)).removesuffix(".part")
    sentence = about_the_run(results)
    return (HERE / "page.html").read_text(encoding="utf-8").format(
        css=(HERE / "page.css").read_text(encoding="utf-8"), name=escape(name),
        sentence=escape(sentence[0].upper() + sentence[1:]), summary=summary_html(results),
        comparison=comparison(data), completions=completions(data),
        accuracy=accuracy, learned="\n".join(learned),
        more="\n".join([*drawn.values(), *map(soft, left_out)]), legend=escape(LEGEND),
        tables="\n".join(result_table(table, budgets) for table in results["tables"]),
        paper=paper_table(results["paper"]))


def write_page(folder: str) -> str:
    """Writes report.html into a run's folder, and returns its path."""
    path = os.path.join(folder, "report.html")
    write(path, page(Data(folder)))
    return path


def main() -> None:
    parser = Parser(description="Write one page about a run.")
    parser.add_argument("folder", help="a finished run, such as runs/sums")
    print(f"wrote {write_page(parser.parse_args().folder)}")


if __name__ == "__main__":
    run_program("report.page", main)
