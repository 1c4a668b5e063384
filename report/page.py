"""One page about a run: its tables, its figures, and completions that show every token's action.

    python -m report.page runs/sums               # writes runs/sums/report.html, readable anywhere

Made from the files of the run's folder alone, in the frame of page.html with the look of page.css.
The page has no script and loads nothing from elsewhere. Without matplotlib it has no figures.
"""
from utils.cli import run_program                    # first: Ctrl-C while torch loads gets one line

import os
import re
from html import escape
from pathlib import Path

from experiment.tables import LEGEND, difference, percent
from report import figures as figures_module
from report.figures import ACTIONS
from report.run_data import Data, Missing
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
def figures_html(data: Data) -> str:
    if figures_module.matplotlib is None:
        return soft("No figures: matplotlib is not installed.")
    parts = []
    for name, files in figures_module.pictures(data):
        svg = inline(files["svg"].decode(), name)
        caption = " ".join(str(getattr(figures_module, name).__doc__).split())
        parts.append(f"<figure><div>{svg}</div><figcaption>{escape(caption)}</figcaption></figure>")
    return "\n".join(parts)


def inline(svg: str, name: str) -> str:
    """An SVG as a part of a page: without its header, and with ids that no other figure has."""
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg"):], flags=re.DOTALL)
    svg = re.sub(r' xmlns(:xlink)?="[^"]*"', "", svg)                  # HTML knows both
    return re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{name}-", svg)


# ---- completions --------------------------------------------------------------------------------
def token_html(x: dict) -> str:
    """A token of generations.json, coloured by its action where it is a decision."""
    text = escape(x["text"]).replace("\n", "↵\n") or "·"
    action = ACTIONS[x["action"]] if x["action"] >= 0 else "no action"
    tip = (f"{action}; p = {x['p']:.3f}, p_max = {x['p_max']:.3f}, "
           f"entropy {x['entropy']:.2f} nats, {x['left']} tokens left, value {x['value']:.2f}")
    colour = f' class="a{x["action"]}"' if x["decision"] else ""
    return f'<span{colour} title="{escape(tip)}">{text}</span>'


def completion_html(x: dict) -> str:
    wrong = "wrong, ran out of tokens" if x["truncated"] else "wrong"
    verdict = "right" if x["reward"] else wrong
    tokens = "".join(token_html(token) for token in x["tokens"])
    return (f'<div class=text><code>{escape(x["prompt"])}{tokens}</code><br>'
            f'<small>{len(x["tokens"])} of {x["budget"]} tokens; answer {escape(x["answer"])}: '
            f'{verdict}</small></div>')


def completions(data: Data) -> str:
    try:
        entries = data.json("generations.json")
    except Missing as missing:
        return soft(f"Left out: {missing}")
    legend = " ".join(f'<span class="a{a}">&nbsp;{escape(name)}&nbsp;</span>'
                      for a, name in enumerate(ACTIONS))
    intro = (f"<p>{legend} &nbsp; not marked: p_max &gt; .95, so greedy. Rest the pointer on a "
             "token for its numbers.</p>")
    return "\n".join([intro, *(completion_html(x) for x in entries)])


# ---- the page -----------------------------------------------------------------------------------
def page(data: Data) -> str:
    results = data.results
    about = results["about"]
    return (HERE / "page.html").read_text(encoding="utf-8").format(
        css=(HERE / "page.css").read_text(encoding="utf-8"),
        name=escape(os.path.basename(os.path.abspath(data.folder))),
        lm=escape(about["lm"]), task=escape(about["task"]),
        styles=escape(", ".join(about["styles"])),
        problems=about["problems"], samples=about["samples"], seeds=about["seeds"],
        legend=escape(LEGEND),
        tables="\n".join(result_table(table, about["budgets"]) for table in results["tables"]),
        paper=paper_table(results["paper"]),
        figures=figures_html(data),
        completions=completions(data))


def main() -> None:
    parser = Parser(description="Write one page about a run.")
    parser.add_argument("folder", help="a finished run, such as runs/sums")
    data = Data(parser.parse_args().folder)
    path = os.path.join(data.folder, "report.html")
    write(path, page(data))
    print(f"wrote {path}")


if __name__ == "__main__":
    run_program("report.page", main)
