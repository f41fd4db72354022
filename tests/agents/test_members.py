"""Averaged and maxmin DQN: targets of several networks for every head, who learns, and on what they act."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import probes
import pytest
import victim
from scipy import special

import qjax
from experiments import overestimation
from qjax.objectives.members import Members, least_of_members, mean_of_members
from qjax.sweeps import phases, saving
from qjax.types import Batch, Quantiles, Time, Transition

KEY = jax.random.key(4)
TIME = Time(jnp.float32(0), jnp.int32(0), jnp.float32(0), jnp.int32(0), envs=2)
K, A, N = 3, 4, 5
"""Members, actions, atoms."""
H = qjax.signed_hyperbolic()

HEADS = {
    "scalar": (qjax.scalar(), (A,)),
    "rescaled": (qjax.scalar(rescale=H), (A,)),
    "categorical": (qjax.categorical(-2.0, 3.0, N), (A, N)),
    "quantile": (qjax.quantile(), (A, N)),
    "levels": (qjax.quantile(), (A, N)),
    "two-hot": (qjax.two_hot(-2.0, 3.0, N, H), (A, N)),
}
WEIGHTS = {"one": np.eye(A, dtype=bool)[2], "several": np.array([0.5, 0.0, 0.2, 0.3], np.float32)}


def outputs(name):
    """Return outputs of K members, `[K, A, ...]`, whose action 1 is masked."""
    out = np.random.default_rng(1).normal(size=(K, *HEADS[name][1])).astype(np.float32)
    out[:, 1] = -np.inf
    if name != "levels":
        return Members(jnp.asarray(out))
    return Members(Quantiles(jnp.asarray(out), jnp.tile(jnp.linspace(0.1, 0.9, N), (K, 1))))


def one(out, number):
    return jax.tree.map(lambda x: x[number], out.each)


# Targets of every head, against loops over members and actions -------------------------------------------------


def atoms(name, out):
    """Return values and masses of the returns of each action, `[A, m]`, of one network's output."""
    if name in ("scalar", "rescaled"):
        values = out[:, None] if name == "scalar" else np.asarray(H.inverse(out))[:, None]
        return values, np.ones_like(values)
    if name == "two-hot":
        mass = special.softmax(np.where(np.isfinite(out), out, 0), axis=-1)
        return np.asarray(H.inverse(mass @ np.linspace(-2, 3, N)))[:, None], np.ones((A, 1))
    if name == "categorical":
        return np.tile(np.linspace(-2, 3, N), (A, 1)), special.softmax(np.where(np.isfinite(out), out, 0), axis=-1)
    values = out.values if name == "levels" else out
    return values, np.full(values.shape, 1 / N)


def slow_atoms(name, out, weights, least, reward, discount):
    """Return values and masses of a target before any projection."""
    members = [tuple(map(np.asarray, atoms(name, one(out, k)))) for k in range(K)]
    found = []
    for action in np.flatnonzero(weights):
        means = [(values[action] * mass[action]).sum() for values, mass in members]
        for k in [int(np.argmin(means))] if least else range(K):
            share = float(weights[action]) / (1 if least else K)
            values, mass = members[k]
            found += [(reward + discount * v, share * m) for v, m in zip(values[action], mass[action], strict=True)]
    return np.array(found).T


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("least", [False, True])
@pytest.mark.parametrize("name", HEADS)
def test_targets_are_those_of_a_slow_loop(name, least, weights):
    head, weights, out = HEADS[name][0], WEIGHTS[weights], outputs(name)
    together = (least_of_members if least else mean_of_members)(head)
    y = together.target(jnp.float32(0.5), jnp.float32(0.9), out, jnp.asarray(weights))
    values, mass = slow_atoms(name, out, weights, least, 0.5, 0.9)
    if name == "scalar":
        np.testing.assert_allclose(y, values @ mass, rtol=1e-5)
    elif name in ("rescaled", "two-hot"):
        np.testing.assert_allclose(y, H.apply(values @ mass), rtol=1e-5)
    elif name == "categorical":
        support, projected = np.linspace(-2, 3, N), np.zeros(N)
        for value, m in zip(np.clip(values, -2, 3), mass, strict=True):
            projected += m * np.maximum(1 - np.abs(value - support) / 1.25, 0)
        np.testing.assert_allclose(y, projected, rtol=1e-4, atol=1e-6)
        clipped = together.report(jnp.float32(0.5), jnp.float32(0.9), out, jnp.asarray(weights))["clipped"]
        np.testing.assert_allclose(clipped, mass[(values < -2) | (values > 3)].sum(), rtol=1e-4, atol=1e-6)
    else:
        kept = np.asarray(y.mass) > 0
        order, slow = np.argsort(y.values[kept]), np.argsort(values)
        np.testing.assert_allclose(y.values[kept][order], values[slow], rtol=1e-5)
        np.testing.assert_allclose(y.mass[kept][order], mass[slow], rtol=1e-5)


@pytest.mark.parametrize("name", HEADS)
def test_values_are_the_members_mean_or_the_least(name):
    head, out = HEADS[name][0], outputs(name)
    q = np.stack([head.q(one(out, k)) for k in range(K)])
    np.testing.assert_allclose(mean_of_members(head).q(out), q.mean(0), rtol=1e-5)
    np.testing.assert_allclose(least_of_members(head).q(out), q.min(0), rtol=1e-5)
    for together in (mean_of_members(head), least_of_members(head)):
        np.testing.assert_array_equal(together.q(one(out, 1)), q[1])


def test_where_all_are_masked_a_terminal_target_is_the_reward():
    out = Members(jnp.full((K, A), -jnp.inf))
    for together in (mean_of_members(qjax.scalar()), least_of_members(qjax.scalar())):
        assert together.target(jnp.float32(0.5), jnp.float32(0), out, jnp.asarray(WEIGHTS["one"])) == 0.5


# Agents ------------------------------------------------------------------------------------------------------


def batch(seed=0, streams=6):
    draw, shape = np.random.default_rng(seed), (1, streams)
    return jax.device_put(
        Batch(
            Transition(
                draw.normal(size=(*shape, 3)).astype(np.float32), draw.integers(0, 2, shape).astype(np.int32),
                draw.normal(size=shape).astype(np.float32),
                np.where(draw.random(shape) < 0.3, 0, 0.9).astype(np.float32),
                draw.normal(size=(*shape, 3)).astype(np.float32), np.zeros(shape, bool),
            ),
            np.ones(shape, np.float32), np.arange(streams), np.zeros(streams, int),
        )
    )  # fmt: skip


MLP = qjax.MLP(2, (8,))
ADAM = optax.adam(1e-2)
MUNCHAUSEN = qjax.munchausen(temperature=0.5)
SOME = qjax.epsilon_greedy(0.2)
TARGETS = {
    "maximum": {},
    "double": {"target_policy": qjax.double},
    "expected": {"target_policy": qjax.expected(SOME)},
    "munchausen": MUNCHAUSEN,
}


def scattered(state):
    """Return a state whose targets are all different networks."""
    keys = iter(jax.random.split(KEY, len(jax.tree.leaves(state.target_params))))
    moved = jax.tree.map(lambda x: x + jax.random.normal(next(keys), x.shape), state.target_params)
    return state._replace(target_params=moved)


def slow_loss(params, members, combined, given, kind):
    """Return the loss of one network by targets of several, row by row in NumPy."""
    apply = lambda p, obs: np.asarray(MLP.apply(p, obs))
    total = 0.0
    for row in range(6):
        obs, action, reward, discount, after = (np.asarray(x)[0, row] for x in given.data[:5])
        q, before = (combined(np.stack([apply(p, x) for p in members])) for x in (after, obs))
        online = apply(params, after)
        bonus = 0.0
        if kind == "double":
            value = q[online.argmax()]
        elif kind == "expected":
            value = q @ np.asarray(SOME(jnp.asarray(online), TIME))
        elif kind == "munchausen":
            log_next, log_before = (0.5 * special.log_softmax(x / 0.5) for x in (q, before))
            value = special.softmax(q / 0.5) @ (q - log_next)
            bonus = 0.9 * np.clip(log_before[action], -1, 0)
        else:
            value = q.max()
        total += (reward + bonus + discount * value - apply(params, obs)[action]) ** 2 / 6
    return total


@pytest.mark.parametrize("kind", TARGETS)
def test_averaged_targets_for_every_target_policy(kind):
    agent, given = qjax.averaged_dqn(MLP, ADAM, K, **TARGETS[kind]), batch()
    state = scattered(agent.init(KEY, given.data.obs[0]))
    _, info = jax.jit(agent.learn)(KEY, state, given, TIME)
    members = [one(state.target_params, k) for k in range(K)]
    expected = slow_loss(state.params, members, lambda q: q.mean(0), given, kind)
    np.testing.assert_allclose(info["loss"], expected, rtol=1e-4)


@pytest.mark.parametrize("kind", TARGETS)
def test_maxmin_targets_for_every_target_policy(kind):
    agent, given = qjax.maxmin_dqn(MLP, ADAM, K, **TARGETS[kind]), batch()
    state = scattered(agent.init(KEY, given.data.obs[0]))
    after, info = jax.jit(agent.learn)(KEY, state, given, TIME)
    (learned,) = moved(state, after)
    members = [jax.tree.map(lambda x, k=k: x[k], state.target_params) for k in range(K)]
    params = jax.tree.map(lambda x: x[learned], state.params)
    expected = slow_loss(params, members, lambda q: q.min(0), given, kind)
    np.testing.assert_allclose(info["loss"], expected, rtol=1e-4)


def moved(before, after):
    """Return the members whose parameters or optimisers are others; each has then both."""
    found = []
    for trees in ((before.params, after.params), (before.opt_state, after.opt_state)):
        pairs = zip(*map(jax.tree.leaves, trees), strict=True)
        found.append(np.any([(x != y).reshape(len(x), -1).any(1) for x, y in pairs], axis=0))
    np.testing.assert_array_equal(*found)
    return np.flatnonzero(found[0]).tolist()


def test_one_copy_is_dqn_bit_for_bit():
    pair = qjax.dqn(MLP, ADAM, target=qjax.periodic(5)), qjax.averaged_dqn(MLP, ADAM, 1, target=qjax.periodic(5))
    states = [agent.init(KEY, batch().data.obs[0]) for agent in pair]
    for number in range(4):
        for which, agent in enumerate(pair):
            learned, _ = jax.jit(agent.learn)(jax.random.key(number), states[which], batch(number), TIME)
            states[which] = agent.sync(KEY, learned, Time(3, 0, 1))
    obs = batch().data.obs[0, 0]
    jax.tree.map(np.testing.assert_array_equal, states[0].params, states[1].params)
    jax.tree.map(np.testing.assert_array_equal, states[0].target_params, one(states[1].target_params, 0))
    np.testing.assert_array_equal(*(a.values(None, s, obs) for a, s in zip(pair, states, strict=True)))


def test_the_last_copies_are_kept_and_acted_on():
    """A copy at every second sync, which passes three of five steps and then six."""
    agent = qjax.averaged_dqn(MLP, ADAM, K, target=qjax.periodic(6))
    state, learn = agent.init(KEY, batch().data.obs[0]), jax.jit(agent.learn)
    copies = [state.params] * K
    for number in range(9):
        state, _ = learn(jax.random.key(number), state, batch(number), TIME)
        state = agent.sync(KEY, state, Time(3, 0, 1))
        if number % 2:
            copies = [state.params, *copies[:-1]]
        for k, copy in enumerate(copies):
            jax.tree.map(np.testing.assert_array_equal, one(state.target_params, k), copy)
    obs = batch().data.obs[0, 0]
    expected = np.mean([MLP.apply(params, obs) for params in (state.params, *copies[:-1])], axis=0)
    np.testing.assert_allclose(agent.values(None, state, obs), expected, rtol=1e-5)


@pytest.mark.parametrize("learners", [1, 2, K])
def test_so_many_members_learn_and_each_at_times(learners):
    agent = qjax.maxmin_dqn(MLP, ADAM, K, learners)
    state, learn = agent.init(KEY, batch().data.obs[0]), jax.jit(agent.learn)
    counts = np.zeros(K, int)
    for number in range(24):
        after, info = learn(jax.random.key(number), state, batch(number), TIME)
        drawn = moved(state, after)
        assert len(drawn) == learners and info["priority"].shape == (6,)
        counts[drawn] += 1
        state = after
    assert (counts > 24 * learners / K / 3).all()


def test_a_member_learns_as_it_would_alone_by_these_targets():
    agent, given = qjax.maxmin_dqn(MLP, optax.sgd(0.1, momentum=0.9), K), batch()
    state = scattered(agent.init(KEY, given.data.obs[0]))
    after, _ = agent.learn(KEY, state, given, TIME)
    (learned,) = moved(state, after)
    params = jax.tree.map(lambda x: x[learned], state.params)
    q = jax.vmap(lambda p: jax.vmap(lambda obs: MLP.apply(p, obs))(given.data.next_obs[0]))(state.target_params)
    y = given.data.reward[0] + given.data.discount[0] * q.min(0).max(-1)

    def loss(params):
        out = jax.vmap(lambda obs: MLP.apply(params, obs))(given.data.obs[0])
        return ((y - out[jnp.arange(6), given.data.action[0]]) ** 2).mean()

    expected = jax.tree.map(lambda x, g: x - 0.1 * g, params, jax.grad(loss)(params))
    found = jax.tree.map(lambda x: x[learned], after.params)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6), found, expected)


def test_maxmin_acts_on_the_least_and_copies_all_members():
    agent, obs = qjax.maxmin_dqn(MLP, ADAM, K, target=qjax.periodic(5)), batch().data.obs[0, 0]
    state = agent.init(KEY, batch().data.obs[0])
    each = [MLP.apply(jax.tree.map(lambda x, k=k: x[k], state.params), obs) for k in range(K)]
    assert len({float(q[0]) for q in each}) == K
    np.testing.assert_allclose(agent.values(None, state, obs), np.min(each, axis=0), rtol=1e-5)
    for number in range(4):
        state, _ = agent.learn(jax.random.key(number), state, batch(number), TIME)
    left, copied = (agent.sync(KEY, state, Time(steps, 0, 1)) for steps in (4, 5))
    jax.tree.map(np.testing.assert_array_equal, left.target_params, state.target_params)
    jax.tree.map(np.testing.assert_array_equal, copied.target_params, state.params)


def build(name, **options):
    def loop(_):
        env = qjax.make(probes.Countdown(box=True))
        net = qjax.MLP(2, (8,), **({} if "head" not in options else {"levels": 4}))
        make = {
            "averaged": partial(qjax.averaged_dqn, copies=K, target=qjax.periodic(20)),
            "maxmin": partial(qjax.maxmin_dqn, size=K),
        }
        agent = make[name](net, ADAM, **options)
        return qjax.make_loop(
            env, agent, qjax.epsilon_greedy(0.5), qjax.ring(64, 8), gamma=0.9, num_envs=2, warmup=8
        )

    return loop


@pytest.mark.parametrize("name", ["averaged", "maxmin"])
def test_a_run_goes_on_bit_for_bit(name, tmp_path, monkeypatch):
    monkeypatch.setattr(saving, "CHECKPOINT_SHARE", 0)
    monkeypatch.setattr(phases, "INNER_ITERATIONS", 7)
    options = {
        "seeds": 3,
        "steps": 400,
        "log_points": 2,
        "width": 2,
        "chunk_seconds": 1e-9,
        "checkpoint_every": 0.0,
    }

    def run(folder, after=None):
        with qjax.Run(folder, name, {}, resume=True) as run:
            return qjax.sweep(build(name), run=run, on_progress=victim.crashing(after), **options)

    whole = run(tmp_path / "whole")
    with pytest.raises(victim.Crash):
        run(tmp_path / "broken", after=4)
    again = run(tmp_path / "broken")
    for one, other in zip(victim.leaves(whole), victim.leaves(again), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", ["averaged", "maxmin"])
def test_with_implicit_quantiles_in_a_loop(name):
    """Levels are drawn, once for all members; priorities are their own."""
    loop = build(name, head=qjax.quantile())(None)
    lane = jax.jit(lambda key: loop.run(loop.init(key), qjax.clock.at(0), 30))(KEY)
    assert jnp.isfinite(lane.stats.sums["loss"].total) and jnp.isfinite(lane.stats.sums["q"].total)


# Overestimation ----------------------------------------------------------------------------------------------


def test_averaged_dqn_overestimates_less_than_dqn_and_maxmin_dqn_less_than_both():
    """The largest value of a state whose values are all -0.1."""
    args = overestimation.Arguments(seeds=32, steps=2_000)
    names = ("dqn", "averaged_dqn, 10 copies", "maxmin_dqn, 4 members")
    dqn, averaged, maxmin = (overestimation.bias(args, overestimation.AGENTS[name]) for name in names)
    spread = lambda x: x.std() / len(x) ** 0.5
    assert dqn.mean() > 0.3
    assert dqn.mean() - averaged.mean() > 2 * spread(dqn - averaged)
    assert averaged.mean() - maxmin.mean() > 4 * spread(averaged - maxmin)


# Bad input ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: qjax.maxmin_dqn(MLP, ADAM, 1), "size must be at least 2, got 1"),
        (lambda: qjax.maxmin_dqn(MLP, ADAM, 3, 4), "learners must be at most 3, got 4"),
        (lambda: qjax.averaged_dqn(MLP, ADAM, 0), "copies must be at least 1, got 0"),
        (
            lambda: qjax.averaged_dqn(MLP, ADAM, 3, target=qjax.polyak(0.1)),
            r"is copied, as by qjax.periodic\(500\)",
        ),
    ],
)
def test_sizes_that_do_not_fit_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
