"""The tables that people wrote on the pages of results are those of the records."""

from pathlib import Path

import numpy as np

from experiments import records, searched, truncation
from qjax import algorithms, stats
from qjax.cli.command import describe_interval
from qjax.core import jsonfile

DOCS = Path(__file__).parents[2] / "docs"
OFFLINE = {"cql", "bcq"}
"""They learn from recorded data, of which they have tables of their own."""


def tables_of(section, page="results"):
    """Return the rows of the tables of a section, without their heads."""
    text = (DOCS / f"{page}.md").read_text().split(f"\n## {section}\n")[1].split("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if "---" not in line][1:]


def greedy_of(name):
    return np.array(records.read(records.RECORDS / f"{name}.json")["greedy"])


def shown(scores, places):
    return f"{stats.iqm(scores):z.{places}f} {describe_interval(scores, places)[1]}"


def test_the_three_tasks_of_bsuite_are_those_of_the_records():
    rows = tables_of("Three small tasks of bsuite")
    tasks = (("Catch", "", 20_000), ("DeepSea", "-size-10", 20_000), ("MemoryChain", "-memory_length-10", 24_000))
    for name, *cells in rows:
        for (task, made, steps), cell in zip(tasks, cells, strict=True):
            scores = greedy_of(f"{task}-bsuite{made}-{name.strip('`')}-{steps}")
            assert int(cell) == (scores >= records.SOLVED[f"{task}-bsuite"]).sum(), (name, task)
    assert len(rows) == len(algorithms.DEEP) - len(OFFLINE)


def test_the_newer_members_are_those_of_the_records():
    rows = tables_of("What newer members add")
    assert len(rows) == 6
    for name, cartpole, worst, acrobot, worst_acrobot, flags in rows:
        for env, cell, least in (("CartPole-v1", cartpole, worst), ("Acrobot-v1", acrobot, worst_acrobot)):
            scores = greedy_of(f"{env}-{name.strip('`')}-200000")
            assert (cell, least) == (shown(scores, 0), f"{scores.min():.0f}"), name
        assert int(flags) == (greedy_of(f"MountainCar-v0-{name.strip('`')}-200000") > -200).sum(), name


def test_minatars_games_are_those_of_the_records():
    rows = tables_of("MinAtar's games")
    assert len(rows) == 5
    for game, steps, cell, worst, training, minutes in rows:
        name = f"{game.replace(' ', '')}-MinAtar-pqn-minatar-pqn-{steps.replace(',', '')}"
        found, scores = records.read(records.RECORDS / f"{name}.json"), greedy_of(name)
        assert (cell, worst) == (shown(scores, 1), f"{scores.min():.1f}")
        assert training == f"{np.mean(found['training']):.1f} ± {np.std(found['training']):.1f}"
        assert int(minutes) == round(found["seconds"] / 60)


def test_presets_beside_what_is_published_are_those_of_the_records():
    rows = [row for row in tables_of("DQN on CartPole") if row[0]]
    assert [row[0].strip("`") for row in rows] == ["cleanrl-dqn", "cleanrl-pqn", "cleanrl-c51"]
    for preset, training, *_ in rows:
        name = preset.strip("`")
        found = records.read(records.RECORDS / f"CartPole-v1-{name.removeprefix('cleanrl-')}-{name}-500000.json")
        assert training == f"{np.mean(found['training']):.1f} ± {np.std(found['training']):.1f}"


def test_what_searching_is_worth_is_that_of_the_record():
    rows = tables_of("What searching is worth")
    tasks = {task.env: name for name, task in searched.TASKS.items()}
    files = {"": "searched.json", "`--seed 1`": "searched-seed-1.json"}
    found = {root: jsonfile.read(records.RECORDS / "searched" / file, {}) for root, file in files.items()}
    assert len(rows) == sum(len(own.get(task, ())) for own in found.values() for task in tasks.values())
    for name, *ends, better, steps, grid in rows:
        algorithm, env, *root = name.split(", ")
        record = found[root[0] if root else ""][tasks[env]][algorithm.lower()]
        places = int("MinAtar" in env)
        assert ends == [shown(searched.scores_of(record, who), places) for who in ("default", "winner")], name
        (compared,) = record["comparison"].values()
        assert better == "{:.2f} [{:.2f}, {:.2f}]".format(*compared["improvement"])
        taken = [f"{record['env_steps'][which] / 1e6:.1f}" for which in ("tuning", "grid")]
        assert [steps.split()[0], grid.split()[0]] == taken


def kept(name):
    return jsonfile.read(records.RECORDS / f"{name}.json", {})


def test_what_recorded_data_teach_is_that_of_the_record():
    found = kept("offline/cartpole")["seeds"]
    head, *rows = tables_of("What recorded data teach")
    assert [float(cell) for cell in head[1:]] == [round(each["behaviour"]) for each in found.values()]
    assert [row[0] for row in rows] == list(found["random"]["return"])
    for line, *cells in rows:
        scores = [np.array(each["return"][line]) for each in found.values()]
        assert cells == [shown(each, int(stats.iqm(each) < 10)) for each in scores], line


def test_what_resets_are_worth_is_that_of_the_record():
    found = kept("plasticity/cartpole")["seeds"]
    rows = tables_of("What resets are worth")
    assert rows == [
        [ratio, *(shown(np.array(each), 0) for each in lines.values())] for ratio, lines in found.items()
    ]


def test_what_a_limit_costs_that_is_taken_for_an_end_is_that_of_the_record():
    found = kept("truncation/truncation")
    rows = tables_of("Time limits", "seeds")
    tasks = {task.name.split("-")[0]: task for task in truncation.TASKS.values()}
    assert len(rows) == sum(len(lines) for lines in found.values()) / len(truncation.WAYS)
    for name, steps, *ends, between in rows:
        task, algorithm = tasks[name.split(" in ")[0].split(",")[0]], name.split(", ")[1].lower()
        lines = found[task.title]
        last = [np.array(lines[f"{algorithm}, limit {way}"]["eval_return"][-1]) for way in truncation.WAYS]
        assert int(steps.replace(",", "")) == task.steps
        assert ends == [shown(each, 0) for each in last], name
        compared = stats.paired(*last).difference
        assert between == f"{compared.value:z.0f} [{compared.low:z.0f}, {compared.high:z.0f}]"


def test_what_a_best_checkpoint_flatters_is_that_of_the_record():
    found, rows = kept("truncation/truncation"), tables_of("Best checkpoints", "seeds")
    tasks = {task.title.replace("-v1", "").replace("-v0", ""): task.title for task in truncation.TASKS.values()}
    assert len(rows) == 2 * len(found)
    for name, above, last, best in rows:
        task, algorithm = name.split(", ")
        returns = np.array(found[tasks[task]][f"{algorithm.lower()}, limit as such"]["eval_return"])
        assert len(returns) == 20
        gain = stats.paired(returns.max(0), returns[-1]).difference
        assert above == f"{gain.value:z.0f} [{gain.low:z.0f}, {gain.high:z.0f}]"
        assert [last, best] == [f"{stats.iqm(each):z.0f}" for each in (returns[-1], returns.max(0))]
