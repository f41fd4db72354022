"""What a run's rings held at its last checkpoint comes back as a data set, lane by lane."""

import jax
import numpy as np
import pytest
import victim

import qjax
from qjax import datasets
from qjax.sweeps import phases, saving

SEEDS, HYPERS = [4, 0, 9], qjax.grid(alpha=[0.1, 0.5])
RINGS = {
    "ring": lambda: qjax.ring(16, 2),
    "prioritized": lambda: qjax.prioritized(16, 2, alpha=0.6, beta=0.4),
}


def built(memory, env="FrozenLake-v1", **options):
    def build(hyper):
        world = qjax.make(env)
        agent = qjax.tabular(world.num_states, world.num_actions, hyper["alpha"])
        return qjax.make_loop(world, agent, qjax.epsilon_greedy(0.3), memory(), gamma=0.9, num_envs=2, **options)

    return build


def sweep(folder, build, keep=True, **options):
    with qjax.Run(folder, "walk", {}, keep_checkpoint=keep) as run:
        work = {"seeds": SEEDS, "hypers": HYPERS, "steps": 24, "log_points": 3, "width": 4}
        qjax.sweep(build, run=run, **{**work, **options})
    return folder


@pytest.mark.parametrize("name", RINGS)
def test_every_lane_is_read_as_the_lane_alone(name, tmp_path):
    """Twelve rows were written into rings of eight."""
    build = built(RINGS[name])
    folder = sweep(tmp_path / "run", build)
    loop = build({"alpha": 0.1})
    found = qjax.load_transitions(folder, loop)
    assert found.action.shape == (8, 12) and (found.env, found.num_actions) == ("FrozenLake-v1", 4)

    @jax.jit
    def alone(alpha, seed):
        own = build({"alpha": alpha})
        lane = own.init(jax.random.fold_in(qjax.core.random.root_key(0), seed))
        return own.run(lane, qjax.clock.at(0), 12).memory

    for setting, alpha in enumerate(HYPERS["alpha"]):
        for place, seed in enumerate(SEEDS):
            rows = datasets.from_ring(alone(np.float32(alpha), np.uint32(seed)), qjax.clock.at(12), 4)
            first = (setting * 3 + place) * 2
            for field in ("obs", "action", "reward", "terminated", "truncated", "next_obs"):
                np.testing.assert_array_equal(getattr(found, field)[:, first : first + 2], getattr(rows, field))
    for given, streams in (({"seeds": [9, 4], "settings": [1]}, [10, 11, 6, 7]), ({"seeds": [0]}, [2, 3, 8, 9])):
        some = qjax.load_transitions(folder, loop, **given)
        np.testing.assert_array_equal(some.obs, found.obs[:, streams])


def test_of_a_run_that_stopped_it_is_the_last_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setattr(saving, "CHECKPOINT_SHARE", 0)
    monkeypatch.setattr(phases, "INNER_ITERATIONS", 2)
    build = built(lambda: qjax.ring(64, 2))
    often = {"chunk_seconds": 1e-9, "checkpoint_every": 0.0}
    with pytest.raises(victim.Crash):
        sweep(tmp_path / "run", build, on_progress=victim.crashing(2), **often)
    half = qjax.load_transitions(tmp_path / "run", build({"alpha": 0.1}))
    whole = qjax.load_transitions(sweep(tmp_path / "whole", build), build({"alpha": 0.1}))
    rows = len(half.action)
    assert 0 < rows < 12 and whole.action.shape == (12, 12)
    for field in ("obs", "action", "reward", "next_obs"):
        np.testing.assert_array_equal(getattr(half, field), getattr(whole, field)[:rows])


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return sweep(tmp_path_factory.mktemp("runs") / "run", built(RINGS["ring"]))


@pytest.mark.parametrize(
    ("build", "options", "message"),
    [
        (
            built(lambda: qjax.ring(32, 2)),
            {},
            r"another loop: lane.memory.rows.shape\[0\]: 8 before, 16 now",
        ),
        (
            built(RINGS["ring"], "CliffWalking-v1"),
            {},
            "of 'FrozenLake-v1', the loop one of 'CliffWalking-v1'",
        ),
        (built(RINGS["prioritized"]), {}, "is a run of another loop: lane.memory"),
        (built(RINGS["ring"]), {"seeds": [4, 5]}, r"seeds \[5\] are none of the run's in .*, \[4, 0, 9\]"),
        (built(RINGS["ring"]), {"settings": [2]}, r"settings \[2\] are none of the 2 of the run"),
    ],
)
def test_what_is_not_there_is_named(run, build, options, message):
    with pytest.raises(ValueError, match=message):
        qjax.load_transitions(run, build({"alpha": 0.1}), **options)


def test_where_there_is_nothing_to_read(tmp_path):
    build = built(RINGS["ring"])
    loop = build({"alpha": 0.1})
    with pytest.raises(FileNotFoundError, match="holds no run"):
        qjax.load_transitions(tmp_path / "nowhere", loop)
    with pytest.raises(FileNotFoundError, match=r"holds no checkpoint: .*keep_checkpoint=True"):
        qjax.load_transitions(sweep(tmp_path / "a", build, keep=False), loop)
    online = built(qjax.online)
    with pytest.raises(TypeError, match="state must be that of a ring"):
        qjax.load_transitions(sweep(tmp_path / "b", online), online({"alpha": 0.1}))


def test_lanes_that_no_longer_write_are_refused_and_others_read(tmp_path):
    build, short = built(RINGS["ring"]), built(RINGS["ring"], episodes=1)
    ended = sweep(tmp_path / "a", short, steps=200)
    with pytest.raises(ValueError, match="6 lanes have left the sweep, the first is seed 4 of setting 0"):
        qjax.load_transitions(ended, short({"alpha": 0.1}))
    going = sweep(tmp_path / "c", build, steps=200)  # as it would be before they have left
    with pytest.raises(ValueError, match=r"6 lanes have their 1 episodes, .* the first is seed 4 of setting 0"):
        qjax.load_transitions(going, short({"alpha": 0.1}))
    gone = lambda point, number: np.arange(6) % 3 == 1  # the second seed
    folder = sweep(tmp_path / "b", build, drop=gone)
    with pytest.raises(ValueError, match="2 lanes have left the sweep, the first is seed 0 of setting 0"):
        qjax.load_transitions(folder, build({"alpha": 0.1}))
    assert qjax.load_transitions(folder, build({"alpha": 0.1}), seeds=[4, 9]).action.shape == (8, 8)
