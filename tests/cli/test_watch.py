"""Watching an agent: recordings agree with evaluation, pictures show the right states, bad folders are refused."""

import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from PIL import Image, ImageSequence

import qjax
from experiments import frozenlake
from qjax.cli import command, main, render, watch
from qjax.training.evaluation import Episodes
from qjax.training.recording import Recording, record

RIGHT = [1, 1, 2, 2, 1, 2]
PATH = [0, 4, 8, 9, 10, 14, 15]
"""A way over the 4x4 lake: actions and tiles."""


def command_line(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["qjax watch", "--cores", "2", *map(str, arguments)])
    try:
        command.main(watch.run, watch.Arguments.parse)
    except SystemExit as ended:
        return ended.code
    return None


def pictures(path):
    """Return a GIF's pictures `[height, width, 3]` and how long each stands, in ms."""
    with Image.open(path) as gif:
        read = [(np.array(frame.convert("RGB")), frame.info["duration"]) for frame in ImageSequence.Iterator(gif)]
        return [frame for frame, _ in read], [duration for _, duration in read]


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    """What experiments.frozenlake leaves: seed 0 knows nothing, seed 1 the way, seed 2 one into the hole at 5."""
    out = tmp_path_factory.mktemp("runs") / "lake"
    tables = np.zeros((3, 16, 4), np.float32)
    tables[1, PATH[:-1], RIGHT] = 1
    tables[2, [0, 1], [2, 1]] = 1
    arguments = frozenlake.Arguments(seeds=3, ties="first", out=out)
    with qjax.Run(out, "frozenlake", arguments.recorded, machine=arguments.machine) as run:
        run.lifecycle.open({"seeds": 3, "lanes": 3})
        run.save_agents(tables)
    return out


def test_a_recording_is_the_evaluation_step_by_step():
    """An agent that balances the pole and lets the cart drift, so that episodes are long and differ."""
    env = qjax.make("CartPole-v1")
    weights = jnp.array([0.0, 0.0, 1.0, 1.0])
    network = qjax.Network(lambda key, obs: weights, lambda w, obs, noise: jnp.array([-1.0, 1.0]) * (obs @ w))
    agent = qjax.dqn(network, optax.sgd(1e-3))
    given = (env, agent, agent.init(jax.random.key(5), jnp.zeros((1, 4))), jax.random.key(2), 6)
    seen, played = record(*given), qjax.evaluate(*given)
    jax.tree.map(np.testing.assert_array_equal, seen.episodes, jax.device_get(played))
    assert len(set(seen.episodes.lengths.tolist())) > 1
    reset_key, _ = jax.random.split(given[3])
    first, _ = jax.vmap(env.reset)(jax.random.split(reset_key, 6))
    np.testing.assert_array_equal(seen.observations[0], first)
    x, theta = np.abs(seen.observations[..., 0]), np.abs(seen.observations[..., 2])
    fallen = (x > 2.4) | (theta > 12 * 2 * np.pi / 360)
    for e, length in enumerate(seen.episodes.lengths):
        assert fallen[length, e] == (length < 500)  # the last one is the end, not the reset after it
        assert not fallen[:length, e].any()
        np.testing.assert_array_equal(seen.returns[:, e], np.minimum(np.arange(len(seen.returns)), length))


def test_the_seeds_of_a_run(lake):
    stuck, found, fallen = (watch.play(watch.load(lake, seed)) for seed in range(3))
    assert found.observations[:, 0].tolist() == PATH and found.actions[:, 0].tolist() == RIGHT
    assert found.returns[:, 0].tolist() == [0] * 6 + [1]
    assert fallen.observations[:, 0].tolist() == [0, 1, 5]
    # The run's own ties: the first action leads into the wall.
    assert (stuck.observations == 0).all() and stuck.episodes.lengths.tolist() == [100]

    loop, tables = frozenlake.load(lake)
    played = qjax.evaluate_seeds(loop.env, loop.agent, tables, range(3), 0, 1, policy=qjax.argmax)
    for seed, alone in enumerate((stuck, found, fallen)):
        jax.tree.map(np.testing.assert_array_equal, alone.episodes, jax.tree.map(lambda x, s=seed: x[s], played))
    # The key is the one that evaluates this seed of this sweep.
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(0), 2**32 - 1), 1)
    np.testing.assert_array_equal(jax.random.key_data(watch.load(lake, 1).key), jax.random.key_data(key))


def test_a_seeds_place_among_its_settings_seeds(tmp_path):
    sweep = {"seeds": [4, 7], "lanes": 6}
    assert [watch._place(sweep, tmp_path, seed, 1) for seed in (4, 7)] == [0, 1]
    with pytest.raises(ValueError, match="has no seed 5; its seeds are 4, 7"):
        watch._place(sweep, tmp_path, 5, 0)
    with pytest.raises(ValueError, match="has no setting 3; its settings are 0 to 2"):
        watch._place(sweep, tmp_path, 4, 3)


def test_the_lake_as_a_gif(lake, tmp_path, monkeypatch, capsys):
    pytest.importorskip("pygame")
    assert command_line(monkeypatch, lake, "--seed", 1) is None
    said = capsys.readouterr().out
    assert "episode 1: return 1 in 6 steps" in said and "watch_1.gif (0.0" in said
    frames, durations = pictures(lake / "watch_1.gif")
    assert len(frames) == 7 and durations == [250] * 6 + [1500]
    tiles = [[frame[64 * (i // 4) :][:64, 64 * (i % 4) :][:, :64] for i in range(16)] for frame in frames]
    for before, after, left, entered in zip(tiles, tiles[1:], PATH, PATH[1:], strict=False):
        changed = [i for i in range(16) if (before[i] != after[i]).any()]
        assert changed == sorted([left, entered])
    out = tmp_path / "two.gif"
    assert command_line(monkeypatch, lake, "--episodes", 2, "--max-steps", 3, "--fps", 10, "--out", out) is None
    assert "episode 2: return 0 in 3 steps, cut before its end" in capsys.readouterr().out
    assert pictures(out)[1] == [100, 100, 100, 1500] * 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["two.gif"]


def test_classic_control_and_toy_text_are_upright():
    pytest.importorskip("pygame")

    def draw(name, obs, action=None):
        return render.renderer(qjax.make(name)).draw(np.array(obs, np.float32), action).astype(int)

    straight, left = draw("CartPole-v1", [0, 0, 0, 0]), draw("CartPole-v1", [-1.4, 0, 0, 0])
    cart = [np.flatnonzero((picture.sum(-1) == 0).sum(0) > 5).mean() for picture in (straight, left)]
    assert cart == pytest.approx([300, 300 - 1.4 * 600 / 4.8], abs=3)
    turned = 0.7  # of the first link, from hanging; the second one follows it
    hangs = draw("Acrobot-v1", [1, 0, 1, 0, 0, 0])
    swings = draw("Acrobot-v1", [np.cos(turned), np.sin(turned), 1, 0, 0, 0])
    for picture, sine, cosine in ((hangs, 0, 1), (swings, np.sin(turned), np.cos(turned))):
        y, x = np.argwhere((picture == (0, 204, 204)).all(-1)).mean(0)
        length = 500 / 4.4  # of a link; the centre of both is one away from the joint
        assert (x, y) == (pytest.approx(250 + length * sine, abs=8), pytest.approx(250 + length * cosine, abs=8))
    top, bottom = draw("CliffWalking-v1", 0), draw("CliffWalking-v1", 36)
    moved = np.argwhere((top != bottom).any(-1))
    assert moved.min(0)[0] < 60 and moved.max(0)[0] > 180 and moved.max(0)[1] < 60


def test_channels_are_squares_of_the_image():
    """gymnax's colours: row 0 above, column 0 left, one colour for each channel."""
    drawn = render.renderer(qjax.make("Breakout-MinAtar"))
    obs = np.zeros((10, 10, 4), np.float32)
    drawn.draw(obs, None)
    obs[9, 4, 0] = obs[2, 7, 1] = 1
    picture = drawn.draw(obs, 1).astype(int)
    assert picture.shape == (320, 320, 3)
    squares = picture.reshape(10, 32, 10, 32, 3)[:, 16, :, 16].sum(-1)
    assert np.argwhere(squares > 0).tolist() == [[2, 7], [9, 4]] and squares[2, 7] != squares[9, 4]


def test_captions_and_lasts():
    shown = []
    drawn = render.Renderer(
        lambda obs, action: shown.append((int(obs), action)) or np.zeros((30, 90, 3), np.uint8), 5
    )
    seen = Recording(
        observations=np.array([[0, 10], [1, 11], [2, 12]]),
        actions=np.array([[5, 6], [7, 8]]),
        returns=np.zeros((3, 2)),
        episodes=Episodes(np.zeros(2), np.array([2, 1]), np.array([True, True])),
    )
    lasts = [last for _, last in render.frames(drawn, seen)]
    assert shown == [(0, None), (1, 5), (2, 7), (10, None), (11, 6)] and lasts == [False, False, True, False, True]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--seed", 3], "has no seed 3; its seeds are 0 to 2"),
        (["--setting", 1], "has no setting 1; its settings are 0 to 0"),
        (["--fps", 60], "fps must lie in (0, 50], got 60"),
        (["--episodes", 0], "episodes must be at least 1, got 0"),
        (["--max-steps", 0], "max_steps must be at least 1, got 0"),
        (["--out", "x.png"], "--out names a GIF, *.gif; got x.png"),
        (["--out", "missing/x.gif"], "there is no folder missing for x.gif"),
    ],
)
def test_bad_arguments(lake, monkeypatch, capsys, arguments, said):
    assert command_line(monkeypatch, lake, *arguments) == 2
    assert said in capsys.readouterr().err


def test_bad_folders(lake, tmp_path, monkeypatch, capsys):
    def refused(folder):
        assert command_line(monkeypatch, folder) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ") and error.count("\n") == 1
        return error

    assert f"there is no folder {tmp_path / 'none'}" in refused(tmp_path / "none")
    assert "holds no run: it has no config.json" in refused(tmp_path)
    config = qjax.load_config(lake)
    written = tmp_path / "config.json"
    written.write_text(json.dumps(config))
    assert "holds no final agents: the run was interrupted" in refused(tmp_path)
    written.write_text(json.dumps({"experiment": "frozenlake"}))
    assert "tells no sweep" in refused(tmp_path)
    (tmp_path / "n=1").mkdir()
    (tmp_path / "n=1" / "config.json").write_text("{}")
    assert f"holds several runs: n=1; name one of them, {tmp_path / 'n=1'}" in refused(tmp_path)
    written.write_text("{")
    assert "is damaged" in refused(tmp_path)
    (tmp_path / "agents").mkdir()
    for script, said in (
        (None, "is a run of 'frozenlake': its config.json names no script that loads it"),
        ("../x", "is a run of 'frozenlake': its config.json names no script that loads it"),
        ("not_here.at_all", "is a run of not_here.at_all, which cannot be imported: No module named 'not_here'"),
        ("textwrap", "is a run of textwrap, which has no function `load` for `qjax watch`"),
    ):
        written.write_text(json.dumps(config | {"machine": {"script": script}}))
        assert said in refused(tmp_path)
    del config["arguments"]["ties"]
    written.write_text(json.dumps(config))
    assert "is of another version: its config.json has no 'ties'" in refused(tmp_path)


def test_what_cannot_be_drawn(lake, monkeypatch, capsys):
    with pytest.raises(ValueError, match=r"Catch-bsuite has no renderer; these have one: Acrobot-v1, CartPole-v1"):
        render.renderer(qjax.make("Catch-bsuite"))
    monkeypatch.setitem(sys.modules, "pygame", None)
    assert command_line(monkeypatch, lake, "--seed", 1) == 2
    assert (
        "drawing FrozenLake-v1 needs gymnasium and pygame: pip install 'qjax-rl[watch]'" in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    "change", [lambda env: env, qjax.wrappers.previous, lambda env: qjax.wrappers.cast(env, "int8")]
)
def test_what_is_wrapped_is_drawn_as_it_is(change):
    """Of a stack the latest frame is shown, of an observation with more beside it the environment's own."""
    env = qjax.make("Breakout-MinAtar")
    made = qjax.wrappers.frame_stack(change(env), 2)
    stack, obs = made.reset(jax.random.key(0))[0], env.reset(jax.random.key(0))[0]
    np.testing.assert_array_equal(
        render.renderer(made).draw(jax.tree.map(np.asarray, stack), None),
        render.renderer(env).draw(np.asarray(obs), None),
    )


def test_what_hides_the_environment_is_not_drawn():
    env = qjax.wrappers.select(qjax.make("CartPole-v1"), [0, 1])
    with pytest.raises(ValueError, match="CartPole-v1 select=0,1 cannot be drawn"):
        render.renderer(env)


def test_recordings_of_several_arrays_are_drawn():
    env = qjax.wrappers.previous(qjax.make("Breakout-MinAtar"))
    agent = qjax.dqn(qjax.encoded(qjax.MLP(3, ()), env.encode), optax.sgd(1e-3))
    state = agent.init(jax.random.key(0), jax.tree.map(lambda x: x[None], env.reset(jax.random.key(0))[0]))
    recording = record(env, agent, state, jax.random.key(1), 1, max_steps=3)
    drawn = list(render.frames(render.renderer(env), recording))
    assert len(drawn) == 1 + recording.episodes.lengths[0] and drawn[-1][1]


def test_the_best_agent_of_a_setting_is_shown_where_there_is_one(tmp_path, monkeypatch):
    given = ["train", "q-learning", "--alpha", "0.1", "0.5", "--seeds", "3", "--steps", "600", "--log-points", "3"]
    kept = ["--evaluate-every", "1", "--eval-episodes", "2", "--snapshots", "200"]
    for name, more in (("with", kept), ("without", [])):
        monkeypatch.setattr(sys, "argv", ["qjax", *given, *more, "--cores", "2", "--out", str(tmp_path / name)])
        main.main()
    best = qjax.load_agents(tmp_path / "with", which="best")
    np.testing.assert_array_equal(watch.load(tmp_path / "with", 2, 1, "best").state, best[5])
    assert (watch.load(tmp_path / "with", 2, 1).state != best[5]).any()
    at = qjax.load_agents(tmp_path / "with", which=200)
    np.testing.assert_array_equal(watch.load(tmp_path / "with", 2, 1, 200).state, at[5])
    with pytest.raises(FileNotFoundError, match="kept no agents at 300 steps; those at 200 are there"):
        watch.load(tmp_path / "with", 2, 1, 300)
    with pytest.raises(FileNotFoundError, match="none were evaluated while it trained"):
        watch.load(tmp_path / "without", 2, 1, "best")


def test_when_the_best_evaluation_was_is_told(tmp_path, capsys):
    for summary in ({"best_env_steps": [0, 1200]}, {"settings": [{}, {"best_env_steps": [0, 1200]}]}):
        (tmp_path / "summary.json").write_text(json.dumps(summary))
        watch._tell_when(tmp_path, 1, 1)
        watch._tell_when(tmp_path, 0, 1)
        said = capsys.readouterr().err.splitlines()
        assert said == [
            "best evaluation while it trained: at 1,200 steps",
            "best evaluation while it trained: none: it never was evaluated, and has not learned",
        ]
    watch._tell_when(tmp_path, 0, 0)
    assert capsys.readouterr().err == ""
