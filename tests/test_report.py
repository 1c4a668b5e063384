"""Figures, page and picture of a made-up run: every one is there, and shows the run's own numbers.

The page is looked at in Chromium, where that is installed."""
import csv
import json
import re
from collections import Counter
from html import escape
from html.parser import HTMLParser

import numpy as np
import pytest

from browser import PROGRAM, Browser
from experiment import summary
from experiment.config import QUICK
from report import figures, page, plots, run_data, sample_svg
from report.run_data import Data, Missing
from utils.errors import UserError

BUDGETS, DIFFICULTIES = (18, 24, 30, 37, 44), range(3, 16)
ARMS = ("cot greedy", "cot tau=0.75 k=2 p=0.8", "direct tau=1.25 p=0.8 min-p=0.03")
#         name: (Pass@1 at the smallest and the largest budget, gain of Pass@8)
POLICIES = {"greedy": (.10, .57, 0), "best static": (.24, .57, .45), "mixed static": (.2, .4, .5),
            "softmax bandit": (.255, .66, .42), "LinUCB": (.23, .65, .42), "LPO": (.24, .6, .42),
            "oracle per prompt (estimate)": (.4, .8, .2), "token level": (.36, .71, .3),
            "REINFORCE": (.33, .65, .3), "EDT <script>alert(1)</script>": (.2, .5, .4),
            "both levels": (.365, .715, .32), "scripted oracle": (.37, .74, .25)}
ONE, MIXED = "Sequence level, one style: cot", "Sequence level, mixed styles: cot,direct"
TABLES = {ONE: (1, 8), MIXED: (1, 8), "Token level": (1,), "Both levels": (1, 8),
          "Transfer: difficulties <= 8": (1,)}


# ---- a made-up run ------------------------------------------------------------------------------
def cell(rng, name: str, B: int, t: int) -> dict:
    low, high, gain = POLICIES[name]
    mean = low + (high - low) * t / 4 + gain * np.log2(B) / 3 * (1 - low)
    d = mean - .24 - .33 * t / 4 + rng.normal(0, .01)
    return {"mean": mean, "interval": [mean - .025, mean + .03], "difference": d,
            "difference_interval": [d - .02, d + .02], "p": .01, "holm": .03 if d > 0 else .5}


def results(rng) -> dict:
    where = {ONE: ("greedy", "best static", "mixed static", "LPO", "softmax bandit", "LinUCB",
                   "oracle per prompt (estimate)"),
             MIXED: ("greedy", "best static", "softmax bandit"),
             "Token level": ("greedy", "best static", "EDT <script>alert(1)</script>", "REINFORCE",
                             "token level", "scripted oracle"),
             "Both levels": ("softmax bandit", "token level", "both levels"),
             "Transfer: difficulties <= 8": ("best static", "token level")}
    tables = [{"title": title, "note": "Difference to best static.", "pass": Bs, "rows": [
        {"name": name, "competitor": "oracle" not in name,
         "cells": {f"pass@{B}[{t}]": cell(rng, name, B, t) for t in range(5) for B in (1, 2, 4, 8)}}
        for name in where[title]]} for title, Bs in TABLES.items()]
    first = tables[0]["rows"][1]["cells"]                 # the baseline has no difference to itself
    for one in first.values():
        del one["difference"], one["difference_interval"], one["p"], one["holm"]
    del tables[4]["rows"][1]["cells"]["pass@1[2]"]
    S = {"names": list(ARMS), "coverage": [.595, .66, .693, .711, .726, .736],
         "top_average": [.595, .595, .595, .61, .61, .61], "candidates": 180, "bound": .74,
         "constant": .1, "noise": .2}
    return {"about": {"lm": "tiny", "task": "sums", "styles": ["cot", "direct"], "budgets": BUDGETS,
                      "problems": 500, "samples": 8, "seeds": 3,
                      "difficulties": {str(n): 38 for n in DIFFICULTIES}},
            "selection": {"cot": S, "cot,direct": S | {"coverage": [.61, .69, .73, .75, .77, .78],
                                                       "bound": .78}},
            "tables": tables,
            "paper": [["MATH, sequence, Pass@1, w/o CoT", {"best static": 71.7, "LPO": 72.72,
                                                           "softmax bandit": 72.9}],
                      ["MATH, token, Pass@1", {"greedy": 71.33, "token level": 80.82}]]}


def metrics(rng):
    for styles in ("cot", "cot,direct"):
        for kind, steps, rate in (("softmax", 600, 150), ("linucb", 300, 60)):
            for seed in range(3):
                for i in range(steps):
                    yield {"adapter": f"{kind} {styles}", "seed": seed, "step": i, "entropy": 1.5,
                           "reward": .72 - .12 * np.exp(-i / rate) + rng.normal(0, .04)}
    for adapter, top in (("token", .56), ("token-reinforce", .5), ("token-lpo", .46)):
        for seed in range(3):
            for i in range(150):
                now = 1 - np.exp(-i / 40)
                T = np.array((.25 + .2 * now, .25 - .2 * now, .25 - .1 * now, .25 + .1 * now))
                T = np.abs(T + rng.normal(0, .01, 4))
                shares = ("share_tau0", "share_tau0.5", "share_tau1", "share_tau1.25")
                line = dict(zip(shares, T / T.sum()))
                line["validation"] = ("" if i % 10 < 9 else
                                      .3 + (top - .26) * now + rng.normal(0, .01))
                yield line | {"adapter": adapter, "seed": seed, "step": i,
                              "reward": .28 + (top - .3) * now + rng.normal(0, .02)}


def tokens(rng):
    for problem in range(60):
        for T in BUDGETS:
            for step in sorted(rng.choice(T, 6, replace=False)):
                H, left = rng.gamma(3, .25), int(T - step)
                action = int(rng.choice(4, p=(.6, .05, .1, .25) if left > 12 else (.3, .1, .2, .4)))
                yield {"policy": "token level", "problem": problem, "budget": T, "step": step,
                       "left": left, "p_max": rng.uniform(.3, .95), "entropy": H,
                       "entropy_after": (0, .4 * H, H, 1.2 * H)[action], "action": action,
                       "temperature": (0, .5, 1, 1.25)[action], "value": rng.random(),
                       "likeliest": "7;=#,\n"[problem % 6]}


def lengths(rng):
    for policy, mean in (("greedy", 34), ("best static", 20), ("token level", 25)):
        for T in BUDGETS:
            drawn = np.minimum(T, rng.poisson(mean, 100))
            for length in sorted(set(drawn)):
                yield {"policy": policy, "budget": T, "length": length,
                       "count": (drawn == length).sum()}


def choices(rng):
    for kind in ("softmax", "linucb"):
        for styles in ("cot", "cot,direct"):
            for T in BUDGETS:
                for d in DIFFICULTIES:
                    for arm, share in zip(ARMS, rng.dirichlet((T / d, 2, d / 5))):
                        yield {"adapter": kind, "styles": styles, "parallel": 1, "budget": T,
                               "difficulty": d, "arm": arm, "share": share}


def generations(rng) -> list[dict]:
    def token(text, left):
        sure = rng.random() < .6
        return {"text": text, "action": 0 if sure else int(rng.integers(4)), "decision": not sure,
                "p": rng.uniform(.2, 1), "p_max": .99 if sure else rng.uniform(.3, .95),
                "entropy": rng.gamma(2, .3), "left": left, "value": rng.random()}

    texts = ["7+8=15;15+5=20;20+9=29#29</s>", "7 <script>alert(2)</script>\nso 7 & 8 \"15\"#15</s>"]
    return [{"prompt": f"{i}+8+5+9:", "answer": "29", "budget": BUDGETS[i % 5], "reward": i % 2,
             "truncated": i % 3 == 0,
             "tokens": [token(c, 44 - j) for j, c in enumerate(texts[i % 2])]}
            for i in range(20)]


def comparison(rng) -> list[dict]:
    """The policies of one problem, the last one with decisions."""
    entries = []
    for policy, entry in zip(("greedy", "best static", "sequence level", "token level"),
                             generations(rng)):
        if policy != "token level":
            for token in entry["tokens"]:
                token |= {"action": -1, "decision": False}
        arm = "" if policy == "token level" else ARMS[1]
        entries.append({"policy": policy, "arm": arm} | entry)
    return entries


def write_csv(path, lines):
    lines = list(lines)
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(k for x in lines for k in x)), restval="")
        writer.writeheader()
        writer.writerows(lines)


def make_run(folder):
    """A run folder as train.py leaves it, of plausible numbers."""
    rng = np.random.default_rng(0)
    for name, content in (("results", results(rng)), ("generations", generations(rng)),
                          ("comparison", comparison(rng))):
        (folder / f"{name}.json").write_text(json.dumps(content))
    for name, lines in (("metrics", metrics), ("tokens", tokens), ("lengths", lengths),
                        ("choices", choices)):
        write_csv(folder / f"{name}.csv", lines(rng))
    return folder


@pytest.fixture
def folder(tmp_path):
    return make_run(tmp_path)


# ---- figures: where matplotlib is there ---------------------------------------------------------
@pytest.fixture
def drawn(folder):
    """name -> its matplotlib figure."""
    pytest.importorskip("matplotlib")
    data = Data(str(folder))
    with plots.matplotlib.rc_context(plots.STYLE):
        return {draw.__name__: draw(data) for draw in figures.FIGURES}


def lines(figure, label):
    return [line for ax in figure.axes for line in ax.lines if line.get_label() == label]


def test_lines_are_the_runs_own_numbers(folder, drawn):
    told = json.loads((folder / "results.json").read_text())["tables"]
    # Each name's tables, one for each panel that has such a line: one style, two styles
    for name, tables in {"best static": (0, 1), "softmax bandit": (0, 1), "token level": (2, 3),
                         "both levels": (3,)}.items():
        rows = [next(r for r in told[table]["rows"] if r["name"] == name) for table in tables]
        accuracy, pass_at_k = lines(drawn["accuracy"], name), lines(drawn["pass_at_k"], name)
        assert len(accuracy) == len(pass_at_k) == len(rows)
        for row, line in zip(rows, accuracy):
            assert line.get_xdata().tolist() == list(BUDGETS)
            assert line.get_ydata() == pytest.approx(
                [100 * row["cells"][f"pass@1[{t}]"]["mean"] for t in range(5)])
        for row, line in zip(rows, pass_at_k):
            assert line.get_ydata() == pytest.approx(
                [100 * row["cells"][f"pass@{k}[2]"]["mean"] for k in (1, 2, 4, 8)])


def test_regret_is_what_was_lost_pull_by_pull():
    assert figures.cumulative_regret(np.array([.5, .7, .75]), .75, 16) == pytest.approx(
        [4, 4.8, 4.8])


def test_no_two_lines_of_a_panel_share_dashes_and_marker(drawn):
    for name, figure in drawn.items():
        for ax in figure.axes:
            looks = [(str(line._dash_pattern), line.get_marker()) for line in ax.lines
                     if not line.get_label().startswith("_")]
            assert len(looks) == len(set(looks)), name


def test_every_figure_is_written_twice_alike_and_one_without_data_is_named(folder):
    pytest.importorskip("matplotlib")
    (folder / "tokens.csv").unlink()
    left_out = []
    first, again = (dict(figures.pictures(Data(str(folder)), ("png", "svg"), left_out.append))
                    for _ in range(2))
    without = {"entropy", "temperature", "kinds"}
    assert set(first) == {f.__name__ for f in figures.FIGURES} - without
    assert first == again and all(x["png"].startswith(b"\x89PNG") for x in first.values())
    assert left_out == 2 * [f"no figure {name}: no tokens.csv"
                            for name in ("entropy", "temperature", "kinds")]


def test_figures_without_matplotlib_end_with_one_line(folder, monkeypatch):
    monkeypatch.setattr(figures, "matplotlib", None)
    with pytest.raises(UserError, match="figures need matplotlib: ./run -m pip install"):
        next(figures.pictures(Data(str(folder)), ("svg",), print))


# ---- the page -----------------------------------------------------------------------------------
class Reader(HTMLParser):
    """Counts tags and ids; every tag that opens must close."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.ids, self.open, self.text = Counter(), Counter(), [], text
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags[tag] += 1
        self.ids.update(v for k, v in attributes if k == "id")
        if tag not in ("meta", "br", "input"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.ids.update(v for k, v in attributes if k == "id")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_whole_alone_and_shows_text_as_text(folder):
    told = Reader(page.page(Data(str(folder))))
    assert not told.open and told.tags["script"] == 0
    assert not re.search(r"(src|href)=\"(?!#|data:)|url\((?!#)|@import", told.text)
    assert max(told.ids.values(), default=1) == 1                     # ids of inlined figures
    for name in POLICIES:
        assert escape(name) in told.text
    assert len(re.findall('<div class="text (?:solved|failed)">', told.text)) == 20 + 4
    assert "&lt;script&gt;alert" in told.text
    assert told.tags["table"] == 1 + 2 + 2 + 1 + 2 + 1 + 1
    assert told.text.index("softmax bandit") < told.text.index("<svg" if "<svg" in told.text
                                                               else "One problem")
    if figures.matplotlib is None:
        assert "no figures: they need matplotlib" in told.text
    else:
        assert told.tags["svg"] == len(figures.FIGURES)


def test_cells_carry_difference_bracket_and_star(folder):
    told = json.loads((folder / "results.json").read_text())
    cell = told["tables"][2]["rows"][4]["cells"]["pass@1[0]"]
    low, high = cell["difference_interval"]
    assert low > 0 and cell["holm"] < .05
    shown = f"{100 * cell['mean']:.1f} ±{50 * (cell['interval'][1] - cell['interval'][0]):.1f}"
    expected = f"<td>{shown}<br><small>{100 * cell['difference']:+.1f} ±{50 * (high - low):.1f}*"
    assert expected in page.result_table(told["tables"][2], BUDGETS)
    assert page.cell_html(None) == ""


def test_a_token_is_coloured_where_it_is_a_decision_and_tells_its_numbers():
    x = {"text": "<\n", "action": 3, "decision": True, "p": .25, "p_max": .5, "entropy": 1.2,
         "left": 7, "value": .4}
    html = page.token_html(x)
    assert html.startswith('<span class="a3" tabindex="0" data-tip="tau = 1.25; p = 0.250,')
    assert "&lt;↵\n" in html
    assert "7 tokens left" in html and "value 0.40" in html
    assert "class" not in page.token_html(x | {"decision": False})


def test_every_action_has_a_look_of_its_own_and_one_more_for_a_users():
    css = (page.HERE / "page.css").read_text()
    kinds = len(plots.ACTIONS) + 1
    assert page.LOOKS == kinds and all(f".a{action} {{" in css for action in range(kinds))
    assert len(set(zip(sample_svg.DASHES, sample_svg.WIDTHS))) == len(sample_svg.COLOURS) == kinds


def test_of_a_long_prompt_the_question_is_shown_and_the_examples_are_folded():
    assert page.prompt_html("7+8<9:") == "7+8&lt;9:"
    html = page.prompt_html("Question: 1+1\nAnswer: 2\n\nQuestion: <3>\nAnswer:")
    folded, shown = html.split("</details>")
    assert folded == "<details><summary>3 more lines</summary>Question: 1+1\nAnswer: 2\n\n"
    assert shown == "Question: &lt;3&gt;\nAnswer:"


def test_a_folder_that_is_none_and_a_run_without_texts(folder, tmp_path):
    with pytest.raises(UserError, match="there is no folder"):
        Data(str(tmp_path / "missing"))
    for name in ("generations.json", "comparison.json"):
        (folder / name).unlink()
        assert f"Nothing to show: no {name}" in page.page(Data(str(folder)))
    with pytest.raises(Missing, match="no comparison.json"):
        sample_svg.picture(Data(str(folder)).json("comparison.json"))


# ---- the page in a browser ----------------------------------------------------------------------
OVERFLOWING = """[...document.querySelectorAll("body *")].filter(e =>
    !e.closest(".wide") && !e.closest("svg") && e.getBoundingClientRect().right > innerWidth + 0.5)
    .map(e => e.outerHTML.slice(0, 80))"""
TIP = 'getComputedStyle({}, "::after").content'
# Contrast of two colours as WCAG 2 defines it: 4.5 is its limit for text
CONTRAST = """(() => {
    const rgb = x => x.match(/[0-9.]+/g).map(Number);
    const L = x => { const [r, g, b] = rgb(x).map(v => (v /= 255) <= .04045 ? v / 12.92
                     : ((v + .055) / 1.055) ** 2.4); return .2126 * r + .7152 * g + .0722 * b };
    const s = getComputedStyle(document.body), [a, b] = [L(s.color), L(s.backgroundColor)];
    return (Math.max(a, b) + .05) / (Math.min(a, b) + .05) })()"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if PROGRAM is None:
        pytest.skip("no Chromium is installed")
    path = page.write_page(str(make_run(tmp_path_factory.mktemp("shown"))))
    with Browser(path) as browser:
        yield browser


@pytest.mark.parametrize("scheme", ("light", "dark"))
@pytest.mark.parametrize("width", (420, 1100))
def test_nothing_overflows_and_the_text_can_be_read(browser, width, scheme):
    browser.size(width, scheme)
    browser.js("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert browser.js("innerWidth") == width
    assert browser.js("document.documentElement.scrollWidth") <= width
    assert not browser.js(OVERFLOWING)
    assert browser.js(CONTRAST) > 4.5
    dark = browser.js("getComputedStyle(document.body).backgroundColor") == "rgb(23, 23, 26)"
    assert dark == (scheme == "dark")


def test_the_pointer_and_the_tab_key_show_a_tokens_numbers(browser):
    browser.size(1100, "light")
    token = 'document.querySelector(".shown .a0[data-tip]")'
    assert browser.js(TIP.format(token)) == "none"
    browser.hover(".shown .a0[data-tip]")
    shown = browser.js(TIP.format(token))
    assert re.search(r"greedy; p = .*entropy .* nats, .* tokens left", shown)
    browser.key("Tab", 9)                                            # to the page's first decision
    focused = browser.js(TIP.format("document.activeElement"))
    assert "p_max" in focused and "value" in focused


def test_the_filter_shows_what_was_solved_or_not(browser):
    shown = """['solved', 'failed'].map(kind => [...document.querySelectorAll('.shown .' + kind)]
               .filter(e => e.offsetParent !== null).length)"""
    for choice, counts in (("all", [10, 10]), ("solved", [10, 0]), ("failed", [0, 10])):
        browser.js(f"document.getElementById({choice!r}).click()")
        assert browser.js(shown) == counts


# ---- the picture of one problem, the summary ----------------------------------------------------
def test_the_picture_shows_every_policy_and_marks_decisions_alone(folder):
    entries = json.loads((folder / "comparison.json").read_text())
    svg = sample_svg.picture(entries)
    Reader(svg)
    for entry in entries:
        assert f">{entry['policy']}" in svg and escape(run_data.verdict_of(entry)) in svg
    said = run_data.verdict_of(entries[0])
    assert said == "29 of 18 tokens, ran out; wrong, the right answer is 29"
    assert run_data.verdict_of(entries[0] | {"answer": ""}).endswith("; wrong")
    decisions = sum(token["decision"] for entry in entries for token in entry["tokens"])
    assert svg.count("<path") == decisions + len(plots.ACTIONS)
    furthest = max(float(x) + float(width) for x, width in
                   re.findall(r'<text x="([\d.]+)" y="\d+" textLength="([\d.]+)"', svg))
    assert furthest <= 2 * sample_svg.MARGIN + sample_svg.CHARACTER * sample_svg.COLUMNS
    assert "<script>" not in svg


def test_the_summary_has_the_tables_numbers_and_says_what_is_no_difference(folder):
    told = json.loads((folder / "results.json").read_text())
    text = summary.summary(told)
    row = next(r for r in told["tables"][2]["rows"] if r["name"] == "token level")
    means = "".join(f"{100 * row['cells'][f'pass@1[{t}]']['mean']:7.1f}" for t in range(5))
    assert f"token level               {means}   a temperature" in text
    cell = row["cells"]["pass@1[0]"]
    low, high = (100 * end for end in cell["difference_interval"])
    expected = (f"{100 * cell['difference']:+.1f} points at T = 18, 95 % interval {low:.1f} to "
                f"{high:.1f}")
    assert f"token level:     {expected}\n" in text and "mean nothing yet" not in text
    # The bandit of both styles: the last of the sequence level's tables
    assert list(told["selection"]) == ["cot", "cot,direct"]
    both = next(r for r in told["tables"][1]["rows"] if r["name"] == "softmax bandit")
    points = 100 * both["cells"]["pass@1[0]"]["difference"]
    assert f"\nall styles:      {points:+.1f} points at T = 18" in text
    mean = 100 * both["cells"]["pass@1[0]"]["mean"]
    assert f"\nsoftmax bandit, all styles{mean:7.1f}" in text
    cell["difference_interval"] = [-.01, .02]
    assert "95 % interval -1.0 to 2.0: no difference\n" in summary.summary(told)
    told["about"]["problems"] = QUICK["test_problems"]
    assert "mean nothing yet" in summary.summary(told)
