"""Suites of environments, held against the suites stepped by hand; and the base and refusals, without any of them.

Each suite's part runs where the suite is installed: `pip install 'qjax-rl[navix,xminigrid,pgx,jumanji,craftax]'`.
"""

import sys
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import struct
from gymnax.environments import environment, spaces

import qjax
from qjax.envs import interface
from qjax.envs.suites import names
from qjax.envs.suites.base import Suite, SuiteParams
from qjax.envs.suites.jumanji import joint

KEY = jax.random.key(0)


# The base -------------------------------------------------------------------------------------------------------


class Walk(Suite):
    """Action 1 walks right, from 0 or 100 or so to a goal four steps on; the observation says where it is."""

    num_actions = 2

    def __init__(self, limit=None):
        self.name, self.limit = "fake:Walk", limit

    def first(self, key):
        start = 100 * jax.random.randint(key, (), 0, 10_000)
        return jnp.float32(start)[None], {"start": start, "place": start, "key": jax.random.fold_in(key, 1)}

    def advance(self, key, state, action):
        place = state["place"] + action
        state = {**state, "place": place, "key": key}
        return jnp.float32(place)[None], state, action, place == state["start"] + 4


def rollout(env, actions, key=KEY):
    """Return the steps of these actions, and the first observation."""
    obs, state = env.reset(key)

    def one(state, at):
        step = env.step(jax.random.fold_in(key, at[0]), state, at[1])
        return step.state, step

    actions = jnp.asarray(actions, jnp.int32)
    return obs, jax.jit(lambda s: jax.lax.scan(one, s, (jnp.arange(len(actions)), actions))[1])(state)


@pytest.mark.parametrize(
    ("limit", "actions", "terminated", "truncated"),
    [
        (None, [1, 1, 1, 1, 0], [0, 0, 0, 1, 0], [0] * 5),
        (3, [1, 1, 1, 1, 1, 1], [0] * 6, [0, 0, 1, 0, 0, 1]),
        (4, [1, 1, 1, 1, 0], [0, 0, 0, 1, 0], [0, 0, 0, 1, 0]),  # both at once: both are told, as gymnasium does
        (4, [1, 1, 0, 1, 0], [0] * 5, [0, 0, 0, 1, 0]),
    ],
)
def test_the_base_counts_cuts_resets_and_keeps_the_true_successor(limit, actions, terminated, truncated):
    first, steps = rollout(qjax.make(Walk(limit)), actions)
    assert steps.terminated.tolist() == [bool(x) for x in terminated]
    assert steps.truncated.tolist() == [bool(x) for x in truncated]
    place, episode = first, 0
    for i, action in enumerate(actions):
        place = place + action
        assert steps.final_obs[i] == place and steps.reward[i] == action
        if terminated[i] or truncated[i]:
            assert steps.obs[i] % 100 == 0 and steps.obs[i] != first  # another episode's first observation
            assert int(steps.state.time[i]) == 0
            place, episode = steps.obs[i], episode + 1
        else:
            assert steps.obs[i] == place
    assert episode == sum(map(max, zip(terminated, truncated, strict=True)))


def test_a_limit_has_both_names_and_may_be_swept():
    assert qjax.make(Walk(7)).max_steps == 7
    assert qjax.make(Walk(7), max_episode_steps=3).max_steps == 3
    assert qjax.make(Walk(7), max_episode_steps=-1).max_steps is None
    assert qjax.make(Walk(7), SuiteParams(2)).max_steps == 2

    def cut(limit):
        return rollout(qjax.make(Walk(), max_steps_in_episode=limit), [0] * 6)[1].truncated

    found = jax.vmap(cut)(jnp.array([2, 5]))
    assert found.sum(1).tolist() == [3, 1] and found[1, 4]
    for limit in (0, 1.5, "7"):
        with pytest.raises((TypeError, ValueError), match="max_steps_in_episode"):
            qjax.make(Walk(), max_steps_in_episode=limit)


@pytest.mark.parametrize("key", [KEY, qjax.fast_key(0)], ids=["threefry", "fast"])
def test_a_pool_has_so_many_first_states(key):
    env = Walk(limit=1)
    env.gather(3)
    again = Walk(limit=1)
    again.gather(3)
    assert env.pool[0].tolist() == again.pool[0].tolist()  # the same in every process
    first, steps = rollout(qjax.make(env), [0] * 50, key)
    assert {first.item(), *steps.obs[:, 0].tolist()} == set(env.pool[0][:, 0].tolist())
    # A key in a state is the episode's own, of the kind that the run has.
    made = qjax.make(env)
    keys = jax.vmap(lambda k: made.reset(k)[1].inner["key"])(jax.random.split(key, 20))
    assert keys.dtype == key.dtype and len(np.unique(jax.random.key_data(keys), axis=0)) == 20


def test_masks_of_actions_of_several_parts():
    whole = np.random.default_rng(0).random((3, 4)) < 0.5
    assert joint(jnp.asarray(whole), (3, 4)).tolist() == whole.ravel().tolist()
    each = np.array([[1, 0, 1, 1], [0, 1, 1, 0]], bool)
    wanted = [each[0, i] & each[1, j] for i in range(4) for j in range(4)]
    assert joint(jnp.asarray(each), (4, 4)).tolist() == wanted
    assert joint(jnp.asarray(each[0]), (4,)).tolist() == each[0].tolist()


# Names and refusals ----------------------------------------------------------------------------------------------


class Fake(Walk):
    """In the place of an adapter: its suite has two names, and a task of so many steps."""

    built = 0

    @staticmethod
    def ids():
        return ["Walk-v0", "Run-v0"]

    @staticmethod
    def build(name, *, steps=10, other=()):
        Fake.built += 1
        return int(jnp.int32(steps) + 0)  # concrete, wherever it is made

    def __init__(self, name, built):
        super().__init__(built)
        self.name = name


@pytest.fixture
def fake(monkeypatch):
    monkeypatch.setitem(names.SUITES, "fake", names.Entry("Walk-v0", "walks"))
    monkeypatch.setattr(names, "adapter", lambda name: Fake)
    names._kept.cache_clear()


def test_arguments_go_to_the_suite_and_the_limit_to_the_base(fake):
    env = qjax.make("fake:Walk-v0", steps=20)
    assert (env.name, env.max_steps, env.num_actions, env.obs_spec.shape) == ("fake:Walk-v0", 20, 2, (1,))
    assert qjax.make("fake:Walk-v0", steps=20, max_episode_steps=5).max_steps == 5
    assert env.unwrapped.pool is None and len(qjax.make("fake:Walk-v0", pool=4).unwrapped.pool[0]) == 4
    for wrong in (0, 1.5, "4"):
        with pytest.raises((TypeError, ValueError), match="pool"):
            qjax.make("fake:Walk-v0", pool=wrong)
    with pytest.raises(TypeError, match=r"fake:Walk-v0 cannot be made with color=3: TypeError: .*'color'"):
        qjax.make("fake:Walk-v0", color=3)


def test_a_suites_environment_is_made_once(fake):
    before = Fake.built
    limits = jax.jit(jax.vmap(lambda x: qjax.make("fake:Walk-v0", max_episode_steps=x).max_steps))(
        jnp.array([3, 4])
    )
    assert limits.tolist() == [3, 4]
    assert qjax.make("fake:Walk-v0").max_steps == 10  # made while that was traced, and concrete
    assert Fake.built == before + 1
    assert qjax.make("fake:Walk-v0", other=[]).max_steps == 10  # what cannot be looked up is made anew
    assert Fake.built == before + 2


def test_unknown_names_are_told_the_nearest(fake):
    with pytest.raises(ValueError, match=r"fake has no environment 'Wlak-v0'; did you mean Walk-v0\?"):
        qjax.make("fake:Wlak-v0")
    with pytest.raises(ValueError, match=r"fake has no environment 'x'; there are Walk-v0, Run-v0"):
        qjax.make("fake:x")


def test_unknown_suites():
    with pytest.raises(ValueError, match=r"no suite 'nvix' of environments; did you mean navix\?"):
        qjax.make("nvix:Navix-Empty-5x5-v0")


@pytest.mark.parametrize("prefix", names.SUITES)
def test_a_suite_that_is_not_installed_names_its_extra(monkeypatch, prefix):
    monkeypatch.setattr(names, "find_spec", lambda name: None)
    monkeypatch.setattr(sys, "version_info", (3, 13, 0))
    names._kept.cache_clear()
    told = rf"^{prefix}:x needs {prefix}: pip install 'qjax-rl\[{prefix}\]'$"
    with pytest.raises(ImportError, match=told):
        qjax.make(f"{prefix}:x")


def test_a_python_that_is_too_old(monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 11, 7))
    names._kept.cache_clear()
    with pytest.raises(ImportError, match=r"^navix needs Python 3\.12 or newer; this is 3\.11$"):
        qjax.make("navix:Navix-Empty-5x5-v0")


def test_stable_gymnax_is_explained(monkeypatch):
    from gymnax.environments.environment import Environment

    def found(name):
        assert name == "stable-gymnax"
        return "0.0.1"

    monkeypatch.setattr(interface, "version", found)
    assert qjax.make("CartPole-v1").num_actions == 2  # gymnax has been installed again since
    monkeypatch.delattr(Environment, "is_truncated")
    with pytest.raises(
        ImportError, match=r"stable-gymnax, which popgym-arcade brings, has overwritten gymnax.*pip"
    ):
        qjax.make("CartPole-v1")


# Gymnax's old five values ----------------------------------------------------------------------------------------


@struct.dataclass
class OldParams:
    goal: int = 4
    max_steps_in_episode: int = 6


class OldState(NamedTuple):
    place: jax.Array
    time: jax.Array


class Old:
    """Walks with action 1 to a goal; written for gymnax before 1.0, whose `done` has the time limit in it."""

    default_params = OldParams()

    def step(self, key, state, action, params):
        step_key, reset_key = jax.random.split(key)
        obs, after, reward, done, info = self.step_env(step_key, state, action, params)
        fresh = self.reset_env(reset_key, params)
        obs, after = jax.tree.map(lambda new, old: jnp.where(done, new, old), fresh, (obs, after))
        return obs, after, reward, done, info

    def reset(self, key, params):
        return self.reset_env(key, params)

    def step_env(self, key, state, action, params):
        state = OldState(state.place + action, state.time + 1)
        done = self.is_terminal(state, params)
        return jnp.float32(state.place)[None], state, jnp.float32(action), done, {"discount": 1.0 - done}

    def reset_env(self, key, params):
        return jnp.zeros(1), OldState(jnp.int32(0), jnp.int32(0))

    def is_terminal(self, state, params):
        return (state.place >= params.goal) | (state.time >= params.max_steps_in_episode)

    def action_space(self, params):
        return spaces.Discrete(2)

    def observation_space(self, params):
        return spaces.Box(0, 10, (1,))


class OldOfGymnax(environment.Environment):
    """The same as a class of gymnax's: of 1.0 it inherits a step to which `done` is a termination."""

    default_params = OldParams()
    reset_env, action_space, observation_space = Old.reset_env, Old.action_space, Old.observation_space
    is_terminal = Old.is_terminal

    def step_env(self, key, state, action, params):
        obs, state, reward, done, _ = Old.step_env(self, key, state, action, params)
        return obs, state, reward, done, {"discount": self.discount(state, params)}


@pytest.mark.parametrize("cls", [Old, OldOfGymnax])
def test_old_steps_are_told_apart_by_the_limit(cls):
    env = qjax.make(cls(), goal=4)
    assert (env.max_steps, env.num_actions, type(env.unwrapped)) == (6, 2, cls)
    # To the goal; to the limit; to the goal with the last step, which is a termination.
    actions = [1, 1, 1, 1, *[0] * 6, 0, 0, 1, 1, 1, 1]
    _, steps = rollout(env, actions)
    assert np.flatnonzero(steps.terminated).tolist() == [3, 15]
    assert np.flatnonzero(steps.truncated).tolist() == [9]
    assert steps.final_obs[:, 0].tolist() == [1, 2, 3, 4, *[0] * 6, 0, 0, 1, 2, 3, 4]
    assert steps.obs[[3, 9, 15], 0].tolist() == [0, 0, 0]
    endless = qjax.make(cls(), max_episode_steps=-1)
    assert not rollout(endless, [0] * 20)[1].truncated.any()


def test_old_steps_without_a_limit_terminate():
    class Endless(Old):
        default_params = None

        def is_terminal(self, state, params):
            return state.place >= 2

    _, steps = rollout(qjax.make(Endless()), [1, 1, 0, 1, 1])
    assert steps.terminated.tolist() == [False, True, False, False, True] and not steps.truncated.any()


def test_old_steps_without_a_true_successor_are_refused():
    class Wrapped:
        """As wrappers do it: the `step_env` of what it wraps gives the observations of that."""

        def __init__(self, env):
            self.env = env

        def __getattr__(self, name):
            return getattr(self.env, name)

        def step(self, key, state, action, params):
            obs, *rest = self.env.step(key, state, action, params)
            return (obs * 2, *rest)

    with pytest.raises(TypeError, match=r"returned 5 values; .* the class has a step_env of its own"):
        qjax.make(Wrapped(Old()))


# Against the suites, stepped by hand -----------------------------------------------------------------------------


def by_hand(first, advance, num_actions, count=1000):
    """Return what a suite gives for random actions, episode after episode, with the keys that the base spends.

    `advance` returns `(obs, state, reward, terminated, truncated)`, the last two as the suite says them.
    """
    first, advance = jax.jit(first), jax.jit(advance)
    actions = np.random.default_rng(0).integers(num_actions, size=count)
    (obs, state), rows = first(KEY), []
    for i, action in enumerate(actions):
        step_key, reset_key = jax.random.split(jax.random.fold_in(KEY, i))
        final, state, reward, terminated, truncated = advance(step_key, state, jnp.int32(action))
        if terminated | truncated:
            obs, state = first(reset_key)
        else:
            obs = final
        rows.append((obs, final, float(reward), bool(terminated), bool(truncated)))
    return actions, rows


def row(tree, i):
    return jax.tree.map(lambda x: x[i], tree)


def differ(one, other):
    """Return whether two observations of the same structure differ."""
    return not all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True))


def assert_alike(env, first, advance):
    """Check 1,000 random steps; return how many episodes terminated, and how many were cut."""
    actions, rows = by_hand(first, advance, env.num_actions)
    obs, steps = rollout(env, actions)
    assert not differ(obs, jax.jit(first)(KEY)[0])
    steps = jax.device_get(steps)
    ends = np.flatnonzero(steps.terminated | steps.truncated)
    for i, (obs, final, reward, terminated, truncated) in enumerate(rows):
        assert not differ(row(steps.obs, i), obs), i
        assert not differ(row(steps.final_obs, i), final), i
        assert (steps.reward[i], steps.terminated[i]) == (np.float32(reward), terminated), i
        assert steps.truncated[i] | terminated == truncated | terminated, i  # suites tell one of both at once
    assert len(ends) and any(differ(row(steps.obs, i), row(steps.final_obs, i)) for i in ends)
    lengths = np.diff(ends, prepend=-1)
    assert env.max_steps is None or (lengths[~steps.terminated[ends]] == env.max_steps).all()
    return steps.terminated.sum(), (steps.truncated & ~steps.terminated).sum()


def test_navix():
    navix = pytest.importorskip("navix", reason="the extra navix is not installed (Python 3.12)")
    inner = navix.make("Navix-Empty-5x5-v0", max_steps=30)
    env = qjax.make("navix:Navix-Empty-5x5-v0", max_steps=30)
    assert qjax.make("navix:Navix-Empty-5x5-v0").max_steps == navix.make("Navix-Empty-5x5-v0").max_steps == 100

    def first(key):
        timestep = inner.reset(key)
        return timestep.observation, timestep

    def advance(key, state, action):
        t = inner.step(state, action)  # which resets one call later
        return t.observation, t, t.reward, t.is_termination(), t.is_truncation()

    terminated, truncated = assert_alike(env, first, advance)
    assert terminated and truncated
    assert not rollout(qjax.make("navix:Navix-Empty-5x5-v0", max_episode_steps=-1), [0] * 300)[1].truncated.any()


def test_xminigrid():
    xminigrid = pytest.importorskip("xminigrid", reason="the extra xminigrid is not installed")
    inner, params = xminigrid.make("MiniGrid-Empty-5x5", max_steps=30)
    env = qjax.make("xminigrid:MiniGrid-Empty-5x5", max_steps=30)

    def first(key):
        timestep = inner.reset(params, key)
        return timestep.observation, timestep

    def advance(key, state, action):
        t = inner.step(params, state, action)
        return t.observation, t, t.reward, t.last() & (t.discount == 0), t.last() & (t.discount == 1)

    terminated, truncated = assert_alike(env, first, advance)
    assert terminated and truncated
    # Another limit of ours leaves the rewards as they are, which `max_steps` scales.
    usual, short = (qjax.make("xminigrid:MiniGrid-Empty-5x5", **k) for k in ({}, {"max_episode_steps": 60}))
    assert (usual.max_steps, short.max_steps) == (100, 60) and short.unwrapped.params.max_steps == 100
    assert rollout(usual, [2] * 3)[1].reward.tolist() == rollout(short, [2] * 3)[1].reward.tolist()


@pytest.mark.parametrize("name", ["minatar-breakout", "2048"])
def test_pgx(name):
    pgx = pytest.importorskip("pgx", reason="the extra pgx is not installed")
    inner, env = pgx.make(name), qjax.make(f"pgx:{name}")
    masked = name == "2048"

    def seen(state):
        return {"obs": state.observation, "legal": state.legal_action_mask} if masked else state.observation

    def first(key):
        state = inner.init(key)
        return seen(state), state

    def advance(key, state, action):
        state = inner.step(state, action, key)
        return seen(state), state, state.rewards[0], state.terminated, state.truncated

    terminated, truncated = assert_alike(env, first, advance)
    assert terminated and not truncated and env.max_steps is None
    assert qjax.make(f"pgx:{name}", max_episode_steps=5).max_steps == 5
    suite = env.unwrapped
    assert (suite.legal is not None) == masked
    if masked:
        masks = jax.vmap(lambda key: suite.legal(suite.first(key)[0]))(jax.random.split(KEY, 100))
        assert masks.tolist() == jax.vmap(inner.init)(jax.random.split(KEY, 100)).legal_action_mask.tolist()
        assert masks.any(1).all() and not masks.all()


def test_games_of_pgx_for_several_players():
    pytest.importorskip("pgx", reason="the extra pgx is not installed")
    with pytest.raises(ValueError, match=r"^pgx:chess is for 2 players; qjax needs an environment for one$"):
        qjax.make("pgx:chess")


@pytest.mark.slow
def test_the_games_of_pgx_that_are_refused_are_known():
    pgx = pytest.importorskip("pgx", reason="the extra pgx is not installed")
    several = {name for name in pgx.available_envs() if pgx.make(name).num_players != 1}
    assert several == names.adapter("pgx").refused


@pytest.mark.parametrize(("name", "limit"), [("Snake-v1", 25), ("Maze-v0", 20), ("Tetris-v0", 5)])
def test_jumanji(name, limit):
    jumanji = pytest.importorskip("jumanji", reason="the extra jumanji is not installed")
    inner, env = jumanji.make(name, time_limit=limit), qjax.make(f"jumanji:{name}", time_limit=limit)
    assert env.max_steps == limit and env.num_actions == np.prod(inner.action_spec.num_values)
    parts, endless = np.ravel(inner.action_spec.num_values).tolist(), jumanji.make(name, time_limit=10**6)

    def first(key):
        state, timestep = inner.reset(key)
        return timestep.observation, (state, jnp.int32(0))

    def advance(key, state, action):
        several = jnp.stack(jnp.unravel_index(action, parts)) if len(parts) > 1 else action
        after, t = inner.step(state[0], several)
        over, time = t.last() & (t.discount == 0), state[1] + 1
        # At its limit jumanji says the same of both; without one it says whether the task is over.
        ended = endless.step(state[0], several)[1].last()
        return t.observation, (after, time), t.reward, over & ended, over & (time >= limit)

    terminated, truncated = assert_alike(env, first, advance)
    assert terminated and truncated
    suite = env.unwrapped
    obs, _ = suite.first(KEY)
    assert suite.legal(obs).tolist() == np.ravel(obs.action_mask).tolist()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("Connector-v3", "pays each of several agents; qjax needs an environment for one"),
        ("LevelBasedForaging-v0", "pays each of several agents"),
        ("JobShop-v0", r"has 21 x 21 x .* actions; qjax counts them through, at most 10,000"),
        ("MMST-v0", "has 36 x 36 x 36 actions"),
        ("MultiCVRP-v0", "has a continuous action space"),
        ("SearchAndRescue-v0", "has a continuous action space"),
    ],
)
def test_what_jumanji_has_for_others(name, told):
    pytest.importorskip("jumanji", reason="the extra jumanji is not installed")
    assert name in names.adapter("jumanji").refused
    with pytest.raises(ValueError, match=told):
        qjax.make(f"jumanji:{name}")


@pytest.mark.slow
def test_craftax():
    pytest.importorskip("craftax", reason="the extra craftax is not installed")
    from craftax.craftax_env import make_craftax_env_from_name

    name = "Craftax-Classic-Symbolic-v1"
    inner = make_craftax_env_from_name(name, auto_reset=False)
    params = inner.default_params.replace(max_timesteps=60)
    env = qjax.make(f"craftax:{name}", max_timesteps=60, pool=3)
    assert qjax.make(f"craftax:{name}", pool=3).max_steps == 10_000
    pool = env.unwrapped.pool

    def first(key):
        drawn, own = jax.random.split(key)
        key = jax.random.split(jax.random.key(0), 3)[jax.random.randint(drawn, (), 0, 3)]
        obs, state = inner.reset_env(key, params)
        return obs, state.replace(state_rng=own)

    def advance(key, state, action):
        obs, after, reward, done, _ = inner.step_env(key, state, action, params)
        at_limit = after.timestep >= 60
        dead = inner.is_terminal(after, params.replace(max_timesteps=10**6))
        return obs, after, reward, done & dead, done & at_limit

    terminated, truncated = assert_alike(env, first, advance)
    assert terminated or truncated
    assert len(pool[0]) == 3


@pytest.mark.parametrize("prefix", names.SUITES)
def test_an_example_of_each_suite_trains(prefix):
    pytest.importorskip(prefix, reason=f"the extra {prefix} is not installed")
    if prefix == "craftax":
        pytest.skip("its world takes minutes to compile; test_craftax has its steps")
    env = qjax.make(f"{prefix}:{names.SUITES[prefix].example}", max_episode_steps=20)
    network = qjax.masked(qjax.encoded(qjax.MLP(env.num_actions, hidden=(8,)), env.encode), env.legal)
    agent = qjax.dqn(network, optax.sgd(0.01))
    loop = qjax.make_loop(env, agent, qjax.epsilon_greedy(0.5), qjax.ring(64, 8), gamma=0.9, num_envs=2)
    result = qjax.sweep(lambda _: loop, seeds=2, steps=200, log_points=2)
    assert np.isfinite(result.points[-1].means["loss"]).all() and (result.points[-1].episodes > 0).all()
