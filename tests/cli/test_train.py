"""The general command line: grids, presets, configs given back, and what it refuses."""

import dataclasses
import itertools
import json
import re
import sys
from types import SimpleNamespace
from typing import get_args, get_type_hints

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from constants import constants
from recorded_data import at_random

import qjax
from experiments import cartpole, frozenlake, records
from qjax import algorithms, stats
from qjax.algorithms import deep
from qjax.algorithms.presets import PRESETS
from qjax.cli import command, exact, grid, listing, reading, settings, train, wrapping
from qjax.cli.arguments import arguments_of, resolve
from qjax.core import jsonfile
from qjax.envs.suites.base import Suite
from qjax.envs.suites.names import SUITES
from qjax.mdp import examples, solve
from qjax.networks.layers import INITIALIZERS
from qjax.networks.optimizers import optimizer_of
from qjax.runs.config import load_summary
from qjax.runs.points import NEVER
from qjax.sweeps import described, hyperparameters, traced


def command_line(monkeypatch, *words):
    """Run a command line in this process; return its exit status, None where it just returned."""
    monkeypatch.setattr(sys, "argv", ["train", "--cores", "2", *map(str, words)])
    try:
        command.main(train.run, reading.read)
    except SystemExit as ended:
        return ended.code
    return None


def parsed(*words):
    return resolve(reading.read([*map(str, words), "--out", "runs/x"]))


def named(name, **given):
    """Return resolved arguments; lists are several values."""
    given = {field: grid.Several(x) if isinstance(x, list) else x for field, x in given.items()}
    return resolve(arguments_of(name)(name=name, out="runs/x", **given))


# ---- grids


def counted(env, agent, states, seeds, root, episodes, max_steps=None):
    """Stand for an evaluation, which takes seconds to compile: a return is what an agent's table adds up to."""
    returns = np.asarray(states, np.float64).reshape(len(seeds), -1).sum(1)
    return qjax.training.Episodes(np.repeat(returns[:, None], episodes, 1), None, None)


SMALL = ("--seeds", 2, "--steps", 300, "--eval-episodes", 2)


def test_a_mixed_grid_leaves_one_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(qjax, "evaluate_seeds", counted)
    out = tmp_path / "grid"
    # gamma comes before epsilon among the flags, and after it in a config
    words = ("n-step-q", "--gamma", 0.5, 1, "--epsilon", 0.1, 0.2, "--n", 1, 2, *SMALL)
    assert command_line(monkeypatch, *words, "--out", out) is None
    said = capsys.readouterr().out
    assert "side by side 4 settings in one program: --gamma 0.5 1.0, --epsilon 0.1 0.2\n" in said
    assert "in turn      2 runs, each with a compilation of its own: --n 1 2\n" in said
    assert {path.name for path in out.iterdir() if path.is_dir()} == {"n=1", "n=2"}
    whole, own = (qjax.load_config(folder)["arguments"] for folder in (out, out / "n=2"))
    assert whole["grid"] == {"gamma": [0.5, 1.0], "epsilon": [0.1, 0.2], "n": [1, 2]}
    assert own["grid"] == {"gamma": [0.5, 1.0], "epsilon": [0.1, 0.2]}
    assert [each["config"]["n"] for each in (whole, own)] == [1, 2]

    summary = json.loads((out / "summary.json").read_text())
    found = [tuple(each["setting"].values()) for each in summary["settings"]]
    assert found == list(itertools.product((1, 2), (0.5, 1.0), (0.1, 0.2)))
    for each in summary["settings"]:  # a lake is solved at 0.7
        assert each["solved_fraction"] == np.mean(np.array(each["final_return_per_seed"]) >= 0.7)
    assert (out / "learning_curve.png").is_file() and (out / "n=1" / "learning_curve.png").is_file()
    assert set(qjax.runs.load_metrics(out / "n=1")["gamma"]) == {0.5, 1.0}

    # A score is that of the agents that `load` finds under its setting.
    loop, agents = train.load(out / "n=1", setting=1)
    played = qjax.evaluate_seeds(loop.env, loop.agent, agents, np.arange(2), 0, 2)
    np.testing.assert_allclose(np.asarray(played.returns).mean(1), summary["settings"][1]["final_return_per_seed"])
    with pytest.raises(ValueError, match="holds several runs: n=1, n=2"):
        train.load(out)
    with pytest.raises(ValueError, match="has 4 settings, 0 to 3, got 4"):
        train.load(out / "n=1", setting=4)

    # A config given back makes the same bytes, with a flag beside it others; and all of it can be resumed.
    again = tmp_path / "again"
    assert command_line(monkeypatch, "--config", out / "n=2" / "config.json", "--out", again) is None
    assert (again / "metrics.csv").read_bytes() == (out / "n=2" / "metrics.csv").read_bytes()
    assert qjax.load_config(again)["sweep"] == qjax.load_config(out / "n=2")["sweep"]
    (out / "summary.json").unlink()
    assert command_line(monkeypatch, *words, "--out", out, "--resume") is None
    now = json.loads((out / "summary.json").read_text())
    made = summary.keys() - {"files", "checksum"}  # the config says now that it was resumed
    assert {name: now[name] for name in made} == {name: summary[name] for name in made}
    assert command_line(monkeypatch, *words, "--out", out) == 2
    assert "is not empty" in capsys.readouterr().err


def test_a_share_is_solved_only_where_it_is_known_what_that_means():
    never = np.full(2, NEVER)
    result = SimpleNamespace(diverged_at=never, dropped_at=never, settings=np.zeros(2, int), seeds=np.arange(2))
    shares = [command.outcome(result, np.ones(2), x)["solved_fraction"] for x in (None, np.array([True, False]))]
    assert shares == [None, 0.5]


def test_the_grid_is_one_program(tmp_path, monkeypatch, capsys):
    words = ("q-learning", "--alpha", 0.1, 0.5, "--epsilon", 0.1, 0.2, 0.3, *SMALL, "--dry-run")
    assert command_line(monkeypatch, *words, "--out", tmp_path / "out") is None
    said = capsys.readouterr().out
    assert "12 = 6 setting(s) x 2 seed(s)" in said and "compiles    3: init, pop_metrics, learn" in said
    assert "never used" not in said and not (tmp_path / "out").exists()


def test_what_is_traced_and_what_is_in_turn():
    args = parsed("dqn", "--lr", "1e-3", "1e-4", "--target-period", 100, 500, "--hidden", "64", "64,64", "--n", 3)
    made = args.grid
    assert made.traced == {"learning_rate": (1e-3, 1e-4), "target_period": (100, 500)}
    assert made.static == {"hidden": ((64,), (64, 64))} and args.n == 3 and args.gamma == 0.99
    assert grid.folder({"hidden": (64, 64), "n": 3}) == "hidden=64,64_n=3"
    # A swept period is looked at after every iteration, one period after as many as it has.
    assert [train.build(args, {"target_period": 100}).sync_every, train.build(parsed("dqn")).sync_every] == [1, 50]
    swept = {name: np.array(x) for name, x in made.traced.items()}
    assert hyperparameters.check(lambda hyper: train.build(args, hyper), swept).num_settings == 2


@pytest.mark.parametrize(
    "name", ["munchausen-dqn", "iqn", "rainbow", "pqn", "r2d2", "bootstrapped-dqn", "sarsa-lambda"]
)
def test_every_number_that_may_be_traced_counts(name):
    """Each constant that may be traced, swept, is an input of the program that something depends on."""
    small = {"hidden": (4,), "steps": 2_000, "levels": 4, "rollout": 4, "warmup": 0, "target_period": 40}
    small |= {"optimizer_eps": 1e-8, "length": 8, "members": 2}
    config = constants(name, **small)
    fields = sorted(algorithms.traced(config) - config.idle())
    values = {field: getattr(config, field) for field in fields if field not in ("epsilon", "epsilon_decay")}
    values = {field: np.array([value, value]) for field, value in values.items() if value is not None}
    env = qjax.make("FrozenLake-v1")

    def build(hyper):
        return algorithms.make(name, env, config.replace(**hyper), sync_every=1)

    _, program = described.check(build, values)
    assert values and traced.unused(program.jaxpr, values) == []


@pytest.mark.parametrize(("swept", "alike"), [("learning_rate", True), ("gamma", False)])
def test_agents_are_evaluated_with_their_own_support(swept, alike):
    args = named("c51", **{swept: [0.5, 0.9]})
    build, values = train.builder(args), args.grid.hypers
    agent = jax.eval_shape(lambda: build({swept: 0.5}).init(jax.random.key(0))).agent
    lanes = jax.tree.map(lambda x: jax.ShapeDtypeStruct((2, *x.shape), x.dtype), agent)
    assert settings._alike(build, values, lanes) is alike


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("n-step-dqn", "--n", 3, 20_000), "window (n) 20000 exceeds the 1000 rows"),
        (("pqn", "--minibatches", 4, 5), "128 steps x 4 environments = 512 transitions does not divide into 5"),
        (("dqn", "--warmup", 100, 30_000), "20000 steps end before the warm-up of 30000 steps"),
    ],
)
def test_a_later_run_that_cannot_be_is_refused_before_the_first_one_trains(
    words, said, tmp_path, monkeypatch, capsys
):
    assert command_line(monkeypatch, *words, "--steps", 20_000, "--out", tmp_path / "out") == 2
    assert said in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_exact_values_of_every_setting(monkeypatch, tmp_path, capsys):
    """A setting is held against the solution of its own gamma; an environment without an MDP is refused."""
    args, table = named("q-learning", gamma=[0.5, 0.9]), jax.random.normal(jax.random.key(0), (16, 4))
    env = qjax.make(args.env)
    report, mdp = exact.report_of(train.builder(args), args.gamma), examples.from_env(env)
    for gamma in args.gamma:
        setting = {"gamma": np.float32(gamma), "alpha": np.float32(0.1)}
        expected = solve.report(solve.exact(mdp, gamma), mdp, table, gamma)
        for name, found in report(setting, SimpleNamespace(agent=table), None, None).items():
            assert float(found) == pytest.approx(float(expected[name]), rel=1e-4)
    asked = {}

    def caught(*_, **work):
        asked.update(work)
        raise ValueError("caught")

    monkeypatch.setattr(qjax, "sweep", caught)
    for words, said in (
        (("sarsa", "--env", "Taxi-v4"), "caught"),
        (("dqn",), "the MDP of CartPole-v1 is not known"),
    ):
        assert command_line(monkeypatch, *words, "--exact", "--out", tmp_path / words[0]) == 2
        assert said in capsys.readouterr().err
    assert asked["report"](None, SimpleNamespace(agent=jnp.zeros((500, 6))), None, None)["regret"] > 0


# ---- where constants come from


def test_an_algorithms_own_constants():
    assert (named("rainbow").alpha, named("rainbow").n, named("prioritized-dqn").alpha) == (0.5, 3, 0.6)
    assert (named("munchausen-dqn").alpha, named("munchausen-dqn").temperature) == (0.9, 0.03)
    pqn = named("pqn")
    assert (pqn.learning_rate, pqn.num_envs, pqn.rollout, pqn.optimizer, pqn.lam) == (5e-4, 4, 128, "radam", 0.65)
    assert not hasattr(pqn, "warmup") and pqn.steps == 500_000 and pqn.env == "CartPole-v1"
    assert named("sarsa").steps == 100_000 and named("sarsa").env == "FrozenLake-v1"
    assert resolve(pqn) == pqn


@pytest.mark.parametrize("name", PRESETS)
def test_presets(name):
    args = parsed("--preset", name)
    preset = PRESETS[name]
    assert (args.name, args.env) == (preset.algorithm, preset.env)
    assert args.constants == preset.config
    assert resolve(args) == args
    train.build(args)


def test_a_data_set_from_the_command_line(tmp_path):
    """It stands in the place of what is seen, so that what is of that has no effect; a folder of none is named."""
    folder = tmp_path / "data"
    qjax.datasets.save(folder, at_random(qjax.make("CartPole-v1"), 30))
    args = parsed("cql", "--env", "CartPole-v1", "--data", folder, "--updates", 4)
    assert args.data == str(folder) and args.recorded["config"]["data"] == str(folder)
    loop = train.build(args)
    assert (loop.updates, loop.warmup) == (4, 0)
    assert jax.tree.leaves(jax.eval_shape(loop.init, jax.random.key(0)).memory) == []
    with pytest.raises(ValueError, match="--capacity"):
        parsed("cql", "--env", "CartPole-v1", "--data", folder, "--capacity", 100)
    with pytest.raises(FileNotFoundError, match="nowhere holds no data set"):
        train.build(parsed("bcq", "--env", "CartPole-v1", "--data", tmp_path / "nowhere"))


def test_cleanrls_protocol():
    """One environment steps ten times between two updates; the target is copied after every 50 of these."""
    for name in ("cleanrl-dqn", "cleanrl-c51"):
        loop = train.build(parsed("--preset", name))
        assert (loop.num_envs, loop.rollout, loop.updates, loop.warmup, loop.sync_every) == (1, 10, 1, 1_000, 50)
    # The experiment with ten environments is the algorithm's own constants, and stays as it is.
    assert cartpole.preset("cleanrl", None) == named("dqn").constants


def test_the_optimizers_epsilon():
    """Adam's first step is rate g / (|g| + eps)."""
    for eps, name in itertools.product((None, 0.5), ("adam", "rmsprop")):
        made = deep.optimizer(algorithms.DQN(optimizer=name, optimizer_eps=eps, learning_rate=0.1), 0.1)
        update, _ = made.update(np.float32(0.25), made.init(np.float32(0)), np.float32(0))
        square, own = (1, 1e-8) if name == "adam" else (0.05 - 0.05**2, 0.01)
        expected = -0.1 * 0.25 / (0.25 * square**0.5 + (own if eps is None else eps))
        np.testing.assert_allclose(update, expected, rtol=1e-4)


def test_a_flag_without_a_value():
    args = parsed("sarsa-lambda", "--replacing")
    assert args.replacing and args.constants.replacing
    assert "--replacing" in records.command(jsonfile.plain(args.recorded), "runs/x").split()
    assert not parsed("sarsa-lambda").replacing
    with pytest.raises(ValueError, match="dqn does not read --replacing"):
        parsed("dqn", "--replacing")


def test_how_a_table_explores_and_learns():
    args = parsed("sarsa", "--temperature", 0.5, 1, "--alpha", 1, "--alpha-power", 0.7, "--initial", 1)
    assert (args.temperature, args.alpha_power, args.initial, args.ties) == ((0.5, 1.0), 0.7, 1.0, None)
    assert set(args.grid.traced) == {"temperature"}
    made = args.constants
    assert made.temperature == 0.5 and (made.alpha, made.alpha_power) == (1.0, 0.7)
    train.build(args)


def test_flags_override_a_preset():
    args = parsed("double-dqn", "--preset", "minatar-dqn", "--env", "Asterix-MinAtar", "--lr", 1, 2, "--steps", 9)
    assert (args.name, args.env, args.steps, args.capacity) == ("double-dqn", "Asterix-MinAtar", 9, 100_000)
    assert args.learning_rate == (1.0, 2.0) and args.loss == "huber"
    assert parsed("--preset", "tutorial-dqn", "--steps", 1000).episodes == 500


def test_young_and_tians_optimizer():
    """Centred RMSProp with momentum as PyTorch has it: v / (sqrt(E g^2 - (E g)^2) + eps), twice by hand."""
    made = optimizer_of("rmsprop")(0.5)
    params, state = np.float32(1.0), made.init(np.float32(1.0))
    square = mean = velocity = 0.0
    for gradient in (2.0, -1.0):
        square, mean = 0.95 * square + 0.05 * gradient**2, 0.95 * mean + 0.05 * gradient
        velocity = 0.95 * velocity + gradient / ((square - mean**2) ** 0.5 + 0.01)
        update, state = made.update(np.float32(gradient), state, params)
        np.testing.assert_allclose(update, -0.5 * velocity, rtol=1e-5)


def written(folder, args, **config):
    folder.mkdir()
    own = {"arguments": args.recorded, "machine": args.machine}
    content = {"experiment": args.name, **own, "sweep": {"width": 4}, **config}
    (folder / "config.json").write_text(jsonfile.text(jsonfile.plain(content)))
    return folder


def test_a_config_given_back(tmp_path):
    args = named(
        "c51", seeds=3, gamma=[0.9, 0.99], support=(0.0, 9.0), fast_keys=True, width=8, preset="cleanrl-c51"
    )
    folder = written(tmp_path / "run", args)
    found = parsed("--config", folder)
    assert found == dataclasses.replace(args, width=4, out=found.out)
    assert resolve(reading.read_back(folder / "config.json")).gamma == (0.9, 0.99)
    other = parsed("c51", "--config", folder, "--gamma", 0.5, "--seed", 2)
    assert (other.gamma, other.seed, other.support) == (0.5, 2, (0.0, 9.0))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"learning_rat": 1e-3}, "config.json: dqn has no learning_rat; did you mean learning_rate"),
        ({"alpha": None}, "config.json: dqn has no alpha"),
        ({"gamma": ..., "loss": ...}, "config.json: gamma, loss of dqn is missing"),
        ({"learning_rate": ..., "learning_rat": 1e-3}, "dqn has no learning_rat"),
        ({"gamma": None, "loss": None}, "config.json: dqn has no value for gamma, loss"),
    ],
)
def test_a_config_with_other_fields_is_refused(tmp_path, changes, said):
    """No default takes the place of what was mistyped or left out."""
    arguments = named("dqn").recorded
    config = {field: value for field, value in (arguments["config"] | changes).items() if value is not ...}
    with pytest.raises(ValueError, match=said):
        parsed("--config", written(tmp_path / "run", named("dqn"), arguments=arguments | {"config": config}))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sed": 1}, "config.json: dqn has no sed; did you mean seed"),
        ({"gamma": 0.9}, "config.json: dqn has no gamma"),
        ({"seeds": ..., "env": ...}, "config.json: env, seeds of dqn is missing"),
        ({"grid": {"gama": [0.9, 1]}}, "config.json: dqn has no gama; did you mean gamma"),
        ({"grid": {"gamma": [0.9]}}, r"damaged: 'arguments.grid.gamma' is \[0.9\], not several values, each a num"),
        ({"grid": ...}, "is of another version: its config.json has no 'grid'"),
    ],
)
def test_a_config_with_other_arguments_is_refused(tmp_path, changes, said):
    arguments = {name: x for name, x in (named("dqn").recorded | changes).items() if x is not ...}
    with pytest.raises(ValueError, match=said):
        parsed("--config", written(tmp_path / "run", named("dqn"), arguments=arguments))


def test_a_config_is_the_dump_of_the_dataclass(tmp_path, monkeypatch):
    """Of a field with several values it has the first; given back it makes the same config."""
    monkeypatch.setattr(command, "train", lambda args, *_, **__: written(args.out, args) and None)
    monkeypatch.setattr(settings, "join", lambda *_: None)
    words = ("dqn", "--lr", 1e-3, 1e-4, "--hidden", "64", "64,32", "--steps", 20_000)
    assert command_line(monkeypatch, *words, "--out", tmp_path / "out") is None
    made, one = (qjax.load_config(folder) for folder in (tmp_path / "out", tmp_path / "out" / "hidden=64,32"))
    dump = dataclasses.asdict(algorithms.DQN(steps=20_000, hidden=(64,), learning_rate=1e-3))
    dump["reset_layers"] = None  # no effect without resets
    assert made["arguments"]["config"] == dump | {"hidden": [64]}
    assert made["arguments"]["grid"] == {"learning_rate": [1e-3, 1e-4], "hidden": [[64], [64, 32]]}
    assert one["arguments"]["config"] == dump | {"hidden": [64, 32]}
    assert one["arguments"]["grid"] == {"learning_rate": [1e-3, 1e-4]}
    assert command_line(monkeypatch, "--config", tmp_path / "out", "--out", tmp_path / "again") is None
    again = qjax.load_config(tmp_path / "again")
    assert again["arguments"] == made["arguments"] and again["machine"].keys() == made["machine"].keys()


@pytest.mark.parametrize("name", algorithms.ALGORITHMS)
def test_every_config_gives_back_what_was_run(tmp_path, name):
    args = named(name, seeds=3, normalize=("rewards",), wrap=("reward_sign",), overwrite=True)
    folder = written(tmp_path / "run", args)
    found = parsed("--config", folder)
    assert found == dataclasses.replace(args, width=4, overwrite=False, out=found.out)


def test_a_grids_config_given_back_has_its_runs_width(tmp_path):
    args = named("dqn", batch_size=[8, 16], width=2)
    folder = written(tmp_path / "grid", args)
    config = json.loads((folder / "config.json").read_text())
    del config["sweep"]
    (folder / "config.json").write_text(json.dumps(config))
    assert parsed("--config", folder).width == 2
    written(folder / "batch_size=8", args)
    written(folder / "batch_size=16", args)
    assert parsed("--config", folder).width == 4
    written(folder / "other", args, sweep={"width": 8})
    assert parsed("--config", folder).width == 2


# ---- what is refused


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("dqnn",), "no algorithm 'dqnn'; did you mean dqn"),
        (
            ("dqnn", "--lerning-rate", 3),
            "did you mean dqn or drqn or qr-dqn. And no flag --lerning-rate; did you mean --lear",
        ),
        (("dqn", "--lerning_rate=3"), "no flag --lerning-rate; did you mean --learning-rate"),
        (("--sed", 3), "no flag --sed; did you mean --seed or --seeds"),
        (("dqn", "--xyzzy"), "no flag --xyzzy; --help shows all"),
        (
            ("dqn", "--lr", 1, "--learning-rate", 2),
            "--learning-rate is given twice; its values follow it, with spac",
        ),
        (("q-learning", "--env-kwargs", "a=1", "--env-kwargs=b=2"), "--env-kwargs is given twice"),
        (("dqn", "--env", ""), "an empty word after --env"),
        (("dqn", "--env="), "an empty word after --env="),
        (("pqn", "--warmup", 10), r"pqn does not read --warmup; it reads .*--rollout"),
        (("dqn", "--alpha", 0.1, "--ties", "first"), r"dqn does not read --alpha --ties; it reads"),
        (("sarsa", "--lr", 0.1), r"sarsa does not read --learning-rate; it reads .*--alpha"),
        (("sarsa", "--epsilon", 0.1, "--epsilon-fraction", 0.2), "--epsilon-fraction with the other flags given"),
        (("sarsa", "--temperature", 0.1, "--ties", "first"), "--ties with the other flags given"),
        (("c51", "--preset", "minatar-dqn"), "preset minatar-dqn is another algorithm's: c51 has no loss"),
        (("dqn", "--preset", "cleanrl-dqm"), "no preset 'cleanrl-dqm'; did you mean cleanrl-dqn"),
        (("dqn", "--optimizer", "adm"), "no optimizer 'adm'; did you mean adam"),
        (("noisy-dqn", "--initializer", "orthogonal"), "noisy-dqn does not read --initializer; it reads"),
        (("dqn", "--norm-eps", 1e-5), "dqn does not read --norm-eps; it reads"),
        (("dqn", "--loss", "hubber"), "no loss 'hubber'; did you mean huber"),
        (("q-learning", "--ties", "frist"), "no ties 'frist'; did you mean first"),
        (("sarsa", "--episodes", 10), "give steps, or for epsilon epsilon_decay"),
        (("--config", "nowhere"), "nowhere is neither a config.json nor a folder with one"),
        (("--preset", "minatar-dqn", "--config", "nowhere"), "give either --preset or --config"),
    ],
)
def test_refused(words, said):
    with pytest.raises((ValueError, OSError), match=said):
        train.build(parsed(*words))


def test_configs_of_others_are_refused(tmp_path):
    with pytest.raises(ValueError, match="is the config of a pqn, not of a dqn"):
        parsed("dqn", "--config", written(tmp_path / "pqn", named("pqn")))
    with pytest.raises(ValueError, match=r"a run of 'cartpole', not of `qjax train`"):
        parsed("--config", written(tmp_path / "cartpole", named("dqn"), experiment="cartpole"))
    with pytest.raises(ValueError, match=r"bare is of another version: its config\.json has no 'name', 'config'"):
        parsed("--config", written(tmp_path / "bare", named("dqn"), arguments={}))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("extra",), "Unrecognized options: extra"),
        (("--hidden", "0"), "a hidden width must be at least 1, got 0"),
        (("--seeds", "2**3"), "--seeds: a whole number is written like 100000, 100_000 or 1e5, got '2**3'"),
        (("--lr", "abc"), "could not convert string to float: 'abc'"),
        (("--lr", "1e-3", "0.001"), "given twice: 0.001 1e-3"),
        (("--batch-size", "1.5"), "a whole number is written like 100000, 100_000 or 1e5, got '1.5'"),
        (("--steps", "1.5e0"), "a whole number is written like 100000, 100_000 or 1e5, got '1.5e0'"),
        (("--batch-size", 64, "6.4e1"), "given twice: 6.4e1 64"),
        (("--support", "-1,1"), "Expected 2 values"),
        (("--seeds",), "--seeds"),
        (("--hidden", "64,x"), "--hidden: a list of WHOLE is written like 120,84, got '64,x'"),
        (("--gamma",), "gamma"),
    ],
)
def test_mistyped_flags_and_values(words, said, monkeypatch, capsys):
    """One line as of any other error, whatever looked at the value first."""
    assert command_line(monkeypatch, "c51", "--out", "nowhere", *words) == 2
    line = capsys.readouterr().err
    assert line.startswith("error: ") and line.count("\n") == 1 and said in line


@pytest.mark.parametrize(
    ("flag", "value"),
    [*((f"--{flag}", x) for flag in ("chunk-seconds", "checkpoint-every") for x in ("nan", "-1")),
     ("--chunk-seconds", "inf"), ("--chunk-seconds", "0")],
)  # fmt: skip
def test_a_dry_run_refuses_what_the_run_does(flag, value, monkeypatch, capsys):
    assert command_line(monkeypatch, "q-learning", *SMALL, "--dry-run", flag, value) == 2
    assert re.fullmatch(f"error: {flag[2:].replace('-', '_')} must lie in .*, got .*\n", capsys.readouterr().err)


def test_what_is_missing_is_told_after_what_is_mistyped():
    for words, said in (
        ([], "name an ALGORITHM, or give --preset or --config"),
        (["dqnn"], "no algorithm 'dqnn'"),
        (["dqn"], "--out is missing, the folder for the results; --dry-run needs none"),
        (["dqn", "--lerning-rate", "3"], "no flag --lerning-rate; did you mean --learning-rate"),
        (["dqn", "--dry-run", "--resume"], "--out is missing"),
    ):
        with pytest.raises(ValueError, match=said):
            reading.read(words)
    assert reading.read(["dqn", "--dry-run"]).dry_run
    assert reading.read(["--preset", "cleanrl-pqn", "--dry-run"]).name == "pqn"


def test_a_suites_environment_is_no_algorithm_of_ones_own():
    args = reading.read(["--env", "pgx:othello", "dqn", "--dry-run"])
    assert (args.name, args.env) == ("dqn", "pgx:othello")
    with pytest.raises(ValueError, match="no_such"):
        reading.read(["no_such:function", "--env", "pgx:othello", "--dry-run"])


def test_how_numbers_are_written():
    args = parsed("dqn", "--seeds", "1e3", "--steps", "100_000", "--batch-size", "1e2", 64, "--hidden", "1e2,64")
    assert (args.seeds, args.steps, args.batch_size, args.hidden) == (1000, 100_000, (100, 64), (100, 64))
    assert parsed("munchausen-dqn", "--low", "-1e-3", -2).low == (-0.001, -2.0)
    assert parsed("c51", "--support=-1", "1").support == (-1.0, 1.0)
    assert parsed("dqn", "--lr=1e-3", "1e-4").learning_rate == (1e-3, 1e-4)
    assert parsed("dqn", "--seeds", 3, "--seeds=4").seeds == 4
    assert parsed("dqn", "--width", "none", "--log_points", "1e1").log_points == 10


def test_log_points(monkeypatch, tmp_path):
    """They reach the sweep, from a config given back too, where another number overrides it."""
    asked = []

    def caught(*_, log_points, **__):
        asked.append(log_points)
        raise ValueError("caught")

    monkeypatch.setattr(qjax, "sweep", caught)
    folder = written(tmp_path / "run", named("dqn", log_points=7))
    for i, words in enumerate((["dqn"], ["dqn", "--log-points", 5], ["--config", folder])):
        assert command_line(monkeypatch, *words, "--out", tmp_path / f"{i}") == 2
    assert command_line(monkeypatch, "--config", folder, "--log-points", 3, "--out", tmp_path / "3") == 2
    assert asked == [100, 5, 7, 3]
    assert frozenlake.Arguments().log_points == 400


def test_the_list_breaks_no_word():
    words = listing.listing(10_000).split()
    assert {*algorithms.ALGORITHMS, *PRESETS} <= {*words}
    for columns in (20, 40, 60, 80, 100, 200):
        shown = listing.listing(columns)
        assert shown.split() == words
        assert all(len(line) <= columns for line in shown.splitlines() if len(line.split()) > 1)


def test_the_list_has_the_names_of_environments(capsys):
    assert {*SUITES} <= {*listing.listing(80).split()}
    assert listing.run(listing.Arguments(suite="gymnax")) == 0
    assert {"CartPole-v1", "FrozenLake-v1", "MinAtar/Breakout-v1"} <= {*capsys.readouterr().out.split()}
    with pytest.raises(ValueError, match=r"no suite 'pgxx' of environments; did you mean pgx\?"):
        listing.run(listing.Arguments(suite="pgxx"))


def test_the_list_of_a_suite_leaves_out_what_cannot_be_made(capsys, monkeypatch):
    class Games(Suite):
        refused, downloads = frozenset({"chess"}), frozenset({"levels"})

        @staticmethod
        def ids():
            return ["2048", "chess", "levels"]

    monkeypatch.setattr(listing, "adapter", lambda prefix: Games)
    assert listing.run(listing.Arguments(suite="pgx")) == 0
    lines = ["pgx:2048", "pgx:levels, which downloads its data when it is made"]
    assert capsys.readouterr().out.splitlines() == lines


def test_help_shows_what_an_algorithm_has(capsys):
    with pytest.raises(SystemExit) as ended:
        parsed("pqn", "--preset", "minatar-pqn", "--help")
    said = capsys.readouterr().out
    assert ended.value.code == 0
    assert "(default: pqn)" in said  # the preset names it
    assert "--minibatches" in said and "(default: 32)" in said and "--warmup" not in said and "--ties" not in said
    with pytest.raises(SystemExit):
        parsed("pqn", "--help")
    assert "(default: pqn)" not in capsys.readouterr().out


# ---- an algorithm of one's own

OWN = '''
from dataclasses import dataclass, field
from typing import Literal

import optax

import qjax
from qjax.algorithms import Real


@dataclass(frozen=True)
class Mine:
    rate: Real = 1e-3
    """Step size."""
    hidden: tuple[int, ...] = (4,)
    batch: int = 2
    greedy: bool = False
    mode: Literal["a", "b"] = "a"
    gamma: float = 0.9


def mine(env: qjax.Env, config: Mine) -> qjax.Loop:
    """A DQN of one's own."""
    network = qjax.encoded(qjax.MLP(env.num_actions, config.hidden), env.encode)
    agent = qjax.dqn(network, optax.adam(config.rate))
    policy = qjax.greedy if config.greedy else qjax.epsilon_greedy(0.1)
    return qjax.make_loop(env, agent, policy, qjax.ring(64, config.batch), gamma=config.gamma, num_envs=8)


@dataclass(frozen=True)
class Tuples:
    names: tuple[str, ...] = ("a,b", "c")
    sizes: tuple[float, ...] = (1.0, 2.0, 3.0)
    none: tuple[int, ...] = ()
    pair: tuple[int, str] = (1, "x")
    range: tuple[float, float] | None = None


def tuples(env: qjax.Env, config: Tuples):
    return None


@dataclass(frozen=True)
class Unwritten:
    options: dict[str, int] = field(default_factory=dict)
    other: dict[str, int] | None = None


def unwritten(env: qjax.Env, config: Unwritten):
    return None


@dataclass(frozen=True)
class Taken:
    width: int = 3
    seed: int = 3


def taken(env: qjax.Env, config: Taken):
    return None


def plain(env, config: int):
    return None


def empty(env: qjax.Env, config: Mine):
    return 3


@dataclass(frozen=True)
class Bare:
    rate: Real = 1e-3


def bare(env: qjax.Env, config: Bare):
    return qjax.algorithms.parts("dqn", env)
'''


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "an_algorithm.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("an_algorithm", None)


@pytest.mark.usefixtures("own")
def test_an_algorithm_of_ones_own_has_the_command_line(tmp_path):
    args = parsed("an_algorithm:mine", "--rate", "1e-3", "1e-2", "--batch", 2, 4, "--hidden", "8,8", "--greedy")
    assert args.grid.traced == {"rate": (1e-3, 1e-2)} and args.grid.static == {"batch": (2, 4)}
    assert args.constants.hidden == (8, 8) and args.constants.greedy and args.env == "CartPole-v1"
    assert train.build(args, {"rate": 1e-2}).num_envs == 8
    assert parsed("--config", written(tmp_path / "run", args)) == dataclasses.replace(args, width=4)


@pytest.mark.usefixtures("own")
def test_a_constant_that_is_a_tuple_is_one_value(tmp_path):
    """Its default stands, a flag gives another one, several make a grid; and a config gives back each of them."""
    plain = algorithms.config("an_algorithm:tuples")
    args = parsed("an_algorithm:tuples")
    assert args.constants == plain and not str(args.grid)
    assert parsed("--config", written(tmp_path / "plain", args)).constants == plain

    words = ("--names", "q,r", "--sizes", "0.5,1e-7", "2", "--none", "1e2,-3", "--pair", 2, "y", "--range", -1, 0.5)
    args = parsed("an_algorithm:tuples", *words)
    made = plain.__class__(("q", "r"), (0.5, 1e-7), (100, -3), (2, "y"), (-1.0, 0.5))
    assert args.constants == made and args.grid.traced == {}
    assert args.grid.static == {"sizes": ((0.5, 1e-7), (2.0,))}
    assert parsed("--config", written(tmp_path / "given", args)) == dataclasses.replace(args, width=4)
    later = dataclasses.replace(args, **args.grid.runs[1])
    assert later.constants.sizes == (2.0,) and not str(later.grid)


@pytest.mark.usefixtures("own")
def test_a_constant_with_choices(capsys, tmp_path):
    assert parsed("an_algorithm:mine", "--mode", "b").constants.mode == "b"
    assert parsed("an_algorithm:mine", "--mode", "b", "a").grid.static == {"mode": ("b", "a")}
    with pytest.raises(ValueError, match="--mode: no mode 'zzz'; there are a, b"):
        parsed("an_algorithm:mine", "--mode", "zzz")
    arguments = parsed("an_algorithm:mine").recorded
    arguments["config"]["mode"] = "zzz"
    damaged = written(tmp_path / "run", parsed("an_algorithm:mine"), arguments=arguments)
    with pytest.raises(ValueError, match=r"is damaged: 'arguments\.config\.mode' is 'zzz', not 'a' or 'b' or null"):
        parsed("--config", damaged)
    with pytest.raises(SystemExit):
        parsed("an_algorithm:mine", "--help")
    assert "--mode {a,b} [{a,b} ...]" in capsys.readouterr().out


def test_the_choices_of_constants_are_those_that_there_are():
    hints = {kind: get_type_hints(kind) for kind in (algorithms.PQN, algorithms.DQN)}
    assert get_args(hints[algorithms.DQN]["loss"]) == tuple(deep.LOSSES)
    for kind in hints.values():
        assert get_args(kind["initializer"]) == tuple(INITIALIZERS)


@pytest.mark.usefixtures("own")
def test_a_tuple_that_cannot_be_written_is_refused():
    with pytest.raises(ValueError, match="could not convert string to float: 'x'"):
        parsed("an_algorithm:tuples", "--range", 1, "x")
    with pytest.raises(ValueError, match=r"a list of NUMBER is written like 0\.5,1, got '1,x'"):
        parsed("an_algorithm:tuples", "--sizes", "1,x")


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no_module:mine", "no_module:mine: no_module cannot be imported: ModuleNotFoundError"),
        ("an_algorithm:unwritten", "unwritten: no flag can be written for options of Unwritten: a field is a num"),
        ("an_algorithm:taken", "an_algorithm:taken: Taken has the fields seed, width, which qjax train has itself"),
        ("an_algorithm:yours", "an_algorithm:yours: an_algorithm has no function 'yours'"),
        (
            "an_algorithm:plain",
            r"whose config is annotated with a dataclass, got \(env, config\) with <class 'int'>",
        ),
        ("an_algorithm:bare", "an_algorithm:bare returns parts of a loop, so Bare must have a field gamma"),
        ("an_algorithm:empty", r"an_algorithm:empty must return qjax.algorithms.Parts or a qjax.Loop, got 3"),
    ],
)
def test_an_algorithm_that_is_none_is_refused(name, said):
    with pytest.raises((ValueError, TypeError), match=said):
        train.build(parsed(name))


@pytest.mark.usefixtures("own")
def test_exact_values_need_a_gamma(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(train, "builder", lambda args: None)
    assert command_line(monkeypatch, "an_algorithm:bare", "--exact", "--out", tmp_path / "x") == 2
    assert "--exact needs a discount factor: an_algorithm:bare has no constant gamma" in capsys.readouterr().err


# ---- wrappers


def test_a_run_in_wrappers_is_loaded_and_run_again(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(qjax, "evaluate_seeds", lambda env, *_, **__: seen.append(env) or SCORES)
    seen, out = [], tmp_path / "run"
    wrap, normalize = ("frame_stack=2", "reward_clip=0.5"), ("observations", "rewards")
    sizes = (
        "--hidden",
        8,
        "--warmup",
        20,
        "--capacity",
        100,
        "--batch-size",
        8,
        "--num-envs",
        2,
        "--target-period",
        10,
    )
    words = ("dqn", *SMALL, *sizes, "--wrap", *wrap, "--normalize", *normalize)
    assert command_line(monkeypatch, *words, "--out", out) is None
    assert "dqn on CartPole-v1 frame_stack=2 reward_clip=0.5, 2 seeds" in capsys.readouterr().out
    config = qjax.load_config(out)
    assert config["arguments"]["wrap"] == [*wrap] and config["arguments"]["normalize"] == [*normalize]
    assert config["sweep"]["environment"] == "CartPole-v1 frame_stack=2 reward_clip=0.5" == seen[0].name

    loop, agents = train.load(out)
    assert loop.env.obs_spec.shape == (8,) and loop.env.wrappers == wrap
    np.testing.assert_array_equal(agents.observations.number, qjax.load_points(out)[-1].env_steps)

    again = tmp_path / "again"
    assert command_line(monkeypatch, "--config", out, "--out", again) is None
    assert (again / "metrics.csv").read_bytes() == (out / "metrics.csv").read_bytes()


SCORES = qjax.training.Episodes(np.zeros((2, 2)), None, None)


def test_words_of_wrappers_make_them():
    words = ("select=0,2", "cast=float16", "flatten", "sticky_actions=0.25", "repeat_action=2", "reward_scale=-0.5",
             "reward_sign", "time_limit=30", "random_starts=2,8", "discretise=3,[-1,-2],[1,2]")  # fmt: skip
    args = parsed("q-learning", "--env", "CartPole-v1", "--wrap", *words)
    env = args.make()
    assert env.wrappers == words and env.num_states == 9 and env.max_steps == 28
    assert set(wrapping.WRAPPERS) | {"observe", "reward"} == {
        name for name in qjax.wrappers.__all__ if name.islower()
    }
    both = ("previous", "remaining_time", "frame_stack=2")
    assert parsed("dqn", "--wrap", *both).make().wrappers == both


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("frame_stak=4", "no wrapper 'frame_stak'; did you mean frame_stack"),
        ("frame_stack", "--wrap takes frame_stack=SIZE, got frame_stack"),
        ("frame_stack=4,5", "--wrap takes frame_stack=SIZE, got frame_stack=4,5"),
        ("flatten=1", "--wrap takes flatten, got flatten=1"),
        ("random_starts", "--wrap takes random_starts=MOST[,POOL], got random_starts"),
        ("frame_stack=0", "--wrap frame_stack=0: size must be at least 1, got 0"),
        ("cast=uint7", "--wrap cast=uint7: dtype must be"),
        ("discretise=4,1,0", "low must be below high"),
    ],
)
def test_wrappers_that_are_refused(tmp_path, monkeypatch, capsys, words, said):
    assert command_line(monkeypatch, "dqn", "--wrap", words, *SMALL, "--out", tmp_path / "run") == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1 and not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("dqn", "--normalize", "reward"), "rewards"),
        (("c51", "--normalize", "rewards"), "give the support"),
        (("q-learning", "--normalize", "observations"), "none of them floats"),
        (("q-learning", "--exact", "--normalize", "rewards"), "--exact compares"),
        (("q-learning", "--exact", "--wrap", "reward_scale=2"), "a wrapper may have changed it"),
    ],
)
def test_what_does_not_go_together(tmp_path, monkeypatch, capsys, words, said):
    assert command_line(monkeypatch, *words, *SMALL, "--out", tmp_path / "run") == 2
    assert said in capsys.readouterr().err


def test_the_list_has_the_wrappers():
    said = listing.listing(100)
    assert "discretise=BINS,LOW,HIGH\n" in said and "random_starts=MOST[,POOL]\n" in said


# ---- more steps


LAKE = ("q-learning", "--env", "FrozenLake-v1", "--seeds", 3, "--eval-episodes", 2)


@pytest.mark.parametrize(
    "words, told",
    [(["--steps", 20_480], True), ([], False), (["--steps", 20_480, "--schedule-steps", 500_000], False)],
)
def test_a_preset_whose_steps_are_cut_says_that_its_schedules_are(tmp_path, monkeypatch, capsys, words, told):
    given = ("--preset", "cleanrl-pqn", "--seeds", 1, *words, "--dry-run", "--out", tmp_path)
    assert command_line(monkeypatch, *given) is None
    said = "schedules fall over these 20,480 steps, not over the 500,000 of cleanrl-pqn: --schedule-steps 500000"
    assert (said in capsys.readouterr().out) == told


def test_a_run_goes_on_to_more_steps_with_the_schedules_it_began_with(tmp_path, monkeypatch, capsys):
    """It is the run of all its steps at once whose schedules are told theirs, and can be run again as that."""
    out, once, again = (tmp_path / name for name in ("run", "once", "again"))
    for more in (("--steps", 600), ("--steps", 1200, "--resume"), ("--steps", 1200, "--resume")):
        capsys.readouterr()
        assert command_line(monkeypatch, *LAKE, "--log-points", 3, *more, "--out", out) is None
        said = capsys.readouterr().out
        told = f"{out} goes on from 600 to 1,200 steps; schedules of steps stay those of 600\n"
        assert (told in said) == ("--resume" in more and "has ended" not in said)
    assert "its results stand" in said
    given = ("--steps", 1200, "--schedule-steps", 600, "--log-points", 6)
    assert command_line(monkeypatch, *LAKE, *given, "--out", once) is None
    assert command_line(monkeypatch, "--config", out, "--out", again) is None
    config = qjax.load_config(out)
    assert (config["arguments"]["config"]["steps"], config["arguments"]["schedule_steps"]) == (1200, 600)
    assert config["extended"] == [{"steps": 600, "log_points": 3, "ended": True}]
    for other in (once, again):
        assert (out / "metrics.csv").read_bytes() == (other / "metrics.csv").read_bytes()
        np.testing.assert_array_equal(qjax.load_agents(out), qjax.load_agents(other))
    summary, known = (json.loads((path / "summary.json").read_text()) for path in (out, once))
    assert summary["final_return_per_seed"] == known["final_return_per_seed"]
    assert qjax.results.load(out)["epsilon"][0, 0, 2] == pytest.approx(0.05)
    assert qjax.load_config(once)["arguments"]["log_points"] == 6
    assert train.load(out)[1].shape[0] == 3


def test_what_goes_on_to_no_more_steps(tmp_path, monkeypatch, capsys):
    run = (*LAKE, "--log-points", 3, "--out", tmp_path / "run")
    assert command_line(monkeypatch, *run, "--steps", 600, "--no-keep-checkpoint") is None
    for more, message in (
        (("--steps", 300), "holds a run of 600 steps: it goes on to more of them, not to 300"),
        (("--steps", 1200), "ended after 600 steps, and its last checkpoint was not kept"),
        (("--steps", 1200, "--schedule-steps", 1200), "arguments.schedule_steps: 600 before, 1200 now"),
        (("--steps", 1200, "--alpha", 0.3), "arguments.alpha: 0.1 before, 0.3 now"),
        (("--steps", 600, "--schedule-steps", 0), "schedule_steps must be"),
    ):
        capsys.readouterr()
        assert command_line(monkeypatch, *run, *more, "--resume") == 2
        assert message in capsys.readouterr().err


def test_each_run_of_a_grid_goes_on(tmp_path, monkeypatch):
    grid = (*LAKE, "--log-points", 3, "--ties", "random", "first", "--out", tmp_path / "run")
    assert command_line(monkeypatch, *grid, "--steps", 600) is None
    assert command_line(monkeypatch, *grid, "--steps", 300, "--resume") == 2
    assert (tmp_path / "run" / "summary.json").is_file()
    assert command_line(monkeypatch, *grid, "--steps", 1200, "--resume") is None
    for name in ("ties=random", "ties=first"):
        config = qjax.load_config(tmp_path / "run" / name)
        assert (config["sweep"]["steps"], config["arguments"]["schedule_steps"]) == (1200, 600)
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["env_steps"] == 2 * 3 * 1200


def test_agents_kept_on_the_way_begin_another_run(tmp_path, monkeypatch, capsys):
    out = tmp_path / "run"
    kept = ("--snapshots", 200, 401, "--evaluate-every", 1)
    assert command_line(monkeypatch, *LAKE, "--steps", 600, "--log-points", 3, *kept, "--out", out) is None
    capsys.readouterr()
    again = (*LAKE, "--steps", 600, "--log-points", 3, *kept[:2], 300, *kept[3:], "--resume", "--out", out)
    assert command_line(monkeypatch, *again) is None
    assert "it kept no agents at 300 steps, and keeps none now that it has ended" in capsys.readouterr().err
    digests = set()
    for which in ("last", "best", 200, 401):
        begun = tmp_path / f"from-{which}"
        given = ("--initial-agents", out, "--initial-which", which, "--steps", 100, "--log-points", 1)
        assert command_line(monkeypatch, *LAKE, *given, "--out", begun) is None
        digests.add(qjax.load_config(begun)["sweep"]["initial"])
    assert 2 <= len(digests) <= 3  # 401 and the last are those of 600 steps
    for given, message in (
        (
            ("--initial-agents", out, "--initial-which", 300),
            "kept no agents at 300 steps; those at 200, 401 are there",
        ),
        (("--initial-agents", out, "--initial-which", "bets"), "did you mean best"),
        (("--initial-which", "best"), "--initial-which best needs --initial-agents"),
        (("--snapshots", 700), "snapshots must be at most the 600 steps of the run, got 700"),
    ):
        capsys.readouterr()
        assert command_line(monkeypatch, *LAKE, "--steps", 600, *given, "--out", tmp_path / "bad") == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize("alphas", [(0.1,), (0.1, 0.5)])
def test_the_best_agents_are_evaluated_again_and_the_summary_has_it(tmp_path, monkeypatch, alphas):
    out = tmp_path / "run"
    words = ("--steps", 600, "--log-points", 3, "--evaluate-every", 1, "--eval-episodes", 4, "--alpha", *alphas)
    assert command_line(monkeypatch, *LAKE, *words, "--out", out) is None
    summary, table = load_summary(out), qjax.results.load(out)
    for number, own in enumerate(summary.get("settings", [summary])):
        evaluated = table["eval_return"][number]
        steps = np.take_along_axis(table.env_steps[number], evaluated.argmax(-1)[:, None], 1)[:, 0]
        assert own["best_env_steps"] == steps.tolist()
        assert own["best_return_iqm"] == pytest.approx(float(stats.iqm(np.array(own["best_return_per_seed"]))))


def test_what_no_flag_of_a_config_gives_is_told(tmp_path, monkeypatch, capsys):
    first, warm = tmp_path / "first", tmp_path / "warm"
    for given in (("--out", first), ("--initial-agents", first, "--out", warm)):
        assert command_line(monkeypatch, *LAKE, "--steps", 100, "--log-points", 1, *given) is None
    capsys.readouterr()
    parsed("--config", first)
    assert not capsys.readouterr().err
    parsed("--config", warm)
    assert (
        "warm began with agents of another run; give that one as --initial-agents, too" in capsys.readouterr().err
    )
    config = qjax.load_config(first)
    config["sweep"]["seeds"] = [4, 5]
    (first / "config.json").write_text(json.dumps(config))
    parsed("--config", first)
    assert "first has the seeds 4,5, and this run those from 0 on" in capsys.readouterr().err


def test_seeds_that_diverged_stand_in_the_table(tmp_path, monkeypatch, capsys):
    words = (
        "dqn",
        "--hidden",
        4,
        "--batch-size",
        4,
        "--warmup",
        100,
        "--steps",
        300,
        "--log-points",
        2,
        "--seeds",
        2,
    )
    given = (*words, "--eval-episodes", 1, "--lr", 1e30)
    assert command_line(monkeypatch, *given, "--out", tmp_path / "one") is None
    assert "2 of 2" in next(line for line in capsys.readouterr().out.splitlines() if "seeds that diverged" in line)
    scores = {"final_return_per_seed": [9.0, 8.0], "final_return_iqm": 8.5, "solved_fraction": 0.0}
    for lost, said in ((1, True), (0, False)):
        settings.show([{"setting": {"rate": 0.1}, **scores, "diverged": lost}], "x", "none")
        out = capsys.readouterr().out
        assert ("diverged" in out) == said and ("1 of 2" in out) == said
