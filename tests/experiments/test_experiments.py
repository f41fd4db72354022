"""The command lines as a user meets them: small runs, what they leave behind, and bad arguments."""

import json
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
import scipy.stats

import qjax
from experiments import cartpole, frozenlake, records, study
from qjax.cli import command, reading, train
from qjax.cli.arguments import arguments_of, resolve
from qjax.core import jsonfile
from qjax.mdp import examples, solve

SUMMARY = {
    "experiment", "seeds", "env_steps", "compile_s", "run_s", "env_steps_per_s", "solved_fraction",
    "final_return_mean", "final_return_iqm", "final_return_per_seed",
}  # fmt: skip


def shell(*arguments):
    return subprocess.run([sys.executable, "-m", *map(str, arguments)], capture_output=True, text=True, check=False)


def read_summary(out):
    return json.loads((out / "summary.json").read_text())


def test_frozenlake(tmp_path, monkeypatch, capsys):
    out = tmp_path / "lake"
    work = ("--seeds", 64, "--episodes", 1000, "--out", out)
    assert command_line(monkeypatch, frozenlake, *work) is None
    summary = read_summary(out)
    assert set(summary) >= SUMMARY | {"start_value_mean", "optimal_start_value"}
    assert summary["solved_fraction"] == 1.0
    assert summary["optimal_start_value"] == pytest.approx(0.99**5, abs=1e-5)
    assert "Wilson interval" in capsys.readouterr().out
    assert {p.name for p in out.iterdir()} >= {"config.json", "timing.csv", "learning_curve.png", "policy.png"}

    # What is written agrees with itself: episodes done, steps counted once, the tables giving the exact scores.
    metrics = qjax.runs.load_metrics(out)
    last = {int(s): i for i, s in enumerate(metrics["seed"])}
    assert len(last) == 64
    assert all(metrics["episodes"][i] == 1000 for i in last.values())
    assert sum(metrics["env_steps"][i] for i in last.values()) == summary["env_steps"]
    loop, tables = frozenlake.load(out)
    policy = jax.vmap(jax.vmap(qjax.greedy))(tables)
    exact = jax.vmap(lambda p: solve.expected_return(examples.frozen_lake(loop.env), p, 100))(policy)
    np.testing.assert_allclose(exact, summary["final_return_per_seed"], atol=1e-6)

    assert command_line(monkeypatch, frozenlake, "--out", out) == 2
    assert capsys.readouterr().err == f"error: {out} is not empty: choose another --out, or give --overwrite\n"
    assert read_summary(out) == summary
    assert command_line(monkeypatch, frozenlake, *work, "--resume") is None
    assert "has ended; its results stand" in capsys.readouterr().out
    assert command_line(monkeypatch, frozenlake, "--seeds", 63, *work[2:], "--resume") == 2
    assert "arguments.seeds: 64 before, 63 now" in capsys.readouterr().err
    assert read_summary(out) == summary


def command_line(monkeypatch, experiment, *arguments):
    """Run a command line in this process; return its exit status, None where it just returned."""
    monkeypatch.setattr(sys, "argv", [experiment.__name__, "--cores", "2", *map(str, arguments)])
    try:
        command.main(experiment.run, reading.read if experiment is train else experiment.Arguments.parse)
    except SystemExit as ended:
        return ended.code
    return None


def test_dry_run(tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    assert command_line(monkeypatch, frozenlake, "--dry-run", "--seeds", 300, "--width", 64, "--out", out) is None
    said = capsys.readouterr().out
    assert "300 = 1 setting(s) x 300 seed(s)" in said and "3 of 2 cpu device(s) x 64 lanes" in said
    assert "compiles    3: init, pop_metrics, learn" in said and "fits        yes" in said
    assert not out.exists()
    monkeypatch.setattr(sys.modules["qjax.sweeps.plan"], "memory_limit", lambda _: 10**6)
    assert command_line(monkeypatch, frozenlake, "--dry-run", "--seeds", 30_000, "--out", out) == 2
    assert "error: 30000 lanes need" in capsys.readouterr().err and not out.exists()


def test_first_index_ties_keep_half_the_seeds_from_the_goal(tmp_path):
    arguments = frozenlake.Arguments(seeds=128, episodes=300, ties="first", out=tmp_path / "first")
    frozenlake.run(arguments)
    # 512 seeds of 2000 episodes gave 46%, interval [42%, 50%]; what 300 episodes have not found is never found.
    assert 0.25 < read_summary(arguments.out)["solved_fraction"] < 0.7


@pytest.mark.slow
@pytest.mark.parametrize(("ties", "low", "high"), [("random", 1.0, 1.0), ("first", 0.4, 0.6)])
def test_the_whole_lake(tmp_path, ties, low, high):
    arguments = frozenlake.Arguments(ties=ties, out=tmp_path / ties)
    frozenlake.run(arguments)
    assert low <= read_summary(arguments.out)["solved_fraction"] <= high


@pytest.mark.slow
def test_the_whole_tutorial(tmp_path):
    # The classic PyTorch loop with these constants ends with greedy returns of about 100 to 210.
    arguments = cartpole.Arguments(preset="tutorial", out=tmp_path / "tutorial")
    cartpole.run(arguments)
    summary, metrics = read_summary(arguments.out), qjax.runs.load_metrics(arguments.out)
    assert all(metrics["episodes"][metrics["seed"] == seed].max() == 500 for seed in range(16))
    assert 90 < summary["final_return_iqm"] < 300


@pytest.mark.slow
def test_a_small_study(tmp_path):
    lake = {"lake_seeds": 32, "episodes": 300}
    rates = {"steps": 11_000, "learning_rates": (1e-4, 1e-3), "target_periods": (100, 500), "seeds": 2}
    study.run(study.Arguments(out=tmp_path / "study", **lake, **rates))
    assert {path.name for path in (tmp_path / "study").glob("*.*")} == {
        f"{picture}.{kind}"
        for picture in ("ties", "sensitivity_learning_rate_target_period")
        for kind in ("png", "svg")
    }
    assert len(read_summary(tmp_path / "study" / "rates")["settings"]) == 4


def test_a_study_of_one_rate_is_refused(tmp_path, monkeypatch, capsys):
    assert command_line(monkeypatch, study, "--learning-rates", 1e-3, "--out", tmp_path / "study") == 2
    assert "a map needs several values on each axis, got (0.001,)" in capsys.readouterr().err
    assert not (tmp_path / "study").exists()


def test_cartpole(tmp_path):
    arguments = cartpole.Arguments(seeds=3, steps=11_500, eval_episodes=4, width=2, out=tmp_path / "cartpole")
    cartpole.run(arguments)
    summary = read_summary(arguments.out)
    assert set(summary) >= SUMMARY
    assert summary["env_steps"] == 3 * 11_500
    assert len(summary["final_return_per_seed"]) == 3
    metrics = qjax.runs.load_metrics(arguments.out)
    assert metrics["env_steps"].max() == 11_500
    assert np.isnan(metrics["loss"][metrics["env_steps"] < 10_000]).all()  # nothing is learned in the warm-up
    assert np.isfinite(metrics["loss"][metrics["env_steps"] > 10_500]).all()
    np.testing.assert_allclose(metrics["epsilon"][-1], 0.05, rtol=1e-6)
    loop, agents = cartpole.load(arguments.out)
    assert isinstance(agents, qjax.agents.DQNState)
    played = qjax.evaluate_seeds(loop.env, loop.agent, agents, [0, 1, 2], 0, 4)
    np.testing.assert_allclose(np.asarray(played.returns).mean(1), summary["final_return_per_seed"])


@pytest.mark.slow
def test_widths_agree_in_distribution():
    """After many updates lanes of another width are other runs of the same kind: returns of 48 seeds each."""
    loop = cartpole.build(cartpole.preset("cleanrl", 60_000))
    scores = []
    for width in (4, 16):
        result = qjax.sweep(lambda _: loop, seeds=48, steps=60_000, log_points=4, width=width)
        scores.append(result.points[-1].mean_return)
    assert (scores[0] != scores[1]).any()
    assert scipy.stats.ks_2samp(*scores).pvalue > 0.01


def test_tutorial_constants():
    constants = cartpole.preset("tutorial", None)
    loop = cartpole.build(constants)
    assert (loop.num_envs, loop.warmup, loop.episodes, loop.sync_every) == (1, 63, 500, 1)
    epsilon = constants.epsilon_schedule()
    assert float(epsilon(qjax.Time(0, 10, 0))) == pytest.approx(0.995**10)
    assert float(epsilon(qjax.Time(0, 2000, 0))) == pytest.approx(0.01)


@pytest.mark.slow
def test_ctrl_c_ends_with_130_and_keeps_what_was_logged(tmp_path):
    out = tmp_path / "out"
    arguments = [sys.executable, "-m", "experiments.frozenlake", "--ties", "first", "--out", str(out)]
    running = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (out / "timing.csv").exists() or (out / "timing.csv").read_text().count("\n") < 3:
        assert running.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "SIGINT: stopping at the end of this chunk" in said and "go on with --resume" in said
    assert len(qjax.runs.load_metrics(out)["seed"]) >= 2 * 512
    assert not (out / "summary.json").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--steps", "0"], "steps must be at least 1, got 0"),
        (["--seed", "4294967296"], "seed must be at most 4294967295, got 4294967296"),
        (["--seeds", "0"], "seeds must be at least 1, got 0"),
        (["--steps", "5000"], "5000 steps end before the warm-up of 10000 steps does"),
        (["--cores", "0"], "count must be at least 1, got 0"),
        (["--width", "-1"], "width must be at least 1, got -1"),
        (["--eval-episodes", "0"], "eval_episodes must be at least 1, got 0"),
        (["--preset", "cleanrll"], "cleanrl"),
        (["--sedes", "3"], "--seeds"),
    ],
)
def test_bad_arguments_end_with_status_2_and_leave_nothing(tmp_path, monkeypatch, capsys, arguments, message):
    out = tmp_path / "out"
    monkeypatch.setattr(sys, "argv", ["experiments.cartpole", "--out", str(out), "--cores", "2", *arguments])
    with pytest.raises(SystemExit) as ended:
        command.main(cartpole.run, cartpole.Arguments.parse)
    said = capsys.readouterr()
    assert ended.value.code == 2
    assert message in said.err + said.out
    assert not out.exists()


# ---- any algorithm


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(
            ("rainbow", "--env", "Acrobot-v1", "--steps", 1200, "--seeds", 2, "--warmup", 500, "--batch-size", 8),
            marks=pytest.mark.slow,
        ),
        ("pqn", "--env", "CartPole-v1", "--steps", 2048, "--seeds", 2),
        (
            "sarsa",
            "--env",
            "CliffWalking-v1",
            "--steps",
            2000,
            "--seeds",
            1,
            "--epsilon",
            0.1,
            "--parquet",
            "--tensorboard",
        ),
    ],
    ids=lambda arguments: arguments[0],
)
def test_train(arguments, tmp_path, monkeypatch, capsys):
    out, seeds = tmp_path / "run", arguments[6]
    given = (*arguments, "--eval-episodes", 2, "--out", out)
    assert command_line(monkeypatch, train, *given) is None
    said = capsys.readouterr().out
    assert f"{arguments[0]} on {arguments[2]}, {seeds} seed{'s' * (seeds > 1)}" in said
    assert ("(no interval: one seed)" in said) == (seeds == 1)
    summary = read_summary(out)
    assert set(summary) >= SUMMARY and summary["environment"] == arguments[2]
    assert (summary["final_return_iqm_interval"] == [None, None]) == (seeds == 1)
    assert summary["env_steps"] >= seeds * arguments[4]
    assert (out / "learning_curve.png").is_file()
    assert (out / "metrics.parquet").is_dir() == ("--parquet" in arguments) != (out / "metrics.csv").is_file()
    assert len(list(out.glob("tensorboard/*/events*"))) == seeds * ("--tensorboard" in arguments)
    loop, agents = train.load(out)
    # CliffWalking has no limit of its own.
    cut = None if loop.env.max_steps else command.UNLIMITED
    played = qjax.evaluate_seeds(loop.env, loop.agent, agents, np.arange(seeds), 0, 2, max_steps=cut)
    np.testing.assert_allclose(np.asarray(played.returns).mean(1), summary["final_return_per_seed"])
    assert command_line(monkeypatch, train, *given, "--resume") is None
    assert "has ended; its results stand" in capsys.readouterr().out
    assert command_line(monkeypatch, train, *given, "--gamma", 0.9, "--resume") == 2
    assert "arguments.gamma: 0.99 before, 0.9 now" in capsys.readouterr().err


def test_results_name_commands_that_run():
    """What the page gives as a command makes the very arguments again, flags and pairs of numbers among them."""
    given = {"support": (0.0, 50.0), "hidden": (8, 4), "gamma": 0.5, "fast_keys": True}
    arguments = resolve(arguments_of("c51")(name="c51", seeds=3, steps=500, out=Path("runs/x"), **given))
    words = shlex.split(records.command(jsonfile.plain(arguments.recorded), str(arguments.out)))
    assert words[:2] == ["qjax", "train"]
    assert resolve(reading.read(words[2:])) == arguments


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("c51", "--support", 3, 3), "support must be the least and the largest value, got (3.0, 3.0)"),
        (
            ("sarsa", "--env", "CartPole-v1"),
            "a table needs discrete observations; CartPole-v1 gives float32[4]",
        ),
        (("dqn", "--target-period", 5), "target_period of 5 steps is shorter than an iteration's 10"),
        (("dqn", "--target-period", 5, 100), "target_period of 5 steps is shorter than an iteration's 10"),
        (("dqn", "--env", "CartPol-v1"), "CartPole-v1"),
        (("dqn", "--steps", 500), "500 steps end before the warm-up of 10000 steps does"),
    ],
)
def test_train_refuses(arguments, said, tmp_path, monkeypatch, capsys):
    assert command_line(monkeypatch, train, *arguments, "--out", tmp_path / "run") == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
