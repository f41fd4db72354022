"""A page of runs: its numbers are those of slow sums, it loads nothing, and it tells what is wrong with a run."""

import base64
import functools
import io
import json
import re
import shlex
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from command_lines import status_of
from folders import grid, written
from PIL import Image

import qjax
from experiments import frozenlake
from qjax import stats
from qjax.cli import report
from qjax.cli.arguments import resolve
from qjax.cli.reading import read

RNG = np.random.default_rng(5)
RETURNS = np.linspace(0, 1, 20) + RNG.normal(0, 0.1, (2, 8, 20))
SCORES = np.round(RNG.random((2, 8)), 3)
COST = {"env_steps": 123_456, "compile_s": 2.5, "run_s": 4.0}
EMPTY = {"area", "base", "br", "col", "hr", "img", "input", "link", "meta", "source", "wbr"}


command = functools.partial(status_of, report.main)


class Page(HTMLParser):
    """A page as a reader finds it."""

    def __init__(self, path):
        super().__init__()
        self.text = Path(path).read_text()
        self.tags, self.ids, self.links, self.loads, self.open = [], [], [], [], []
        self.tables, self.captions, self.code, self.headings, self.words = [], [], [], [], []
        self.feed(self.text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.tags.append(tag)
        self.open += [tag] if tag not in EMPTY else []
        self.ids += [given["id"]] if "id" in given else []
        self.links += [given["href"]] if "href" in given else []
        self.loads += [given[name] for name in ("src", "srcset", "data", "action", "poster") if name in given]
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("th", "td"):
            self.tables[-1][-1].append("")
        elif tag in ("figcaption", "code", "h2", "p"):
            {"figcaption": self.captions, "code": self.code, "h2": self.headings, "p": self.words}[tag].append("")

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag):
        if tag not in EMPTY:
            assert self.open.pop() == tag

    def handle_data(self, data):
        for tag, found in (
            ("figcaption", self.captions),
            ("code", self.code),
            ("h2", self.headings),
            ("p", self.words),
        ):
            if tag in self.open:
                found[-1] += data
        if self.open and self.open[-1] in ("th", "td"):
            self.tables[-1][-1][-1] += data.replace("\N{NO-BREAK SPACE}", " ")

    def table(self, column):
        """Return the first table with such a column, as dicts by the first row."""
        columns, *rows = next(table for table in self.tables if column in table[0])
        return [dict(zip(columns, row, strict=True)) for row in rows]


def page(tmp_path, *runs, **options):
    out = tmp_path / "page.html"
    report.write(runs, out, **{"animate": False, **options})
    return Page(out)


def slow_iqm(values):
    kept = sorted(values)[len(values) // 4 : len(values) - len(values) // 4]
    return sum(kept) / len(kept)


def in_words(values):
    low, high = stats.iqm_interval(values)
    return f"{slow_iqm(values):.2f} [{low:.2f}, {high:.2f}]"


# ---- what the page says


def test_scores_are_those_of_the_tables_and_the_summary(tmp_path):
    evaluated = np.full((2, 8, 20), np.nan)
    evaluated[..., 9], evaluated[..., 19] = 0.5, SCORES[::-1]
    options = {"logged": {"eval_return": evaluated}, "diverged": [[-1] * 8, [-1] * 5 + [700, 900, 1100]]}
    run = written(tmp_path / "lake", RETURNS, {"alpha": [0.1, 0.5]}, SCORES, summary=COST, **options)
    found = page(tmp_path, run)
    rows = found.table("greedy return [95% interval]")
    assert [row["setting"] for row in rows] == ["alpha=0.1", "alpha=0.5"]
    for row, returns, own, last in zip(rows, RETURNS.astype(np.float32), SCORES, SCORES[::-1], strict=True):
        assert row["greedy return [95% interval]"] == in_words(own)
        assert (row["worst seed"], row["best seed"]) == (f"{own.min():.2f}", f"{own.max():.2f}")
        assert row["training return [95% interval]"] == in_words(returns[:, 17:].mean(1))
        assert row["last evaluation [95% interval]"] == in_words(last.astype(np.float32))
    assert [row["diverged"] for row in rows] == ["0 of 8 (0%)", "3 of 8 (38%)"]
    lost = found.table("at environment step")
    assert [(row["setting"], row["seed"], row["at environment step"]) for row in lost] == [
        ("alpha=0.5", "5", "700"), ("alpha=0.5", "6", "900"), ("alpha=0.5", "7", "1,100"),
    ]  # fmt: skip
    (took,) = found.table("compile (s)")
    assert [took[name] for name in ("environment steps", "compile (s)", "run (s)", "steps per second")] == [
        "123,456", "2.5", "4.0", "30,864",
    ]  # fmt: skip
    assert found.headings == [
        "What was run", "Scores", "Comparison", "Learning curves", "Seeds", "Sensitivity to swept values",
        "Divergence", "Compute", "Settings", "Commands",
    ]  # fmt: skip
    assert sum("greedy return while training" in caption for caption in found.captions) == 1
    assert any("8 seeds" in caption and "95% bootstrap interval" in caption for caption in found.captions)


def test_runs_are_compared_seed_by_seed(tmp_path):
    one = written(tmp_path / "one", RETURNS[:1], scores=SCORES[:1])
    two = written(tmp_path / "two", RETURNS[1:, :6], scores=SCORES[1:, :6], experiment="sarsa")
    x, y = SCORES[0], SCORES[1, :6]
    better = sum((a > b) + (a == b) / 2 for a in x for b in y) / 48
    found = page(tmp_path, one, two)
    first, second = found.table("beats")
    _, low, high = stats.improvement(y, x)
    assert second["one"] == f"{1 - better:.0%} [{low:.0%}, {high:.0%}]" and second["two"] == ""
    assert first["two"].startswith(f"{better:.0%} [{1 - high:.0%}, ")
    turned = page(tmp_path, one, two, choices=qjax.cli.compare.Choices(lower=True))
    assert turned.table("beats")[1]["one"].startswith(f"{better:.0%} [")
    far = written(tmp_path / "far", RETURNS[:1], scores=SCORES[:1], env="Taxi-v4")
    assert all("far" not in row for row in page(tmp_path, one, two, far).table("beats"))


def test_settings_that_differ_come_first(tmp_path):
    given = {"config": {"alpha": 0.1, "gamma": 0.99, "ties": None}, "seeds": 8}
    one = written(tmp_path / "one", RETURNS[:1], arguments=given)
    two = written(tmp_path / "two", RETURNS[:1], arguments={**given, "config": {"alpha": 0.3, "gamma": 0.99}})
    found = page(tmp_path, one, two)
    (differs,) = [table for table in found.tables if table[0] == ["", "one", "two"]]
    assert differs[1:] == [["alpha", "0.1", "0.3"]]
    assert re.findall("<dt>(.*?)</dt> <dd>(.*?)</dd>", found.text) == [("gamma", "0.99"), ("seeds", "8")]
    configs = [json.loads(text) for text in found.code if text.startswith("{")]
    assert [config["arguments"]["config"]["alpha"] for config in configs] == [0.1, 0.3]


def test_a_grids_runs_are_one(tmp_path):
    # Each setting's own row has its own part's divergence, whatever the order of folders.
    folder = grid(
        tmp_path / "grid",
        {"n": [3, 1], "alpha": [0.1, 0.5]},
        {
            "n=3": {"returns": RETURNS, "hypers": {"alpha": [0.1, 0.5]}, "diverged": [[-1] * 8, [100] * 8]},
            "n=1": {"returns": RETURNS, "hypers": {"alpha": [0.1, 0.5]}},
        },
    )
    found = page(tmp_path, folder)
    rows = {row["setting"]: row["diverged"][:1] for row in found.table("diverged")}
    assert rows == {"n=3, alpha=0.1": "0", "n=3, alpha=0.5": "8", "n=1, alpha=0.1": "0", "n=1, alpha=0.5": "0"}
    assert [row["run"] for row in found.table("agents")] == [
        "grid n=1", "grid n=3",
    ]  # fmt: skip
    assert "data:image/png;base64," in found.text  # the heat map


# ---- one file


def test_the_page_loads_nothing(tmp_path):
    hypers = {"alpha": [0.1, 0.5], "gamma": [0.9, 0.99]}
    run = written(tmp_path / "run", RETURNS, hypers, SCORES)
    found = page(tmp_path, run, written(tmp_path / "other", RETURNS[:1], scores=SCORES[:1]))
    assert "http:" not in found.text and "https:" not in found.text and "@import" not in found.text
    assert not {"script", "link", "iframe", "object", "embed", "form", "base"} & set(found.tags)
    assert all(load.startswith("data:image/") for load in found.loads) and len(found.loads) == 1
    assert "default-src 'none'; img-src data:" in found.text
    assert len(set(found.ids)) == len(found.ids) > 50
    used = {*found.links, *re.findall(r"url\((#[^)]+)\)", found.text)}
    assert used and {f"#{each}" for each in found.ids} >= used
    assert len(found.text) < 1_000_000


def test_pictures_take_the_pages_colours(tmp_path):
    found = page(tmp_path, written(tmp_path / "run", RETURNS[:1], scores=SCORES[:1]))
    pictures = re.findall("<svg .*?</svg>", found.text, re.DOTALL)
    assert len(pictures) == 4
    for picture in pictures:
        assert "currentColor" in picture and "var(--line-0, #0072b2)" in picture
        assert "#000000" not in picture and "#ffffff" not in picture and "<!--" not in picture
    assert "prefers-color-scheme: dark" in found.text and "@media print" in found.text


def test_hostile_names_are_text(tmp_path):
    name = "<script>alert(1)<b>&\"'--> $x^$ {{ 7 * 7 }} %s"
    arguments = {"env": "</style><img src=x>", "config": {"<i>": "</pre><u>"}}
    options = {"experiment": "<script>", "arguments": arguments, "env": "</svg><script>"}
    run = written(tmp_path / "runs", RETURNS, {"alpha": [0.1, 0.5]}, SCORES, **options)
    found = page(tmp_path, run, labels=[name])
    assert "script" not in found.tags and not {"b", "i", "u"} & set(found.tags) - {"b"}
    assert found.tags.count("b") == len(found.captions)
    assert found.table("algorithm")[0]["run"] == name and "49" not in found.table("algorithm")[0]["run"]
    assert found.loads == [] and found.headings[1] == "Scores"


def test_the_page_does_not_tell_where_runs_lie(tmp_path, monkeypatch):
    machine = {"out": str(tmp_path / "run"), "initial_agents": str(tmp_path), "script": "my.script"}
    arguments = {"file": str(tmp_path / "weights.npz"), "seeds": 8}
    run = written(tmp_path / "run", RETURNS[:1], arguments=arguments, machine=machine, log_points=40)
    (tmp_path / "none").mkdir()
    shutil.copytree(run, tmp_path / "bad")
    (tmp_path / "bad" / "metrics.csv").write_text("seed\n")
    found = page(tmp_path, run, tmp_path / "bad", tmp_path / "none")
    assert str(tmp_path) not in found.text and tmp_path.name not in found.text
    assert "run: interrupted after 20 of 40 log points" in found.words
    assert "none is not on this page: none holds no run: it has no config.json" in found.words
    monkeypatch.chdir(tmp_path / "run")
    assert "run" in page(tmp_path, Path()).table("algorithm")[0]["run"]


# ---- commands


@pytest.mark.parametrize(
    "words",
    [
        "q-learning --seeds 8",
        "sarsa --env FrozenLake-v1 --env-kwargs map_name=8x8 is_slippery=false --alpha 0.1 0.5 --seeds 4",
        "dqn --env Acrobot-v1 --hidden 64,64 --lr 1e-4 1e-3 --batch-size 32 64 --evaluate-every 5",
        "--preset cleanrl-dqn --seeds 3 --seed 7 --fast-keys --log-points 10",
        "q-learning --episodes 100 --ties first --exact --wrap reward_scale=2.0",
        "c51 --support -10 10.5 --atoms 11",
    ],
)
def test_the_command_gives_the_arguments_again(tmp_path, words):
    recorded = resolve(read([*words.split(), "--out", "x"])).recorded
    recorded = json.loads(json.dumps(recorded))
    machine, arguments = {"script": "qjax.cli.train"}, {**recorded, "assumed": "rewards in [0, 1]"}
    options = {"experiment": recorded["name"], "arguments": arguments, "machine": machine}
    returns = RNG.random((1, recorded["seeds"], 5))
    found = page(tmp_path, written(tmp_path / "my run", returns, log_points=40, **options))
    again, resume = (shlex.split(text.replace("\\\n", "")) for text in found.code if text.startswith("qjax train"))
    assert again[:2] == ["qjax", "train"] and again[-2:] == ["--out", "my run"] and resume == [*again, "--resume"]
    assert json.loads(json.dumps(resolve(read(again[2:])).recorded)) == recorded
    assert max(len(line) for text in found.code for line in text.splitlines()) < 100


@pytest.mark.parametrize(
    ("change", "told"),
    [({"gamma": None}, "q-learning has no value for gamma"), ({"epsilon": 0.1}, "flags do not give all")],
)
def test_a_command_that_flags_cannot_give_is_not_shown(tmp_path, change, told):
    recorded = json.loads(json.dumps(resolve(read(["q-learning", "--seeds", "8", "--out", "x"])).recorded))
    recorded["config"] |= change
    options = {"experiment": "q-learning", "arguments": recorded, "machine": {"script": "qjax.cli.train"}}
    found = page(tmp_path, written(tmp_path / "run", RETURNS[:1], **options))
    assert not any(text.startswith("qjax train") for text in found.code)
    assert any("run: no command can be written: " in words and told in words for words in found.words)


def test_the_command_of_a_script(tmp_path):
    given = {
        "arguments": {"seeds": 8, "b": False, "c": None, "d": ["x y", "z"]},
        "machine": {"script": "my.script"},
    }
    found = page(tmp_path, written(tmp_path / "script", RETURNS[:1], scores=SCORES[:1], **given))
    words = next(shlex.split(text.replace("\\\n", "")) for text in found.code if text.startswith("python"))
    assert words == ["python", "-m", "my.script", "--seeds", "8", "--no-b", "--d", "x y", "z", "--out", "script"]


# ---- agents at play


def test_an_agent_plays(tmp_path):
    pytest.importorskip("pygame")
    out, path, right = tmp_path / "lake", [0, 4, 8, 9, 10, 14], [1, 1, 2, 2, 1, 2]
    tables = np.zeros((3, 16, 4), np.float32)
    tables[1, path, right] = 1
    given = frozenlake.Arguments(seeds=3, ties="first", slippery=False, out=out)
    written(out, RETURNS[:1, :3], scores=[[0.0, 0.5, 1.0]], experiment="frozenlake", agents=tables,
            arguments=given.recorded, machine=given.machine)  # fmt: skip
    found = page(tmp_path, out, animate=True, episodes=2)
    gif, still = (base64.b64decode(each.partition(",")[2]) for each in sorted(found.loads))
    with Image.open(io.BytesIO(gif)) as moving, Image.open(io.BytesIO(still)) as first:
        assert (moving.format, moving.n_frames, first.format) == ("GIF", 14, "PNG")
        assert moving.size == first.size and moving.size[0] == 240
    assert any(
        "seed 1, the seed with the median score" in each and "Return 1, 1" in each for each in found.captions
    )
    assert "(prefers-reduced-motion: reduce), print" in found.text
    shutil.rmtree(out / "agents")
    told = page(tmp_path, out, animate=True)
    assert any("No agent of lake is shown: lake holds no final agents" in words for words in told.words)
    assert told.loads == []


# ---- bad folders, bad arguments


def test_a_run_that_was_killed_is_shown_as_far_as_it_goes(tmp_path, capsys):
    run = written(tmp_path / "run", RETURNS[:1], log_points=40)
    assert command(run, "--out", tmp_path / "page.html") == 0
    assert "interrupted after 20 of 40 log points" in capsys.readouterr().err
    found = Page(tmp_path / "page.html")
    assert found.table("state")[0]["state"] == "interrupted, or goes on: 2,000 environment steps so far"
    assert found.table("environment steps")[0]["environment steps"] == "16,000 so far"
    assert "greedy return [95% interval]" not in found.table("diverged")[0]
    assert {"Scores", "Learning curves", "Compute", "Settings", "Commands"} <= set(found.headings)


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (lambda run: (run / "metrics.csv").unlink(), "bad holds neither metrics.csv nor metrics.parquet"),
        (lambda run: (run / "metrics.csv").write_text("seed,x\n0\n"), "metrics.csv is damaged: line 2 has 1 cells"),
        (lambda run: (run / "summary.json").write_text("{"), "summary.json is damaged: "),
    ],
)
def test_a_damaged_run_takes_no_other_away(tmp_path, capsys, harm, told):
    good = written(tmp_path / "good", RETURNS[:1], scores=SCORES[:1])
    bad = shutil.copytree(good, tmp_path / "bad")
    harm(bad)
    assert command(bad, good, "--out", tmp_path / "page.html", "--no-animation") == 1
    assert told in capsys.readouterr().err
    found = Page(tmp_path / "page.html")
    assert any(told in words for words in found.words)
    assert [row["run"] for row in found.table("training return [95% interval]")] == ["good"]
    assert [row["state"] for row in found.table("state")] == ["nothing can be read of its table", "ended"]
    if (bad / "summary.json").read_text() != "{":
        (row,) = next(
            [dict(zip(table[0], row, strict=True)) for row in table[1:]]
            for table in found.tables
            if "worst seed" in table[0] and "diverged" not in table[0]
        )
        assert row["run"] == "bad" and row["greedy return [95% interval]"] == in_words(SCORES[0])
    assert command(bad, "--out", tmp_path / "alone.html") == 1
    assert any(told in words for words in Page(tmp_path / "alone.html").words)


def test_what_is_no_run_is_passed_over_or_refused(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    good, out = written(tmp_path / "good", RETURNS[:1]), tmp_path / "page.html"
    assert command(tmp_path / "empty", good, tmp_path / "nowhere", "--out", out) == 1
    said = capsys.readouterr().err
    assert "passed over: " in said and "empty holds no run: it has no config.json" in said
    assert "nowhere holds no run: there is no such folder" in said
    found = Page(out)
    assert [row["run"] for row in found.table("algorithm")] == ["good"]
    assert sum("is not on this page" in words for words in found.words) == 2
    before = out.read_bytes()
    assert command(tmp_path / "empty", tmp_path / "nowhere", "--out", out) == 2
    assert "empty holds no run" in capsys.readouterr().err and out.read_bytes() == before


def test_bad_arguments(tmp_path, capsys):
    run = written(tmp_path / "run", RETURNS[:1])
    (tmp_path / "folder.html").mkdir()
    for words, told in (
        ([], "name at least one RUN"),
        ([run, "--out", "-"], "--out names a page, *.html; got -"),
        ([run, "--out", tmp_path / "none" / "x.html"], "there is no folder "),
        ([run, "--out", tmp_path / "folder.html"], "folder.html is a folder; --out names a page"),
        ([run, run], "run is named twice"),
        ([run, "--labels", "a", "b"], "give one label for each RUN: 2 labels, 1 runs"),
        ([run, "--episodes", "0"], "episodes must be at least 1, got 0"),
        ([run, "--window", "0"], "window must be at least 1, got 0"),
        ([run, "--score", "evaluation"], "no evaluation of run"),
    ):
        assert command(*words) == 2
        assert told in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.html.new")) and not (run / "report.html").exists()
    assert command(run, "--no-animation") == 0 and (run / "report.html").is_file()
    with pytest.raises(TypeError, match="runs must be a sequence of folders"):
        report.write("run", tmp_path / "x.html")


def test_the_same_runs_make_the_same_page(tmp_path):
    run = written(tmp_path / "run", RETURNS, {"alpha": [0.1, 0.5]}, SCORES)
    assert page(tmp_path, run).text == page(tmp_path, run).text
    assert command(run, "--out", tmp_path / "page.html", "--no-animation") == 0
    assert (tmp_path / "page.html").read_text() == page(tmp_path, run).text


# ---- searches


def search(folder, **changes):
    """Write a search of six settings with two rungs, and its runs on fresh seeds."""
    merits = np.array([[0.1, 0.4, 0.2, 0.3, -np.inf, 0.0], [-np.inf, 0.5, -np.inf, 0.7, -np.inf, -np.inf]])
    rungs = [
        {"steps": 500, "scores": {}, "merit": merits[0].tolist(), "survivors": [1, 3]},
        {"steps": 2000, "scores": {}, "merit": merits[1].tolist(), "survivors": [3]},
    ]
    hypers = {"alpha": [0.001, 0.01, 0.1, 0.5, 0.7, 1.0]}
    alone = [
        {"setting": {"alpha": a}, "scores": {"": own.tolist()}, "env_steps": 16_000}
        for a, own in zip((0.5, 0.1), SCORES, strict=True)
    ]
    written_ = {
        "score": {"metric": "mean_return", "kind": "final", "lower": False},
        "brackets": [{"name": "bracket_0", "static": {}, "hypers": hypers, "rungs": rungs}],
        "winner": alone[0],
        "default": alone[1],
        "comparison": {"": {"difference": [0.25, 0.125, 0.5], "improvement": [0.75, 0.5, 1.0]}},
        "sensitivity": {
            "alpha": {"values": [0.1, 0.5], "scores": {"": [[0.1, 0.2, 0.3], [0.5, 0.6, "-inf"]]}},
        },
        "tuning_score": 0.7,
        "env_steps": {"tuning": 40_000, "grid": 100_000, "fresh": 32_000},
    }
    told = {"space": {"alpha": "log:1e-3:1"}, "environments": ["Lake", "Cliff"]}
    machine = {"script": "qjax.cli.search", "words": ["q-learning", "--space", "alpha=log:1e-3:1"]}
    with qjax.Run(folder, "search", {"name": "q-learning", "search": told}, machine=machine) as run:
        run.lifecycle.begin()
        for name, returns in zip(("winner", "default"), RETURNS, strict=True):
            written(folder / f"fresh_{name}", returns[None])
        written(folder / "bracket_0", RETURNS[:, :4], {"alpha": [0.1, 0.5]})
        (folder / "search.json").write_text(json.dumps({**written_, **changes}))
        run.finish({"experiment": "search"})
    return folder


def test_a_search_shows_rungs_and_fresh_seeds(tmp_path):
    found = page(tmp_path, search(tmp_path / "found"))
    winner, default = found.table("score [95% interval]")
    assert found.table("algorithm")[0]["environment"] == "Lake, Cliff"
    assert (winner["setting"], winner["score [95% interval]"]) == ("alpha=0.5", in_words(SCORES[0]))
    assert (default["setting"], default["score [95% interval]"]) == ("alpha=0.1", in_words(SCORES[1]))
    assert any("75% [50%, 100%]; difference 0.25 [0.125, 0.5]" in caption for caption in found.captions)
    assert [list(row.values()) for row in found.table("go on")] == [
        ["bracket_0", "500", "6", "2", "0.4", "0.2", "0"], ["bracket_0", "2,000", "2", "1", "0.7", "0.6", "0.5"],
    ]  # fmt: skip
    assert any("40,000" in words and "100,000, 2.5 times as many" in words for words in found.words)
    assert sum("Sensitivity to alpha" in caption for caption in found.captions) == 1
    # What is compared are the runs on fresh seeds, not those of the brackets.
    assert [row["run"] for row in found.table("training return [95% interval]")] == [
        "found/fresh_default", "found/fresh_winner",
    ]  # fmt: skip
    assert [row["run"] for row in found.table("agents")] == [
        "found bracket_0", "found/fresh_default", "found/fresh_winner",
    ]  # fmt: skip
    assert (
        "qjax report found" in found.code[-1]
        and "qjax plot found/fresh_default found/fresh_winner" in found.code[-1]
    )
    again = next(text for text in found.code if text.startswith("qjax"))
    assert again == "qjax search q-learning --space alpha=log:1e-3:1 --out found"
    assert sum("whose command makes it, too" in words for words in found.words) == 2
    varied = found.table("winner")
    assert [row["alpha"] for row in varied] == ["0.1", "0.5"]
    assert varied[0]["winner"].startswith("0.20 [") and varied[1]["winner"].startswith("-inf [")
    assert "<h1>found on FrozenLake-v1</h1>" in found.text and "alpha</dt> <dd>log:1e-3:1<" in found.text


def test_what_diverged_on_fresh_seeds_is_told(tmp_path):
    alone = {"setting": {"alpha": 0.5}, "scores": {"": ["-inf", *SCORES[0].tolist()[1:]]}, "env_steps": 16_000}
    told = "A seed that diverged counts here as worse than any other"
    assert any(told in caption for caption in page(tmp_path, search(tmp_path / "lost", winner=alone)).captions)
    assert not any(told in caption for caption in page(tmp_path, search(tmp_path / "found")).captions)


def test_a_search_that_has_not_ended_or_is_damaged_is_shown_as_far_as_it_goes(tmp_path):
    folder = search(tmp_path / "found", brackets=[{"hypers": {}}])
    found = page(tmp_path, folder)
    assert any("found: search.json is damaged" in words and "brackets." in words for words in found.words)
    shutil.rmtree(folder)
    first = json.loads((search(tmp_path / "whole") / "search.json").read_text())["brackets"][0]
    first["rungs"] = first["rungs"][:1]
    nothing = {"winner": None, "default": None, "comparison": {}, "sensitivity": {}, "tuning_score": None}
    folder = search(tmp_path / "found", brackets=[first], **nothing)
    (folder / "summary.json").unlink()
    found = page(tmp_path, folder)
    assert [list(row.values())[1:4] for row in found.table("go on")] == [["500", "6", "2"]]
    assert any("until the last of these rungs" in words for words in found.words)
    assert any(text.endswith("--out found --resume") for text in found.code)
    (folder / "search.json").unlink()
    found = page(tmp_path, folder)
    assert any("The search has not ended" in words for words in found.words)
    assert any("No rung has been decided yet" in words for words in found.words)
    assert found.table("state")[0]["state"] == "has not ended" and len(found.table("state")) == 3
    assert command(folder, "--out", tmp_path / "page.html", "--no-animation") == 0


def test_runs_with_seeds_of_their_own_have_no_command(tmp_path):
    recorded = json.loads(json.dumps(resolve(read(["q-learning", "--seeds", "8", "--out", "x"])).recorded))
    run = written(tmp_path / "run", RETURNS[:1], arguments=recorded, machine={"script": "qjax.cli.train"})
    assert any(text.startswith("qjax train") for text in page(tmp_path, run).code)
    config = json.loads((run / "config.json").read_text())
    config["sweep"]["seeds"] = [0, 1, 2, 3, 4, 5, 6, 9]
    (run / "config.json").write_text(json.dumps(config))
    found = page(tmp_path, run)
    assert any("its seeds are 0,1,2,3,4,5,6,9, and flags give 0 to 7" in words for words in found.words)
    config["sweep"] |= {"seeds": 8, "initial": "a digest"}
    (run / "config.json").write_text(json.dumps(config))
    again = next(text for text in page(tmp_path, run).code if text.startswith("qjax train"))
    assert "--initial-agents RUN " in again
