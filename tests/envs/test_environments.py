"""qjax.make: transitions agree with gymnasium's, names and arguments mean the same, bad environments are named."""

import functools
import subprocess
import sys

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import probes
import pytest
from scipy import stats

import qjax

STEPS = 1000


def gymnasium_env(name, **kwargs):
    """Return gymnasium's environment, reset once: it must be before `state` or `s` may be set."""
    env = gymnasium.make(name, disable_env_checker=True, **kwargs)
    env.reset(seed=0)
    return env


def template(env):
    """Return one of gymnax's states, to `replace` fields of."""
    return env.reset(jax.random.key(0))[1]


@functools.cache
def lake(name, **kwargs):
    """Return the environment and `(keys, position, action, time) -> Step` for STEPS at once, compiled once."""
    env = qjax.make(name, **kwargs)
    base = template(env)

    def step(key, position, action, time):
        return env.step(key, base.replace(position=position, time=time), action)

    return env, jax.jit(jax.vmap(step))


def lake_steps(name, position, action, time=0, seed=0, **kwargs):
    """Return one transition from each position; arguments are repeated up to STEPS, and the rest cut off again."""
    _, step = lake(name, **kwargs)
    count = len(position)
    assert count <= STEPS
    filled = [np.resize(np.asarray(x, np.int32), STEPS) for x in (position, action, time)]
    steps = step(jax.random.split(jax.random.key(seed), STEPS), *filled)
    return jax.tree.map(lambda x: x[:count], jax.device_get(steps))


def open_squares(table):
    """Return the positions an episode can stand at: an agent in a hole or on the goal has been reset."""
    return np.array([s for s in table if table[s][0] != [(1.0, s, 0, True)]])


def cartpole_steps(env, states, action, time=0):
    base = template(env)

    def step(key, state, action, time):
        x, x_dot, theta, theta_dot = state
        return env.step(key, base.replace(x=x, x_dot=x_dot, theta=theta, theta_dot=theta_dot, time=time), action)

    keys = jax.random.split(jax.random.key(0), len(states))
    time = jnp.broadcast_to(jnp.asarray(time, jnp.int32), (len(states),))
    return jax.device_get(jax.jit(jax.vmap(step))(keys, jnp.asarray(states), jnp.asarray(action), time))


# ---- transition for transition against gymnasium


@pytest.mark.parametrize("name", ["FrozenLake-v1", "FrozenLake8x8-v1"])
def test_deterministic_lake_agrees_with_gymnasium(name):
    reference = gymnasium_env(name, is_slippery=False)
    squares = open_squares(reference.unwrapped.P)
    rng = np.random.default_rng(0)
    position, action = rng.choice(squares, STEPS), rng.integers(4, size=STEPS)
    found = lake_steps(name, position, action, is_slippery=False)
    expected = []
    for s, a in zip(position, action, strict=True):
        reference.unwrapped.s = int(s)
        reference._elapsed_steps = 0
        expected.append(reference.step(int(a))[:4])
    obs, reward, terminated, truncated = map(np.array, zip(*expected, strict=True))
    np.testing.assert_array_equal(found.final_obs, obs)
    np.testing.assert_array_equal(found.reward, reward)
    np.testing.assert_array_equal(found.terminated, terminated)
    np.testing.assert_array_equal(found.truncated, truncated)
    # Both kinds of end and plain moves are among them, or the comparison would say little.
    assert reward.any() and (terminated & (reward == 0)).any() and (~terminated).any()


@pytest.mark.parametrize("name", ["FrozenLake-v1", "FrozenLake8x8-v1"])
def test_slippery_lake_agrees_with_gymnasiums_table(name):
    table = gymnasium_env(name).unwrapped.P
    rng = np.random.default_rng(1)
    position, action = rng.choice(open_squares(table), STEPS), rng.integers(4, size=STEPS)
    found = lake_steps(name, position, action)
    outcomes = zip(position, action, found.final_obs, found.reward, found.terminated, strict=True)
    for s, a, after, reward, terminated in outcomes:
        listed = {outcome[1:] for outcome in table[s][a]}
        assert (int(after), float(reward), bool(terminated)) in listed, (s, a)


# A corner (two outcomes fall together), a square beside holes, and the ones before the goal.
@pytest.mark.parametrize(
    ("name", "s", "a"),
    [("FrozenLake-v1", 0, 0), ("FrozenLake-v1", 6, 1), ("FrozenLake-v1", 14, 2), ("FrozenLake8x8-v1", 62, 3)],
)
def test_slippery_lake_has_gymnasiums_frequencies(name, s, a):
    table = gymnasium_env(name).unwrapped.P
    expected = {}
    for probability, after, *_ in table[s][a]:
        expected[after] = expected.get(after, 0) + probability
    found = lake_steps(name, np.full(STEPS, s), np.full(STEPS, a), seed=s)
    observed = [(found.final_obs == after).sum() for after in expected]
    assert sum(observed) == STEPS
    assert stats.chisquare(observed, [p * STEPS for p in expected.values()]).pvalue > 1e-3
    # The sample is large enough to tell thirds from a half and two quarters.
    share = [0.5] + [0.5 / (len(expected) - 1)] * (len(expected) - 1)
    assert stats.chisquare(observed, [p * STEPS for p in share]).pvalue < 1e-3


def cartpole_states():
    """Return random states: anywhere, just inside the thresholds, and beyond them."""
    rng = np.random.default_rng(2)
    limits = np.array([2.4, 3.0, 12 * 2 * np.pi / 360, 3.0])
    states = rng.uniform(-1, 1, (STEPS, 4)) * limits
    edge, beyond = slice(0, 400), slice(400, 500)
    # Just inside, alternately along x and along theta, moving either way: about half of them step over.
    for i in range(*edge.indices(STEPS)):
        axis = 2 * (i % 2)
        states[i, axis] = np.sign(states[i, axis]) * limits[axis] * rng.uniform(0.98, 0.9999)
    for i in range(*beyond.indices(STEPS)):
        axis = 2 * (i % 2)
        states[i, axis] = np.sign(states[i, axis]) * limits[axis] * rng.uniform(1.001, 1.2)
    # What float32 can hold, so that both start from the same numbers.
    return states.astype(np.float32), rng.integers(2, size=STEPS), beyond


@pytest.mark.filterwarnings("ignore:.*already returned terminated")
def test_cartpole_agrees_with_gymnasium():
    env, reference = qjax.make("CartPole-v1"), gymnasium_env("CartPole-v1")
    states, action, beyond = cartpole_states()
    found = cartpole_steps(env, states, action)
    inner, compared, ends = reference.unwrapped, 0, 0
    for i, (state, a) in enumerate(zip(states, action, strict=True)):
        over = beyond.start <= i < beyond.stop
        inner.state = state.astype(np.float64)
        # gymnasium pays nothing for steps after an end; say that this is one where the state is beyond.
        inner.steps_beyond_terminated = 0 if over else None
        reference._elapsed_steps = 0
        obs, reward, terminated, truncated, _ = reference.step(int(a))
        x, _, theta, _ = inner.state
        margin = min(abs(abs(x) - inner.x_threshold), abs(abs(theta) - inner.theta_threshold_radians))
        if margin < 1e-6:
            continue  # float32 and float64 may round to different sides
        # Relative and absolute tolerance of a few float32 roundings, on numbers up to 4.
        np.testing.assert_allclose(found.final_obs[i], obs, rtol=1e-5, atol=1e-6)
        assert found.terminated[i] == terminated
        assert found.truncated[i] == truncated
        # Coming back inside after the end is undefined in both, and paid differently.
        if not over or terminated:
            assert found.reward[i] == reward
        compared, ends = compared + 1, ends + (terminated and not over)
    # Few were skipped, and the thresholds were crossed from inside often enough to compare ends.
    assert compared > 0.99 * STEPS
    assert 100 < ends < 800


@pytest.mark.parametrize(
    ("name", "limit"),
    [("CartPole-v1", 500), ("CartPole-v0", 200), ("FrozenLake-v1", 100), ("FrozenLake8x8-v1", 200)],
)
@pytest.mark.filterwarnings("ignore:.*CartPole-v0 is out of date")
def test_time_limit_agrees_with_gymnasium(name, limit):
    # Around the limit, with a state that goes on and one that ends by itself at the same step.
    cartpole = name.startswith("CartPole")
    kwargs = {} if cartpole else {"is_slippery": False}
    env = qjax.make(name) if cartpole else lake(name, **kwargs)[0]
    reference = gymnasium_env(name, **kwargs)
    assert env.max_steps == limit == reference.spec.max_episode_steps
    before_goal = (env.num_states or 0) - 2
    going, ending = ([0.0] * 4, [2.399, 3.0, 0.0, 0.0]) if cartpole else (0, before_goal)
    cases = [(time, start) for time in (0, limit - 2, limit - 1) for start in (going, ending)]
    times, starts = [t for t, _ in cases], [s for _, s in cases]
    action = [1 if cartpole else 2] * len(cases)
    if cartpole:
        found = cartpole_steps(env, np.array(starts, np.float32), action, times)
    else:
        found = lake_steps(name, starts, action, times, is_slippery=False)
    seen = []
    for i, (time, start) in enumerate(cases):
        if cartpole:
            reference.unwrapped.state = np.array(start)
            reference.unwrapped.steps_beyond_terminated = None
        else:
            reference.unwrapped.s = start
        reference._elapsed_steps = time
        _, _, terminated, truncated, _ = reference.step(action[i])
        assert (bool(found.terminated[i]), bool(found.truncated[i])) == (terminated, truncated), (time, start)
        seen.append((terminated, truncated))
    assert set(seen) == {(False, False), (True, False), (False, True), (True, True)}


def test_cartpole_truncates_at_step_500():
    """The whole count, not just its last step: balanced by hand until the limit, as in gymnasium."""
    env, reference = qjax.make("CartPole-v1"), gymnasium_env("CartPole-v1")

    def action_of(obs):
        return (obs[2] + 0.5 * obs[3] + 0.05 * obs[0] + 0.1 * obs[1] > 0) * 1

    def tick(carry, _):
        obs, state, over = carry
        step = env.step(jax.random.key(0), state, jnp.asarray(action_of(obs), jnp.int32))
        return (step.obs, step.state, over), (step.terminated, step.truncated)

    obs, state = env.reset(jax.random.key(3))
    _, (terminated, truncated) = jax.lax.scan(tick, (obs, state, False), length=600)
    obs, _ = reference.reset(seed=3)
    count, ended, cut = 0, False, False
    while not (ended or cut):
        obs, _, ended, cut, _ = reference.step(int(action_of(obs)))
        count += 1
    assert (count, ended, cut) == (500, False, True)
    assert np.flatnonzero(truncated).tolist() == [499]
    assert not terminated[:500].any()


# ---- names and arguments


@pytest.mark.parametrize(
    ("name", "kwargs", "num_states", "obs_shape", "num_actions", "max_steps"),
    [
        ("FrozenLake-v1", {}, 16, (), 4, 100),
        ("FrozenLake8x8-v1", {}, 64, (), 4, 200),
        ("FrozenLake-v1", {"map_name": "8x8"}, 64, (), 4, 100),
        ("FrozenLake-v1", {"desc": ["SFH", "FFG"]}, 6, (), 4, 100),
        ("FrozenLake-v1", {"max_steps_in_episode": 7}, 16, (), 4, 7),
        ("FrozenLake-v1", {"map_name": "8x8", "max_steps_in_episode": 7}, 64, (), 4, 7),
        ("FrozenLake-misc", {}, 16, (), 4, 100),
        ("CartPole-v1", {}, None, (4,), 2, 500),
        ("CartPole-v0", {}, None, (4,), 2, 200),
        ("CartPole-v0", {"max_steps_in_episode": 9}, None, (4,), 2, 9),
        ("MinAtar/Breakout-v1", {}, None, (10, 10, 4), 3, None),
        ("Breakout-MinAtar", {}, None, (10, 10, 4), 3, 1000),
    ],
)
def test_names_and_arguments(name, kwargs, num_states, obs_shape, num_actions, max_steps):
    env = qjax.make(name, **kwargs)
    assert env.name == name
    assert (env.num_states, env.obs_spec.shape, env.num_actions) == (num_states, obs_shape, num_actions)
    assert env.max_steps == max_steps


def test_every_alias_makes_an_environment():
    from qjax.envs.names import ALIASES

    for name in ALIASES:
        assert qjax.make(name).num_actions > 1


def test_is_slippery_reaches_the_constructor():
    # From the start, moving right: always square 1 on dry ice, elsewhere too on wet ice.
    start, right = np.zeros(100, int), np.full(100, 2)
    assert set(lake_steps("FrozenLake-v1", start, right, is_slippery=False).final_obs) == {1}
    assert set(lake_steps("FrozenLake-v1", start, right).final_obs) == {0, 1, 4}


def test_desc_reaches_the_constructor():
    desc = ("SFH", "FFG")
    # Right into the hole, right onto the goal.
    found = lake_steps("FrozenLake-v1", [1, 4], [2, 2], is_slippery=False, desc=desc)
    assert (found.final_obs.tolist(), found.reward.tolist()) == ([2, 5], [0, 1])
    assert found.terminated.all()


def test_given_params_are_used():
    default = qjax.make("CartPole-v1").params
    env = qjax.make("CartPole-v1", default.replace(x_threshold=0.5))
    found = cartpole_steps(env, np.array([[0.499, 1.0, 0.0, 0.0]], np.float32), [1])
    assert found.terminated.all()


def test_params_may_be_traced():
    """Inside jit or a sweep: the shape of the program does not depend on them."""
    default = qjax.make("CartPole-v1").params
    state = template(qjax.make("CartPole-v1")).replace(time=6)

    @jax.jit
    def truncated(limit):
        env = qjax.make("CartPole-v1", default.replace(max_steps_in_episode=limit))
        return env.step(jax.random.key(0), state, jnp.int32(0)).truncated

    assert truncated(7) and not truncated(8)


def test_environment_objects():
    # With parameters: defaults, given ones, fields of them; without any: None all the way.
    assert qjax.make(probes.Endless()).max_steps == 3
    assert qjax.make(probes.Endless(), probes.Params(5)).max_steps == 5
    assert qjax.make(probes.Endless(), max_steps_in_episode=4).max_steps == 4
    free = qjax.make(probes.OneStep())
    assert free.params is None and free.max_steps is None and free.name == "OneStep"


def test_given_object_params_are_bound_to_step():
    env = qjax.make(probes.Endless(), max_steps_in_episode=2)
    _, state = env.reset(jax.random.key(0))
    cuts = []
    for _ in range(4):
        step = env.step(jax.random.key(0), state, jnp.int32(0))
        state = step.state
        cuts.append(bool(step.truncated))
    assert cuts == [False, True, False, True]


# ---- ends of episodes


@pytest.mark.parametrize("action", [0, 2])
def test_final_obs_is_the_successor_and_obs_the_reset_one(action):
    # On the square before the goal: right (2) ends the episode there, left (0) only at the time limit.
    for time, cut in ((5, False), (99, True)):
        found = lake_steps("FrozenLake-v1", [14], [action], time, is_slippery=False)
        ended = cut or action == 2
        after = {0: 13, 2: 15}[action]
        assert found.final_obs.tolist() == [after]
        assert found.obs.tolist() == [0 if ended else after]
        assert found.state.position.tolist() == found.obs.tolist()
        assert found.state.time.tolist() == [0 if ended else time + 1]


def test_final_obs_of_cartpole_is_not_reset():
    found = cartpole_steps(qjax.make("CartPole-v1"), np.array([[2.39, 2.0, 0, 0]], np.float32), [1])
    assert found.terminated.all()
    assert found.final_obs[0, 0] > 2.4
    assert abs(found.obs).max() <= 0.05  # where episodes start


def test_dtypes_of_a_step():
    for name in ("FrozenLake-v1", "CartPole-v1", "Breakout-MinAtar"):
        env = qjax.make(name)
        obs, state = jax.eval_shape(env.reset, jax.random.key(0))
        step = jax.eval_shape(env.step, jax.random.key(0), state, jnp.int32(0))
        assert step.reward.dtype == jnp.float32
        assert step.terminated.dtype == step.truncated.dtype == bool
        assert step.obs.dtype == step.final_obs.dtype == obs.dtype


# ---- encoding


def test_encode_discrete_is_one_hot():
    encoded = qjax.make("FrozenLake-v1").encode(jnp.int32(3))
    assert encoded.dtype == jnp.float32
    np.testing.assert_array_equal(encoded, np.eye(16)[3])


def test_encode_box_is_as_it_is():
    obs = jnp.array([1.0, -2.0, 3.0, 4.5])
    encoded = qjax.make("CartPole-v1").encode(obs)
    assert encoded.dtype == jnp.float32
    np.testing.assert_array_equal(encoded, obs)


def test_encode_image_keeps_its_axes():
    env = qjax.make("Breakout-MinAtar")
    obs = jnp.arange(400).reshape(10, 10, 4) % 2 == 0  # MinAtar's own are of 0 and 1
    encoded = env.encode(obs)
    assert encoded.dtype == jnp.float32 and encoded.shape == (10, 10, 4)
    np.testing.assert_array_equal(encoded, obs)


@pytest.mark.parametrize("name", ["FrozenLake-v1", "CartPole-v1", "Breakout-MinAtar"])
def test_a_network_gets_every_kind(name):
    env = qjax.make(name)
    net = qjax.encoded(qjax.MLP(env.num_actions, (4,)), env.encode)

    @jax.jit
    def values(key):
        obs, _ = env.reset(key)
        return net.apply(net.init(key, obs), obs, None)

    q = values(jax.random.key(0))
    assert q.shape == (env.num_actions,) and q.dtype == jnp.float32
    assert np.isfinite(q).all() and np.ptp(q) > 0


@pytest.mark.parametrize(
    ("name", "obs", "shapes"),
    [
        ("FrozenLake-v1", np.zeros(2, np.int32), ["int32[]", "int32[2]"]),
        ("CartPole-v1", np.zeros(3, np.float32), ["float32[4]", "float32[3]"]),
        ("Breakout-MinAtar", np.zeros((10, 10, 3), np.float32), ["bool[10, 10, 4]", "float32[10, 10, 3]"]),
    ],
)
def test_encode_of_a_wrong_shape(name, obs, shapes):
    with pytest.raises(ValueError, match=name) as error:
        qjax.make(name).encode(jnp.asarray(obs))
    assert all(shape in str(error.value) for shape in shapes)


def test_encode_of_a_plain_number():
    # What a researcher types first; a clear error would do as well as the encoding.
    env = qjax.make("FrozenLake-v1")
    try:
        assert env.encode(3).argmax() == 3
    except (TypeError, ValueError) as error:
        assert "FrozenLake-v1" in str(error)


# ---- what import costs


def test_import_is_light():
    """`import qjax` leaves slow packages and JAX's backend alone, or `use_cores` would always come too late."""
    code = """
import sys
import qjax
slow = [name for name in ("gymnax", "gymnasium", "matplotlib", "orbax", "scipy.stats") if name in sys.modules]
assert not slow, slow
qjax.use_cores(3)
import jax
assert len(jax.devices()) == 3, jax.devices()
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_making_loads_nothing_to_draw_with():
    """gymnax imports it, and what that imports: until something is drawn it is not loaded, and then it is."""
    code = """
import sys
import qjax
qjax.make("Pong-misc")
slow = [name for name in ("matplotlib", "seaborn", "scipy.stats", "pandas") if name in sys.modules]
assert not slow, slow
import matplotlib.pyplot as plt
import seaborn
from gymnax.environments.misc import pong
assert pong.plt.subplots is plt.subplots and pong.sns.color_palette is seaborn.color_palette
"""
    subprocess.run([sys.executable, "-c", code], check=True)


# ---- errors


def test_continuous_actions():
    with pytest.raises(ValueError, match=r"Pendulum-v1 has a continuous action space.*discrete"):
        qjax.make("Pendulum-v1")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("CartPol-v1", "CartPole-v1"),
        ("frozenlake-v1", "FrozenLake-v1"),
        ("cartpole-V1", "CartPole-v1"),
        ("Breakout-v1", "MinAtar/Breakout-v1"),
    ],
)
def test_unknown_name_says_the_nearest(name, meant):
    with pytest.raises(ValueError, match=f"unknown environment '{name}'; did you mean") as error:
        qjax.make(name)
    # The nearest comes first.
    assert f"did you mean {meant}" in str(error.value)


def test_unknown_name_near_to_nothing_lists_all():
    with pytest.raises(ValueError, match=r"known are .*CartPole-v1.*FrozenLake-v1"):
        qjax.make("zzzz")


def test_unknown_keyword_of_a_named_environment():
    with pytest.raises(TypeError, match="FrozenLake-v1 has no argument slippery") as error:
        qjax.make("FrozenLake-v1", slippery=False)
    assert "is_slippery" in str(error.value) and "max_steps_in_episode" in str(error.value)


def test_unknown_keyword_of_an_environment_without_constructor():
    with pytest.raises(TypeError, match="MountainCar-v0 has no argument colour"):
        qjax.make("MountainCar-v0", colour=1)


def test_one_wrong_keyword_among_right_ones():
    with pytest.raises(TypeError, match="has no argument colour;"):
        qjax.make("FrozenLake-v1", is_slippery=False, max_steps_in_episode=3, colour=1)


def test_unknown_field_of_an_object():
    with pytest.raises(TypeError, match="Endless's parameters have no limit; they have max_steps_in_episode"):
        qjax.make(probes.Endless(), limit=3)
    with pytest.raises(TypeError, match="OneStep's parameters have no limit; they have none"):
        qjax.make(probes.OneStep(), limit=3)


@pytest.mark.parametrize("method", ["reset", "step", "action_space", "observation_space"])
def test_missing_method(method):
    env = probes.OneStep()
    setattr(env, method, None)
    with pytest.raises(TypeError, match=f"OneStep has no {method}"):
        qjax.make(env)


def test_step_of_five_values():
    class Old(probes.OneStep):
        def step(self, key, state, action, params):
            obs, state, reward, terminated, truncated, info = super().step(key, state, action, params)
            return obs, state, reward, terminated | truncated, info

    with pytest.raises(TypeError, match=r"Old.step must return .*final_observation.* returned 5 values"):
        qjax.make(Old())


def test_step_without_final_observation():
    class Silent(probes.OneStep):
        def step(self, *args):
            return *super().step(*args)[:5], {}

    with pytest.raises(TypeError, match="final_observation"):
        qjax.make(Silent())


@pytest.mark.parametrize("where", ["reset", "final_observation"])
def test_observations_that_do_not_fit_their_space(where):
    class Wide(probes.OneStep):
        num_states = 3

        def reset(self, key, params):
            obs, state = super().reset(key, params)
            return (jnp.zeros(5) if where == "reset" else obs), state

        def step(self, *args):
            *rest, info = super().step(*args)
            return *rest, ({"final_observation": jnp.zeros(5)} if where == "final_observation" else info)

    said = {"reset": r"of shape \(5,\).*\(3,\)", "final_observation": r"of float32\[5\], reset one of float32\[3\]"}
    with pytest.raises((TypeError, ValueError), match=f"Wide: {where} gives an observation {said[where]}"):
        qjax.make(Wide(box=True))


def test_several_arrays_for_a_space_of_one():
    class Pair(probes.OneStep):
        def observe(self, where):
            return {"a": jnp.zeros(2), "b": jnp.zeros(3)}

        def observation_space(self, params):
            return probes.SimpleNamespace(shape=(2,))

    with pytest.raises(ValueError, match=r"Pair: reset gives an observation of \(float32\[2\], .* of shape \(2,\)"):
        qjax.make(Pair())


# ---- MinAtar's frames


@pytest.mark.parametrize("game", ["Asterix", "Breakout", "Freeway", "Seaquest", "SpaceInvaders"])
def test_frames_of_flags_are_gymnaxs_own(game):
    """The same episodes; a network gets the same numbers."""
    flags, own = (qjax.make(f"{game}-MinAtar", bool_obs=chosen) for chosen in (True, False))
    assert qjax.make(f"{game}-MinAtar").obs_spec == flags.obs_spec
    assert (flags.obs_spec.dtype, own.obs_spec.dtype) == (bool, jnp.float32)
    assert np.dtype(flags.unwrapped.observation_space(flags.params).dtype) == bool
    assert (flags.rewards, flags.num_actions, flags.max_steps) == (own.rewards, own.num_actions, own.max_steps)

    def played(env):
        def one(state, key):
            step = env.step(key, state, jax.random.randint(key, (), 0, env.num_actions))
            return step.state, (env.encode(step.obs), env.encode(step.final_obs), step.reward)

        return jax.lax.scan(one, env.reset(jax.random.key(0))[1], jax.random.split(jax.random.key(1), 500))[1]

    jax.tree.map(np.testing.assert_array_equal, *map(jax.jit(played, static_argnums=0), (flags, own)))
