"""Wrappers against slow ones in NumPy, over episodes with both kinds of endings; alone, and in pairs."""

import itertools
import math
from types import SimpleNamespace
from typing import NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from probes import Probe

import qjax
from qjax import wrappers
from qjax.types import Step

STEPS = 300
LIMIT = 8  # by which numbers are divided exactly
END = 10
ACTIONS = 3


class At(NamedTuple):
    where: jax.Array
    time: jax.Array


EACH = {
    "frame_stack": lambda env: wrappers.frame_stack(env, 2),
    "previous": wrappers.previous,
    "remaining_time": wrappers.remaining_time,
    "flatten": wrappers.flatten,
    "cast": lambda env: wrappers.cast(env, "float16"),
    "observe": lambda env: wrappers.observe(env, lambda obs: jax.tree.map(lambda x: x + 1, obs)),
    "reward_clip": lambda env: wrappers.reward_clip(env, 1),
    "sticky_actions": lambda env: wrappers.sticky_actions(env, 0.5),
    "repeat_action": lambda env: wrappers.repeat_action(env, 2),
    "time_limit": lambda env: wrappers.time_limit(env, 5),
    "random_starts": lambda env: wrappers.random_starts(env, 2, 16),
}


def line(legal=False, kind="vector", limit=LIMIT):
    """A walk that never says the same twice: ends at 10, is cut after 8 steps; rewards of both signs.

    Legal are the actions that do not lead beyond the end.
    """

    def see(at):
        where, time = at.where.astype(jnp.float32), at.time.astype(jnp.float32)
        if kind == "number":
            return at.where
        if kind == "image":
            return jnp.zeros((4, 4, 2), bool).at[at.where % 4, at.where // 4, at.time % 2].set(True)
        if kind == "dict":
            return {"at": jnp.stack([where, time]), "number": at.where, "even": at.where % 2 == 0}
        return jnp.stack([where, time, where - time / 2])

    def where_of(obs):
        if kind in ("number", "dict"):
            return obs if kind == "number" else obs["number"]
        return obs[0].astype(jnp.int32)

    def reset(key):
        at = At(jax.random.randint(key, (), 0, 4), jnp.int32(0))
        return see(at), at

    def step(key, at, action):
        after = At(at.where + action, at.time + 1)
        over = after.where >= END
        after = after._replace(where=jnp.minimum(after.where, END + 1))
        cut = after.time >= limit if limit else jnp.bool_(False)
        fresh, begun = reset(key)
        final = see(after)
        obs, kept = jax.tree.map(lambda x, y: jnp.where(over | cut, x, y), (fresh, begun), (final, after))
        reward = (after.where - 6).astype(jnp.float32) / 2
        return Step(obs, kept, reward, over, jnp.asarray(cut), final)

    spec = jax.eval_shape(lambda: see(At(jnp.int32(0), jnp.int32(0))))
    hot = {"number": lambda obs: jax.nn.one_hot(obs, 14)}
    if kind == "dict":
        hot["dict"] = lambda obs: {
            "at": obs["at"],
            "number": jax.nn.one_hot(obs["number"], 14),
            "even": obs["even"].astype(jnp.float32),
        }
    return qjax.Env(
        name="Line",
        reset=reset,
        step=step,
        encode=hot.get(kind, lambda obs: obs.astype(jnp.float32)),
        num_actions=ACTIONS,
        num_states=14 if kind == "number" else None,
        obs_spec=spec,
        max_steps=limit,
        unwrapped=None,
        params=None,
        rewards=(-3.0, 2.5),
        legal=(lambda obs: where_of(obs) + jnp.arange(ACTIONS) <= END) if legal else None,
    )


class Walked(NamedTuple):
    """A few hundred steps: `obs[t]` is acted on at step t."""

    obs: list
    actions: np.ndarray
    steps: Step


def walk(env, steps=STEPS, seed=0):
    """Act at random among the legal actions."""

    def one(carry, key):
        obs, state = carry
        act, key = jax.random.split(key)
        mask = jnp.ones(env.num_actions, bool) if env.legal is None else env.legal(obs)
        action = jax.random.categorical(act, jnp.where(mask, 0.0, -jnp.inf))
        made = env.step(key, state, action)
        return (made.obs, made.state), (obs, action, made)

    first, *keys = jax.random.split(jax.random.key(seed), 1 + steps)
    _, (obs, actions, made) = jax.jit(lambda first: jax.lax.scan(one, first, jnp.stack(keys)))(env.reset(first))
    assert jax.tree.structure(obs) == jax.tree.structure(env.obs_spec)
    assert jax.tree.map(lambda x: (x.shape[1:], x.dtype), obs) == jax.tree.map(
        lambda x: (x.shape, x.dtype), env.obs_spec
    )
    return Walked(rows(obs), np.asarray(actions), jax.tree.map(np.asarray, made))


def rows(tree):
    leaves, structure = jax.tree.flatten(jax.tree.map(np.asarray, tree))
    return [structure.unflatten([x[t] for x in leaves]) for t in range(len(leaves[0]))]


def same(one, other):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    jax.tree.map(np.testing.assert_array_equal, one, other)


def differ(one, other):
    return any((x != y).any() for x, y in zip(*map(jax.tree.leaves, (one, other)), strict=True))


def check_seen(env, made, start, then, **options):
    """Compare observations with slow ones: `start(obs)` of a first one, `then(history, obs)` of what came before.

    A history is the episode so far: observations of the environment itself, actions and rewards.
    """
    plain, found = walk(env, **options), walk(made, **options)
    same(plain.actions, found.actions)
    same(plain.steps.reward, found.steps.reward)
    finals, found_finals = rows(plain.steps.final_obs), rows(found.steps.final_obs)
    history = []
    for t in range(STEPS):
        if not history:
            history = [(plain.obs[t], -1, np.float32(0))]
            same(found.obs[t], start(plain.obs[t]))
        history.append((finals[t], plain.actions[t], plain.steps.reward[t]))
        same(found_finals[t], then(history))
        if plain.steps.terminated[t] or plain.steps.truncated[t]:
            history = []
        elif t + 1 < STEPS:
            same(found.obs[t + 1], found_finals[t])
    endings = plain.steps.terminated, plain.steps.truncated
    same((found.steps.terminated, found.steps.truncated), endings)
    assert endings[0].any() and (endings[1] & ~endings[0]).any() and (endings[0] & endings[1]).any()


# Observations ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["vector", "number", "image", "dict"])
def test_frame_stack(kind):
    env = line(kind=kind)
    made = wrappers.frame_stack(env, 3)

    def join(frames):
        return jax.tree.map(lambda *x: np.concatenate([np.atleast_1d(one) for one in x], -1), *frames)

    def then(history):
        seen = [obs for obs, _, _ in history]
        return join(([seen[0]] * 3 + seen)[-3:])

    check_seen(env, made, lambda obs: join([obs] * 3), then)
    stack = walk(made, steps=20).obs[9]
    width = jax.tree.map(lambda x: x.shape[-1] if x.shape else 1, env.obs_spec)
    frames = [
        jax.tree.map(lambda x, w, like: x[..., n * w : (n + 1) * w].reshape(like.shape), stack, width, env.obs_spec)  # noqa: B023
        for n in range(3)
    ]
    same(jax.tree.map(np.asarray, made.encode(stack)), join([env.encode(frame) for frame in frames]))
    same(made.original(stack), frames[-1])


def test_frame_stack_of_numbers_is_one_hot_by_frame():
    made = wrappers.frame_stack(line(kind="number"), 2)
    assert made.obs_spec.shape == (2,) and made.num_states is None
    features = made.encode(jnp.array([3, 5]))
    assert features.shape == (28,) and np.flatnonzero(features).tolist() == [3, 14 + 5]


def test_previous():
    env = line()
    made = wrappers.previous(env)

    def then(history):
        return wrappers.Previous(*history[-1])

    check_seen(env, made, lambda obs: wrappers.Previous(obs, np.int32(-1), np.float32(0)), then)
    first = made.encode(made.reset(jax.random.key(0))[0])
    assert first.action.tolist() == [0, 0, 0]
    assert made.encode(wrappers.Previous(jnp.zeros(3), jnp.int32(2), jnp.float32(1))).action.tolist() == [0, 0, 1]


def test_remaining_time():
    env = line()
    made = wrappers.remaining_time(env)

    def then(history):
        return wrappers.Timed(history[-1][0], np.float32(LIMIT + 1 - len(history)) / np.float32(LIMIT))

    check_seen(env, made, lambda obs: wrappers.Timed(obs, np.float32(1)), then)


@pytest.mark.parametrize(
    "change, slow",
    [
        (lambda env: wrappers.select(env, [2, 0]), lambda obs: obs[[2, 0]]),
        (lambda env: wrappers.select(env, [True, False, True]), lambda obs: obs[[0, 2]]),
        (lambda env: wrappers.cast(env, "int8"), lambda obs: obs.astype("int8")),
        (lambda env: wrappers.cast(env, bool), lambda obs: obs.astype(bool)),
        (wrappers.flatten, lambda obs: obs),
        (lambda env: wrappers.observe(env, lambda obs: 2 * obs), lambda obs: 2 * obs),
    ],
)
def test_what_is_seen_is_a_function_of_it(change, slow):
    env = line()
    check_seen(env, change(env), slow, lambda history: slow(history[-1][0]))


def test_parts_of_a_dict():
    env = line(kind="dict")
    check_seen(env, wrappers.select(env, "at"), lambda obs: obs["at"], lambda history: history[-1][0]["at"])
    both = wrappers.select(env, ["number", "even"])
    check_seen(
        env,
        both,
        lambda obs: {"number": obs["number"], "even": obs["even"]},
        lambda history: {name: history[-1][0][name] for name in ("number", "even")},
    )
    obs = both.reset(jax.random.key(0))[0]
    assert jax.tree.map(jnp.shape, both.encode(obs)) == {"number": (14,), "even": ()}
    assert wrappers.select(env, "number").encode(jnp.int32(3)).argmax() == 3


def test_flatten_encodes_what_it_did():
    env = line(kind="dict")
    made = wrappers.flatten(env)
    obs, flat = (each.reset(jax.random.key(5))[0] for each in (env, made))
    parts = jax.tree.leaves(env.encode(obs))
    np.testing.assert_array_equal(made.encode(flat), np.concatenate([np.ravel(x) for x in parts]))


def test_flatten_of_whole_numbers_alone_holds_them_and_what_is_legal():
    env = wrappers.select(line(kind="dict"), ["number", "even"])
    made = wrappers.flatten(env)
    obs, flat = (each.reset(jax.random.key(5))[0] for each in (env, made))
    assert flat.shape == (2,) and flat.dtype == jnp.int32
    parts = jax.tree.leaves(env.encode(obs))
    np.testing.assert_array_equal(made.encode(flat), np.concatenate([np.ravel(x) for x in parts]))
    images = line(legal=True, kind="number")
    made = wrappers.flatten(images)
    obs, flat = (each.reset(jax.random.key(5))[0] for each in (images, made))
    same(np.asarray(made.original(flat)), np.asarray(obs))
    same(np.asarray(made.legal(flat)), np.asarray(images.legal(obs)))


@pytest.mark.parametrize("legal", [False, True])
@pytest.mark.parametrize(
    "floats",
    [
        wrappers.flatten,
        lambda env: wrappers.cast(env, "float32"),
        lambda env: wrappers.flatten(wrappers.previous(env)),
        lambda env: wrappers.flatten(wrappers.frame_stack(wrappers.flatten(env), 2)),
    ],
)
def test_what_became_floats_is_normalised_as_it_is_encoded(floats, legal):
    """Statistics and what a network reads are those of the features, whatever their types were before."""
    seen, made = [], floats(line(legal, kind="dict"))

    def apply(params, obs):
        seen.append(obs)
        return jnp.zeros(ACTIONS)

    net = qjax.masked(qjax.encoded(SimpleNamespace(init=lambda key, obs: (), apply=apply), made.encode), made.legal)
    agent = qjax.normalized(qjax.dqn(net, optax.sgd(0.1)))
    walked = walk(made, steps=40)
    obs = jax.tree.map(lambda *x: jnp.stack(x)[:, None], *walked.obs)
    flat = jnp.zeros((40, 1))
    block = qjax.Transition(obs, flat.astype(jnp.int32), flat, flat, obs, flat > 0)
    state = agent.init(jax.random.key(0), jax.tree.map(lambda x: x[0], obs))
    seen.clear()
    state = agent.observe(state, block)
    agent.values(None, state, walked.obs[7])
    features = [np.stack(x) for x in zip(*(jax.tree.leaves(made.encode(obs)) for obs in walked.obs), strict=True)]
    for found, x in zip(jax.tree.leaves(seen[0]), features, strict=True):
        expected = (x[7] - x.mean(0)) / np.sqrt(x.var(0) + 1e-8)
        np.testing.assert_allclose(found, np.clip(expected, -10, 10), rtol=1e-3, atol=1e-3)


def test_cast_encodes_what_it_did():
    env = line(kind="image")
    made = wrappers.cast(env, "uint8")
    obs = made.reset(jax.random.key(1))[0]
    assert obs.dtype == jnp.uint8
    np.testing.assert_array_equal(made.encode(obs), env.encode(env.reset(jax.random.key(1))[0]))
    assert wrappers.cast(line(kind="number"), "uint8").num_states == 14


def test_discretise():
    env = line()
    bins, low, high = (4, 3, 5), (0, 0.5, -3), (12, 6, 12)
    made = wrappers.discretise(env, bins, low, high)

    def slow(obs):
        at = [
            np.digitize(x, np.linspace(a, b, n + 1, dtype=np.float32)[1:-1])
            for x, n, a, b in zip(obs, bins, low, high, strict=True)
        ]
        return np.int32(np.ravel_multi_index(at, bins))

    check_seen(env, made, slow, lambda history: slow(history[-1][0]))
    assert made.num_states == 60
    assert made.encode(jnp.int32(59)).shape == (60,)


def test_a_table_learns_on_bins():
    env = wrappers.discretise(qjax.make("CartPole-v1"), [3, 3, 6, 6], [-2.4, -3, -0.2, -3], [2.4, 3, 0.2, 3])
    loop = qjax.algorithms.make("q-learning", env)
    lane = jax.jit(lambda lane: loop.run(lane, qjax.clock.at(0), 50))(loop.init(jax.random.key(0)))
    table = lane.agent
    assert table.shape == (324, 2) and (table != 0).any()


# Rewards --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change, slow, ends",
    [
        (lambda env: wrappers.reward_scale(env, -2), lambda r: -2 * r, (-5, 6)),
        (lambda env: wrappers.reward_clip(env, 1), lambda r: np.clip(r, -1, 1), (-1, 1)),
        (wrappers.reward_sign, np.sign, (-1, 1)),
        (lambda env: wrappers.reward(env, jnp.exp, monotone=True), np.exp, tuple(np.exp(np.float32([-3, 2.5])))),
        (lambda env: wrappers.reward(env, lambda r: r**2), lambda r: r**2, None),
    ],
)
def test_rewards(change, slow, ends):
    env = line()
    plain, found = walk(env), walk(change(env))
    np.testing.assert_allclose(found.steps.reward, slow(plain.steps.reward), rtol=1e-6)
    same(found.steps._replace(reward=0, state=0), plain.steps._replace(reward=0, state=0))
    assert change(env).rewards is None if ends is None else change(env).rewards == pytest.approx(ends)


def test_a_factor_may_be_traced():
    env = qjax.make("CartPole-v1")

    @jax.jit
    def paid(factor):
        made = wrappers.reward_scale(env, factor)
        assert made.name == "CartPole-v1 reward_scale"
        return made.step(jax.random.key(0), made.reset(jax.random.key(0))[1], 0).reward, made.rewards

    reward, (least, largest) = paid(3.0)
    assert (reward, least, largest) == (3, 0, 3)


# Actions --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("legal", [False, True])
def test_sticky_actions(legal):
    """What was executed is read off where it led."""
    found = walk(wrappers.sticky_actions(line(legal), 0.4), steps=3_000)
    before = np.array([obs[0] for obs in found.obs])
    executed = found.steps.final_obs[:, 0] - before
    ended = found.steps.terminated | found.steps.truncated
    last = executed[:-1]
    may = ~ended[:-1]
    if legal:
        may &= before[1:] + last <= END
        assert (before + executed <= END).all()
    else:
        may &= before[1:] < END
    wanted, done = found.actions[1:], executed[1:]
    assert (done[~may] == wanted[~may]).all()
    assert ((done == wanted) | (done == last)).all()
    told = may & (wanted != last)
    assert abs((done[told] == last[told]).mean() - 0.4) < 4 * math.sqrt(0.24 / told.sum())


def test_an_action_that_always_sticks_does_so_until_its_episode_ends():
    found = walk(wrappers.sticky_actions(line(), 1.0))
    executed = found.steps.final_obs[:, 0] - np.array([obs[0] for obs in found.obs])
    begins, last = True, None
    for t in range(STEPS):
        last = found.actions[t] if begins else last
        assert executed[t] == last
        begins = found.steps.terminated[t] | found.steps.truncated[t]
    assert found.steps.truncated.any() and (executed != found.actions).any()


@pytest.mark.parametrize("legal", [False, True])
def test_repeat_action(legal):
    times, env = 3, line(legal)
    made = wrappers.repeat_action(env, times)
    found = walk(made)
    obs, steps = found.obs, found.steps
    for t in range(STEPS):
        (where, time), total = obs[t][:2], 0.0
        for _ in range(times):
            where, time = where + found.actions[t], time + 1
            total += (min(where, END + 1) - 6) / 2
            if where >= END or time >= LIMIT or (legal and where + found.actions[t] > END):
                break
        assert steps.reward[t] == total
        assert (steps.terminated[t], steps.truncated[t]) == (where >= END, time >= LIMIT)
        np.testing.assert_array_equal(steps.final_obs[t][:2], [min(where, END + 1), time])
    assert made.max_steps == (LIMIT if legal else 3)
    assert made.rewards == (-9, 7.5)


# Episodes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [None, LIMIT])
def test_time_limit(limit):
    made = wrappers.time_limit(line(limit=limit), 5)
    assert made.max_steps == 5
    found = walk(made)
    time = np.array([obs[1] for obs in found.obs])
    same(found.steps.truncated, time + 1 >= 5)
    same(found.steps.terminated, found.steps.final_obs[:, 0] >= END)
    assert found.steps.truncated.any() and found.steps.terminated.any()
    ended = (found.steps.truncated | found.steps.terminated)[:-1]
    assert (time[1:][ended] == 0).all() and (time[1:][~ended] > 0).all()


def test_a_longer_limit_changes_nothing():
    env = line()
    made = wrappers.time_limit(env, 50)
    assert made.max_steps == LIMIT
    assert (walk(made).steps.truncated == (walk(made).steps.final_obs[:, 1] >= LIMIT)).all()


@pytest.mark.parametrize("legal", [False, True])
def test_random_starts(legal):
    made = wrappers.random_starts(line(legal), 3, 40)
    found = walk(made, steps=2_000)
    ended = np.flatnonzero((found.steps.terminated | found.steps.truncated)[:-1])
    starts = {tuple(found.obs[t + 1].tolist()) for t in ended}
    assert 5 < len(starts) <= 40
    assert {time for _, time, _ in starts} == {0, 1, 2, 3}
    again = jax.vmap(made.reset)(jax.random.split(jax.random.key(1), 2_000))[0]
    assert starts == {tuple(x.tolist()) for x in again}


def test_random_starts_have_one_limit_which_is_shorter():
    """A cut that came sooner in some episodes than in others would be no one's time limit."""
    made = wrappers.random_starts(line(), 3, 40)
    assert (made.max_steps, made.wrappers) == (LIMIT - 3, ("random_starts=3,40",))
    found = walk(wrappers.remaining_time(made), steps=500)
    ends = np.flatnonzero(found.steps.terminated | found.steps.truncated)
    cut = found.steps.truncated[ends] & ~found.steps.terminated[ends]
    assert set(np.diff(ends, prepend=-1)[cut]) == {LIMIT - 3}
    assert set(np.asarray(found.steps.final_obs.remaining)[ends][cut]) == {0.0}


@pytest.mark.parametrize("name", EACH)
def test_each_keeps_what_an_environment_promises(name):
    report = qjax.check_env(EACH[name](line()), steps=100)
    assert report.errors == ()


def test_no_random_steps_are_a_pool_of_first_states():
    made = wrappers.random_starts(qjax.make("CartPole-v1"), 0, 8)
    first = jax.vmap(made.reset)(jax.random.split(jax.random.key(1), 200))[0]
    assert len(np.unique(np.asarray(first), axis=0)) == 8
    assert abs(np.asarray(first)).max() <= 0.05


def test_a_pool_keeps_no_keys():
    def reset(key):
        return jnp.zeros(1), {"key": key}

    def step(key, state, action):
        return Step(jnp.ones(1), state, jnp.float32(0), jnp.bool_(True), jnp.bool_(False), jnp.ones(1))

    env = line()._replace(reset=reset, step=step, obs_spec=jax.ShapeDtypeStruct((1,), jnp.float32))
    made = wrappers.random_starts(env, 1, 4)
    keys = [made.reset(jax.random.key(n))[1].env["key"] for n in range(6)]
    assert len({tuple(jax.random.key_data(key).tolist()) for key in keys}) == 6


# Together -------------------------------------------------------------------------------------------------------

NAMES = list(EACH)
NEXT = {pair for a, b in zip(NAMES, NAMES[1:] + NAMES[:1], strict=True) for pair in ((a, b), (b, a))}
PAIRS = [
    pytest.param(*pair, id="-".join(pair), marks=[] if pair in NEXT else pytest.mark.slow)
    for pair in itertools.permutations(EACH, 2)
]


@pytest.mark.parametrize("first, second", PAIRS)
def test_pairs(first, second):
    """Shapes, endings, limits, ranges and legal actions are kept, whatever the order."""
    legal = first < second
    env = EACH[second](EACH[first](line(legal)))
    assert env.name == " ".join(("Line", *env.wrappers))
    assert [word.partition("=")[0] for word in env.wrappers] == [first, second]
    found = walk(env, steps=240)
    ended, finals = found.steps.terminated | found.steps.truncated, rows(found.steps.final_obs)
    assert found.steps.terminated.any() and (found.steps.truncated & ~found.steps.terminated).any()
    for t in range(239):
        if not ended[t]:
            same(found.obs[t + 1], finals[t])
    begun = [differ(found.obs[t + 1], finals[t]) for t in np.flatnonzero(ended[:-1])]
    # An episode that starts in the middle of another may do so where the last one was cut.
    assert any(begun) if "random_starts" in (first, second) else all(begun)
    assert np.diff(np.flatnonzero(ended), prepend=-1).max() <= env.max_steps
    least, largest = env.rewards
    assert least <= found.steps.reward.min() and found.steps.reward.max() <= largest
    features = [jax.tree.map(np.asarray, env.encode(x)) for x in found.obs[:3]]
    assert all(np.isfinite(x).all() for one in features for x in jax.tree.leaves(one))
    if legal:
        masks = np.array([env.legal(x) for x in found.obs])
        assert masks.any(1).all() and not masks.all()
        assert masks[np.arange(240), found.actions].all()


def test_a_loop_learns_in_all_of_them():
    env = line(legal=True)
    for change in EACH.values():
        env = change(env)
    config = qjax.algorithms.DQN(steps=400, warmup=40, num_envs=2, hidden=(8,))
    loop = qjax.algorithms.make("dqn", env, config)
    lane = jax.jit(lambda lane: loop.run(lane, qjax.clock.at(0), loop.sync_every))(loop.init(jax.random.key(0)))
    assert lane.episodes > 0 and lane.stats.diverged_at == 0


def test_a_mask_is_kept_beside_what_no_longer_shows_it():
    env = line(legal=True)
    made = wrappers.frame_stack(wrappers.select(wrappers.select(env, [1, 2]), [0]), 2)
    plain, found = walk(env), walk(made)
    same(found.actions, plain.actions)
    same(np.array([made.legal(x) for x in found.obs]), np.array([env.legal(x) for x in plain.obs]))
    assert made.obs_spec.obs.shape == (2,) and made.encode(found.obs[0]).shape == (2,)


# What is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call, said",
    [
        (lambda env: wrappers.frame_stack(env, 0), "size must be at least 1, got 0"),
        (lambda env: wrappers.select(env, [3]), "different numbers from 0 to 2, got"),
        (lambda env: wrappers.select(env, [0, 0]), "different numbers from 0 to 2, got"),
        (lambda env: wrappers.select(env, "at"), "which are numbers, got"),
        (lambda env: wrappers.select(line(kind="dict"), "att"), "did you mean at"),
        (lambda env: wrappers.select(line(kind="number"), 0), "has no parts"),
        (lambda env: wrappers.select(wrappers.frame_stack(line(kind="number"), 2), 0), "select its parts before"),
        (lambda env: wrappers.cast(env, "uint128"), "must be one of real numbers"),
        (lambda env: wrappers.cast(env, complex), "must be one of real numbers"),
        (lambda env: wrappers.discretise(env, 0, 0, 1), "must be at least 1, got 0"),
        (lambda env: wrappers.discretise(env, 5, 1, 0), "low must be below high"),
        (lambda env: wrappers.discretise(env, [5, 5], 0, 1), "one number or 3"),
        (lambda env: wrappers.discretise(env, 10_000, 0, 1), "1,000,000,000,000 states"),
        (lambda env: wrappers.discretise(line(kind="dict"), 5, 0, 1), "flatten before"),
        (lambda env: wrappers.discretise(line(legal=True), 5, 0, 1), "has illegal actions"),
        (lambda env: wrappers.observe(env, lambda obs: None), "at least one array"),
        (lambda env: wrappers.observe(env, lambda obs: obs @ jnp.ones((2, 2))), "fails on float32"),
        (lambda env: wrappers.observe(env, lambda obs: obs[:2], inverse=lambda obs: obs), "the inverse gives"),
        (lambda env: wrappers.reward(env, lambda r: jnp.stack([r, r])), "a number of shape () is needed"),
        (lambda env: wrappers.reward_clip(env, 0), "must lie in (0, inf)"),
        (lambda env: wrappers.reward_scale(env, np.nan), "got nan"),
        (lambda env: wrappers.sticky_actions(env, 1.5), "must lie in [0, 1], got 1.5"),
        (lambda env: wrappers.repeat_action(env, 0), "times must be at least 1"),
        (lambda env: wrappers.time_limit(env, 0), "must lie in [1,"),
        (lambda env: wrappers.remaining_time(line(limit=None)), "time_limit gives it one"),
        (lambda env: wrappers.random_starts(env, -1), "most must be at least 0"),
        (lambda env: wrappers.random_starts(env, 1, 0), "pool must be at least 1"),
        (lambda env: wrappers.random_starts(env, LIMIT), "below the time limit of Line, 8 steps, got 8"),
        (lambda env: wrappers.observe(env, lambda obs: obs, num_states=4), "from 0 to 3, not float32[3]"),
    ],
)  # fmt: skip
def test_what_is_refused(call, said):
    with pytest.raises((TypeError, ValueError)) as caught:
        call(line())
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_a_wrapper_that_changes_one_observation_of_two_is_told():
    env = line()

    def step(key, state, action):
        made = env.step(key, state, action)
        return made._replace(obs=made.obs[:2])

    wrong = env._replace(step=step)
    with pytest.raises(TypeError, match=r"obs float32\[2\] and final_obs float32\[3\]; a wrapper of"):
        qjax.algorithms.make("dqn", wrong).init(jax.random.key(0))


# Continuous actions ---------------------------------------------------------------------------------------------


def test_actions_are_cut_into_bins():
    env = qjax.make("Pendulum-v1", action_bins=5)
    inner = env.unwrapped
    assert env.num_actions == 5
    key = jax.random.key(0)
    _, state = env.reset(key)
    for action, torque in enumerate([-2, -1, 0, 1, 2]):
        found, wanted = env.step(key, state, action), inner.step(key, state, jnp.float32([torque]), env.params)
        np.testing.assert_allclose(found.final_obs, wanted[5]["final_observation"], rtol=1e-6)
        np.testing.assert_allclose(found.reward, wanted[2], rtol=1e-6)


def test_several_dimensions_are_counted_through():
    env = qjax.make("Reacher-misc", action_bins=(2, 3))
    space = env.unwrapped.action_space(env.params)
    assert env.num_actions == 6
    key = jax.random.key(0)
    _, state = env.reset(key)
    for action in range(6):
        at = np.unravel_index(action, (2, 3))
        ends = np.broadcast_to(space.low, 2), np.broadcast_to(space.high, 2)
        torque = [np.linspace(ends[0][i], ends[1][i], n, dtype=np.float32)[at[i]] for i, n in enumerate((2, 3))]
        wanted = env.unwrapped.step(key, state, jnp.stack(torque), env.params)
        np.testing.assert_allclose(env.step(key, state, action).reward, wanted[2], rtol=1e-5)


@pytest.mark.parametrize(
    "call, said",
    [
        (lambda: qjax.make("Pendulum-v1"), "give action_bins=5"),
        (lambda: qjax.make("CartPole-v1", action_bins=3), "has 2 discrete actions"),
        (lambda: qjax.make("Pendulum-v1", action_bins=1), "must be at least 2, got 1"),
        (lambda: qjax.make("Reacher-misc", action_bins=101), "101 x 101 = 10,201 actions"),
        (lambda: qjax.make("Reacher-misc", action_bins=(2, 2, 2)), "2, one for each dimension"),
        (lambda: qjax.make("Pendulum-v1", action_bins="many"), "must be an array of numbers"),
    ],
)
def test_bins_that_are_refused(call, said):
    with pytest.raises((TypeError, ValueError)) as caught:
        call()
    assert said in str(caught.value)


def test_an_action_outside_the_range_is_told():
    env = qjax.make("CartPole-v1")
    with pytest.raises(ValueError, match=r"an action of CartPole-v1 must lie in \[0, 2\), got 2"):
        env.step(jax.random.key(0), env.reset(jax.random.key(0))[1], 2)


@pytest.mark.parametrize(
    "env",
    [
        qjax.make("CartPole-v1"),
        qjax.make("FrozenLake-v1"),
        qjax.make("Pendulum-v1", action_bins=3),
        wrappers.sticky_actions(wrappers.frame_stack(qjax.make("CartPole-v1"), 2), 0.5),
    ],
    ids=["box", "states", "bins", "wrapped"],
)
def test_an_action_is_one_whole_number(env):
    key = jax.random.key(0)
    state = env.reset(key)[1]
    for action in (1, np.int64(1), jnp.int32(1)):
        env.step(key, state, action)
    for action in (1.0, True, np.float32(1), jnp.float32(1), [1], jnp.ones(2, jnp.int32), None, "1"):
        with pytest.raises(TypeError, match="must be a whole number, got"):
            env.step(key, state, action)
    for action in (-1, env.num_actions):
        with pytest.raises(ValueError, match=r"must lie in \[0, "):
            env.step(key, state, action)
    with pytest.raises(TypeError, match="must be a whole number, got"):
        jax.eval_shape(env.step, key, state, jnp.float32(1))


def test_objects_of_the_old_interface_are_cut_too():
    class Old(Probe):
        limit = 3

        def step_env(self, key, state, action, params):
            after = state._replace(time=state.time + 1)
            return self.observe(0), after, action.sum(), after.time >= params.max_steps_in_episode, {}

        def step(self, key, state, action, params):
            return self.step_env(key, state, action, params)

        def action_space(self, params):
            from gymnax.environments import spaces

            return spaces.Box(-1.0, 1.0, (2,))

    env = qjax.make(Old(box=True), action_bins=2)
    _, state = env.reset(jax.random.key(0))
    assert [float(env.step(jax.random.key(0), state, n).reward) for n in range(4)] == [-2, 0, 0, 2]


@pytest.mark.parametrize(
    ("space", "said"),
    [
        (gymnasium.spaces.MultiDiscrete([2, 3]), r"MultiDiscrete .* of several numbers; .*ravel_multi_index"),
        (gymnasium.spaces.Discrete(2, start=3), "actions that begin at 3; qjax's begin at 0"),
    ],
)
def test_actions_that_are_no_number_from_0_are_refused(space, said):
    env = Probe()
    env.action_space = lambda params: space
    with pytest.raises(ValueError, match=said):
        qjax.make(env)
