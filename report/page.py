"""One page about a run: its tables, its figures, and texts in which every token shows its action.

    python -m report.page runs/sums                 # writes runs/sums/report.html, readable anywhere

Made from the files of the run's folder alone (see plots.py). Self-contained: no script, nothing is
loaded from elsewhere. Without matplotlib the page has no figures, and says so.
"""
from utils.cli import run_program                      # first: Ctrl-C while torch loads gets one line

import os
import re
from html import escape

from experiment.tables import LEGEND, difference, percent
from report import figures as figures_module
from report.figures import ACTIONS
from report.run_data import Data, Missing
from utils.files import write
from utils.options import Parser

CSS = """
:root { --ink: #1d1d1f; --soft: #6a6a70; --page: #ffffff; --box: #f5f5f7; --line: #d8d8dd;
        --a0: #D55E0033; --a1: #00000026; --a2: #0072B240; --a3: #CC79A766; }
@media (prefers-color-scheme: dark) { :root { --ink: #ececf0; --soft: #a0a0a8; --page: #17171a;
        --box: #222226; --line: #3a3a40; --a0: #D55E0077; --a1: #ffffff33; --a2: #3aa0e077;
        --a3: #CC79A799; } }
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 72rem; padding: 1rem; background: var(--page); color: var(--ink);
       font: 15px/1.5 system-ui, sans-serif; overflow-wrap: break-word }
h1, h2, h3 { line-height: 1.25 } h2 { margin-top: 2.5rem } p.soft, figcaption { color: var(--soft) }
.wide { overflow-x: auto } table { border-collapse: collapse; font-size: 13px }
th, td { padding: .25rem .6rem; border-bottom: 1px solid var(--line); text-align: right;
         white-space: nowrap; vertical-align: top }
th:first-child, td:first-child { text-align: left } td small { color: var(--soft) }
figure { margin: 1.5rem 0; max-width: 46rem } figure div { background: #fff; padding: .5rem;
         border: 1px solid var(--line); border-radius: 6px }
figure svg { width: 100%; height: auto; display: block }
.text { background: var(--box); border-radius: 6px; padding: .6rem .8rem; margin: .8rem 0 }
.text code { font: 14px/2 ui-monospace, monospace; white-space: pre-wrap }
.a0 { background: var(--a0); border-bottom: 2px solid } .a1 { background: var(--a1);
  border-bottom: 2px dotted } .a2 { background: var(--a2); border-bottom: 2px dashed }
.a3 { background: var(--a3); border-bottom: 3px double }
"""


# ---- tables -------------------------------------------------------------------------------------
def html_table(head: list[str], rows: list[list[str]]) -> str:
    """Cells are HTML already; the box scrolls, not the page."""
    lines = ["<tr>" + "".join(f"<th>{x}</th>" for x in head) + "</tr>"]
    lines += ["<tr>" + "".join(f"<td>{x}</td>" for x in row) + "</tr>" for row in rows]
    return '<div class="wide"><table>' + "\n".join(lines) + "</table></div>"


def cell_html(cell: dict | None) -> str:
    if cell is None:
        return ""
    other = "difference" in cell and any(cell["difference_interval"])
    return percent(cell) + (f"<br><small>{difference(cell)}</small>" if other else "")


def result_table(table: dict, budgets: list[int]) -> str:
    parts = [f"<h3>{escape(table['title'])}</h3><p class=soft>{escape(table['note'])}</p>"]
    for B in table["pass"]:
        rows = [[escape(r["name"]) + ("" if r["competitor"] else " °")]
                + [cell_html(r["cells"].get(f"pass@{B}[{t}]")) for t in range(len(budgets))]
                for r in table["rows"]]
        head = [f"Pass@{B}, %"] + [f"T = {T}" for T in budgets]
        parts.append(html_table(head, [row for row in rows if any(row[1:])]))
    return "\n".join(parts)


def paper_table(lines: list) -> str:
    """The paper's own figures, of Qwen3-4B."""
    names = list(dict.fromkeys(name for _, values in lines for name in values))
    return html_table(["Qwen3-4B, %"] + [escape(x) for x in names],
                      [[escape(what)] + [f"{values[x]:g}" if x in values else "" for x in names]
                       for what, values in lines])


# ---- figures and texts --------------------------------------------------------------------------
def figures_html(data: Data) -> str:
    if figures_module.matplotlib is None:
        return "<p class=soft>No figures: matplotlib is not installed.</p>"
    captions = {draw.__name__: " ".join(str(draw.__doc__).split()) for draw in figures_module.FIGURES}
    return "\n".join(
        f"<figure><div>{alone(files['svg'].decode(), name)}</div>"
        f"<figcaption>{escape(captions[name])}</figcaption></figure>"
        for name, files in figures_module.pictures(data))


def alone(svg: str, name: str) -> str:
    """An SVG as a part of a page: without its header, and with ids that no other figure has."""
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg"):], flags=re.DOTALL)
    svg = re.sub(r' xmlns(:xlink)?="[^"]*"', "", svg)                  # HTML knows both
    return re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{name}-", svg)


def token_html(x: dict) -> str:
    text = escape(x["text"]).replace("\n", "↵\n") or "·"
    tip = (f"{ACTIONS[x['action']] if x['action'] >= 0 else 'no action'}; p = {x['p']:.3f}, "
           f"p_max = {x['p_max']:.3f}, entropy {x['entropy']:.2f} nats, {x['left']} tokens left, "
           f"value {x['value']:.2f}")
    kind = f' class="a{x["action"]}"' if x["decision"] else ""
    return f'<span{kind} title="{escape(tip)}">{text}</span>'


def text_html(x: dict) -> str:
    verdict = "right" if x["reward"] else "wrong" if x["ended"] else "wrong, ran out of tokens"
    return (f'<div class=text><code>{escape(x["prompt"])}'
            + "".join(map(token_html, x["tokens"])) + f'</code><br><small>{len(x["tokens"])} of '
            f'{x["budget"]} tokens; answer {escape(x["answer"])}: {verdict}</small></div>')


def texts(data: Data) -> str:
    legend = " ".join(f'<span class="a{a}">&nbsp;{escape(name)}&nbsp;</span>'
                      for a, name in enumerate(ACTIONS))
    return (f"<p>{legend} &nbsp; unmarked: sure (p_max &gt; .95), greedy. Rest the pointer on a "
            "token for its numbers.</p>\n"
            + "\n".join(map(text_html, data.json("generations.json"))))


# ---- the page -----------------------------------------------------------------------------------
def page(data: Data) -> str:
    about, results = data.results["about"], data.results
    told = (f"LM {about['lm']}, task {about['task']}, prompt styles {', '.join(about['styles'])}; "
            f"{about['problems']} held-out problems, {about['samples']} samples each, "
            f"{about['seeds']} training seed{'s' * (about['seeds'] > 1)}")
    name = os.path.basename(os.path.abspath(data.folder))
    parts = [f"<h1>Adaptive decoding: {escape(name)}</h1>", f"<p>{escape(told)}.</p>",
             "<h2>Tables</h2>",
             f"<p class=soft>{escape(LEGEND)} ± is half of a 95 % interval.</p>",
             *(result_table(table, about["budgets"]) for table in results["tables"]),
             "<h3>The paper's figures</h3><p class=soft>Of another model, Qwen3-4B, on MATH, "
             "CodeContests and AIME: what can be compared is the order of the rows.</p>",
             paper_table(results["paper"]), "<h2>Figures</h2>", figures_html(data),
             "<h2>Held-out texts, token by token</h2>"]
    try:
        parts.append(texts(data))
    except Missing as missing:
        parts.append(f"<p class=soft>Left out: {escape(str(missing))}</p>")
    return ('<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
            'content="width=device-width, initial-scale=1"><title>Adaptive decoding</title>'
            f"<style>{CSS}</style></head><body>\n" + "\n".join(parts) + "\n</body></html>\n")


def main() -> None:
    parser = Parser(description="Write one page about a run.")
    parser.add_argument("folder", help="a finished run, such as runs/sums")
    data = Data(parser.parse_args().folder)
    path = os.path.join(data.folder, "report.html")
    write(path, page(data))
    print(f"wrote {path}")


if __name__ == "__main__":
    run_program("report.page", main)
