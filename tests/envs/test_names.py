"""gymnasium's names and arguments, held against gymnasium itself: limits, maps, rates, rewards, passengers."""

import inspect
from types import SimpleNamespace

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.envs.toy_text.frozen_lake import generate_random_map
from scipy import stats

import qjax
from qjax.envs import names
from qjax.mdp import examples
from qjax.mdp.lakes import lake_map

KEY = jax.random.key(0)
DISCRETE = [
    "Acrobot-v1", "CartPole-v0", "CartPole-v1", "CliffWalking-v1", "CliffWalkingSlippery-v1", "FrozenLake-v1",
    "FrozenLake8x8-v1", "MountainCar-v0", "Taxi-v4",
]  # fmt: skip


# Limits --------------------------------------------------------------------------------------------------------


def test_every_name_of_gymnasiums_has_its_limit_and_arguments():
    shared = sorted(set(gymnasium.registry) & set(names.known()))
    assert shared == sorted([*DISCRETE, "MountainCarContinuous-v0", "Pendulum-v1"])
    for name in DISCRETE:
        spec = gymnasium.spec(name)
        env, inner = qjax.make(name), gymnasium.make(name, disable_env_checker=True)
        assert env.max_steps == spec.max_episode_steps, name
        assert env.num_actions == inner.action_space.n
        # Every argument of gymnasium's, at its usual value, makes the same.
        usual = inspect.signature(type(inner.unwrapped)).parameters
        given = {key: p.default for key, p in usual.items() if key not in spec.kwargs}
        same = qjax.make(name, **{**given, **spec.kwargs})
        assert (same.max_steps, same.obs_spec) == (env.max_steps, env.obs_spec)
        # Another map or rate changes no limit.
        if "FrozenLake" in name:
            for options in ({"map_name": "8x8"}, {"map_name": "4x4"}):
                assert qjax.make(name, **options).max_steps == spec.max_episode_steps


def test_names_of_minatar_have_its_limits_and_gymnaxs_have_gymnaxs():
    # MinAtar registers its games without a limit; Freeway ends by itself.
    for game, limit in (("Breakout", None), ("Asterix", None), ("Freeway", 2500)):
        assert qjax.make(f"MinAtar/{game}-v1").max_steps == limit
    assert qjax.make("Breakout-MinAtar").max_steps == 1000
    assert qjax.make("FrozenLake-misc").max_steps == 100
    assert qjax.make("FrozenLake-misc", map_name="8x8").max_steps == 200


def walk(env, steps=40):
    """Return the frames of some steps with random actions."""

    def step(state, key):
        act, move = jax.random.split(key)
        found = env.step(move, state, jax.random.randint(act, (), 0, env.num_actions))
        return found.state, found.obs

    return jax.lax.scan(step, env.reset(KEY)[1], jax.random.split(KEY, steps))[1]


def test_actions_of_minatars_names_stick():
    """MinAtar's Environment takes the last action again with `sticky_action_prob=0.1`; gymnax's games do not."""
    name = "MinAtar/Breakout-v1"
    found = {p: qjax.make(name, sticky_action_prob=p) for p in (0, 0.1, 1.0)}
    assert [env.wrappers for env in found.values()] == [(), ("sticky_actions=0.1",), ("sticky_actions=1.0",)]
    for probability, env in found.items():
        assert env.name == name and env.max_steps is None
        same = qjax.wrappers.sticky_actions(found[0], float(probability))
        if probability:
            np.testing.assert_array_equal(walk(env), walk(same))
    frames = {p: walk(env) for p, env in found.items()}
    assert (frames[0] != frames[1.0]).any()
    np.testing.assert_array_equal(walk(qjax.make(name)), frames[0.1])
    np.testing.assert_array_equal(jax.jit(lambda p: walk(qjax.make(name, sticky_action_prob=p)))(1.0), frames[1.0])
    with pytest.raises(ValueError, match=r"sticky_action_prob must lie in \[0, 1\], got 1.5"):
        qjax.make(name, sticky_action_prob=1.5)
    with pytest.raises(TypeError, match=r"its constructor takes .*sticky_action_prob"):
        qjax.make(name, stickiness=0.1)
    with pytest.raises(TypeError, match="has no argument sticky_action_prob"):
        qjax.make("Breakout-MinAtar", sticky_action_prob=0.1)


def cut_at(env, step):
    """Return whether an episode is cut where this step of it is taken."""
    state = env.reset(KEY)[1].replace(time=jnp.int32(step - 1))
    return bool(env.step(KEY, state, jnp.int32(0)).truncated)


@pytest.mark.parametrize("word", ["max_episode_steps", "max_steps_in_episode"])
def test_the_limit_has_two_names_everywhere(word):
    from gymnax.environments.classic_control.cartpole import CartPole

    ladder = examples.from_table({0: {0: [(1.0, 0, 0.0, False)]}}, [1.0])
    for env in ("CartPole-v1", "FrozenLake-v1", "FrozenLake-misc", "Taxi-v4", CartPole(), ladder):
        made = qjax.make(env, **{word: 7})
        assert made.max_steps == made.params.max_steps_in_episode == 7
    endless = qjax.make("CartPole-v1", **{word: -1 if word == "max_episode_steps" else None})
    assert endless.max_steps is None and not cut_at(endless, 10**9)
    limits = jnp.array([3, 9])
    assert jax.jit(jax.vmap(lambda n: qjax.make("Taxi-v4", **{word: n}).max_steps))(limits).tolist() == [3, 9]


def test_gymnasiums_limit_of_none_is_the_usual_one():
    assert qjax.make("CartPole-v0", max_episode_steps=None).max_steps == 200
    with pytest.raises(TypeError, match="max_episode_steps is gymnasium's word for max_steps_in_episode"):
        qjax.make("CartPole-v1", max_episode_steps=3, max_steps_in_episode=3)
    with pytest.raises(TypeError, match="parameters have no max_steps_in_episode"):
        qjax.make(SimpleNamespace(**{name: _any for name in METHODS}), max_episode_steps=3)


METHODS = ("reset", "step", "action_space", "observation_space")


def _any(*_):
    raise AssertionError


def test_given_parameters_are_taken_as_they_are():
    # CartPole-v0's limit is of its own parameters, not of others.
    params = qjax.make("CartPole-v1").params
    assert qjax.make("CartPole-v0", params).max_steps == 500


# Lakes ---------------------------------------------------------------------------------------------------------


ROWS = ["SFHS", "FFFF", "GFFG"]
FORMS = [
    ROWS,
    tuple(ROWS),
    [list(row) for row in ROWS],
    [row.encode() for row in ROWS],
    np.array(ROWS),
    np.array([list(row) for row in ROWS]),
    np.asarray(ROWS, dtype="c"),
    gymnasium.make("FrozenLake-v1", desc=ROWS).unwrapped.desc,
]


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_a_map_in_every_form(form):
    assert lake_map(qjax.make("FrozenLake-v1", desc=form).unwrapped) == ROWS


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"desc": "SFFG"}, "rows of a map"),
        ({"desc": 3}, "rows of a map"),
        ({"desc": np.zeros((2, 2), int)}, "letters of a map's tiles, S, F, H and G, got 0"),
        ({"desc": ["SF", "FGG"]}, "rectangle"),
        ({"desc": ["SX", "FG"]}, "tiles X"),
        ({"map_name": "9x9"}, "no map '9x9'"),
        ({"map_name": None, "map_seed": -1}, "map_seed must be at least 0"),
        ({"is_slippery": "false"}, "is_slippery must be True or False, got 'false'"),
        ({"is_slippery": 0}, "is_slippery must be True or False, got 0"),
        ({"success_rate": 1.5}, "success_rate must lie in"),
        ({"success_rate": "0.5"}, "success_rate must be a number"),
        ({"reward_schedule": (1, 0)}, "a reward for goals, for holes and for the rest"),
        ({"reward_schedule": (1, 0, np.nan)}, "reward_schedule must be finite"),
        ({"reward_schedule": "1,0,0"}, "reward_schedule must be an array of numbers"),
        ({"reward_schedule": [(1, 0), 0, 0]}, "a reward for goals, for holes and for the rest"),
        ({"reward_schedule": 1}, "a reward for goals, for holes and for the rest"),
        ({"render_mode": "human"}, "takes no render_mode"),
    ],
)
def test_options_of_a_lake_that_are_refused(options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        qjax.make("FrozenLake-v1", **options)


@pytest.mark.parametrize(
    ("name", "flag"),
    [
        ("CliffWalking-v1", "is_slippery"),
        ("Taxi-v4", "is_rainy"),
        ("Taxi-v4", "fickle_passenger"),
        ("CartPole-v1", "sutton_barto_reward"),
        ("Breakout-MinAtar", "use_minimal_action_set"),
        ("DeepSea-bsuite", "deterministic"),
    ],
)
def test_flags_are_true_or_false(name, flag):
    with pytest.raises(TypeError, match=f"{flag} must be True or False, got 'false'"):
        qjax.make(name, **{flag: "false"})
    if flag != "deterministic":  # which is among gymnax's parameters
        with pytest.raises(TypeError, match=f"{flag} is static"):
            jax.eval_shape(lambda x: qjax.make(name, **{flag: x}).max_steps, True)


def assert_table(model, reference, tolerance=0.0):
    """Check an MDP against gymnasium's table, outcome for outcome; holes and goals absorb in both."""
    inner = reference.unwrapped
    found = jax.tree.map(np.asarray, model)
    for s, row in inner.P.items():
        for a, listed in row.items():
            if inner.desc.reshape(-1)[s] in b"HG":
                assert (found.successor[s, a] == s).all() and found.terminated[s, a].all()
                assert not found.reward[s, a].any()
                continue
            p, after, earned, ends = map(np.array, zip(*listed, strict=True))
            np.testing.assert_allclose(found.probability[s, a], p, atol=1e-7)
            assert found.successor[s, a].tolist() == after.tolist()
            assert found.reward[s, a].tolist() == np.float32(earned).tolist()
            assert found.terminated[s, a].tolist() == ends.tolist()
    np.testing.assert_array_equal(found.start, np.float32(inner.initial_state_distrib))


@pytest.mark.parametrize(
    "options",
    [
        {"desc": ROWS},
        {"desc": ROWS, "is_slippery": False},
        {"desc": ["SSS", "HFH", "GFG"], "success_rate": 0.7, "reward_schedule": (5, -2, -0.25)},
        {"desc": generate_random_map(size=5, seed=3)},
    ],
    ids=str,
)
def test_maps_of_several_starts_and_goals_are_gymnasiums(options):
    env, reference = qjax.make("FrozenLake-v1", **options), gymnasium.make("FrozenLake-v1", **options)
    assert_table(jax.jit(lambda: examples.from_env(env))(), reference)


def test_a_lake_of_several_moves_as_its_table_says():
    options = {"desc": ROWS, "success_rate": 0.7, "reward_schedule": (5, -2, -0.25)}
    env, table = qjax.make("FrozenLake-v1", **options), gymnasium.make("FrozenLake-v1", **options).unwrapped.P
    base, draws = env.reset(KEY)[1], 300
    pairs = [(s, a) for s in (0, 1, 3, 4, 5, 6, 7, 9, 10) for a in range(4)]
    places, actions = np.repeat(np.int32(pairs), draws, 0).T
    keys = jax.random.split(jax.random.key(1), len(places))
    steps = jax.jit(jax.vmap(lambda key, s, a: env.step(key, base.replace(position=s), a)))
    found = jax.device_get(steps(keys, places, actions))
    seen = list(zip(found.final_obs.tolist(), found.reward.tolist(), found.terminated.tolist(), strict=True))
    for i, (s, a) in enumerate(pairs):
        chances = {}
        for p, *outcome in table[s][a]:
            chances[tuple(outcome)] = chances.get(tuple(outcome), 0) + p
        here = seen[i * draws : (i + 1) * draws]
        counts = [here.count(outcome) for outcome in chances]
        assert sum(counts) == draws
        if len(counts) > 1:
            assert stats.chisquare(counts, np.array(list(chances.values())) * draws).pvalue > 1e-5


def test_episodes_start_at_any_start_alike():
    env = qjax.make("FrozenLake-v1", desc=ROWS)
    obs, state = jax.jit(jax.vmap(env.reset))(jax.random.split(KEY, 2000))
    assert set(obs.tolist()) == {0, 3}
    assert stats.binomtest(int((obs == 0).sum()), 2000).pvalue > 1e-3
    # After an end, too: from beside a goal, straight into it.
    state = jax.tree.map(lambda x: x[0], state).replace(position=jnp.int32(9))
    env = qjax.make("FrozenLake-v1", desc=ROWS, is_slippery=False)
    step = jax.jit(jax.vmap(lambda key: env.step(key, state, jnp.int32(0))))(jax.random.split(KEY, 200))
    assert step.terminated.all() and set(step.final_obs.tolist()) == {8} and set(step.obs.tolist()) == {0, 3}


def test_a_random_map_is_gymnasiums_of_its_seed():
    env = qjax.make("FrozenLake-v1", map_name=None)
    assert lake_map(env.unwrapped) == generate_random_map(seed=0)
    assert lake_map(qjax.make("FrozenLake-v1", map_name=None).unwrapped) == lake_map(env.unwrapped)
    other = qjax.make("FrozenLake-v1", map_name=None, map_seed=5).unwrapped
    assert lake_map(other) == generate_random_map(seed=5) != lake_map(env.unwrapped)
    assert str(generate_random_map(seed=5)) in repr(other)
    table = examples.toy_text("FrozenLake-v1", map_name=None, map_seed=5).default_params.mdp
    reference = gymnasium.make("FrozenLake-v1", desc=generate_random_map(seed=5)).unwrapped.P
    np.testing.assert_array_equal(table.successor[0, 2], [after for _, after, *_ in reference[0][2]])


def test_a_drawn_map_stands_in_the_config(tmp_path):
    def build(_):
        lake = qjax.make("FrozenLake-v1", map_name=None, map_seed=2)
        agent = qjax.tabular(lake.num_states, lake.num_actions, 0.1)
        return qjax.make_loop(lake, agent, qjax.greedy, qjax.online(), gamma=0.9)

    with qjax.Run(tmp_path / "run", "lake", {}) as run:
        qjax.sweep(build, seeds=1, steps=10, log_points=1, run=run)
    assert qjax.load_config(tmp_path / "run")["sweep"]["map"] == generate_random_map(seed=2)


@pytest.mark.parametrize("env", ["CartPole-v1", "FrozenLake-v1", "Taxi-v4", "MinAtar/Breakout-v1"])
@pytest.mark.parametrize("limit", [0, -3, np.nan, 1.5, 1j, "7", 2**31, [3], jnp.ones(1)])
def test_limits_that_are_none(env, limit):
    with pytest.raises((TypeError, ValueError), match="max_steps_in_episode"):
        qjax.make(env, max_steps_in_episode=limit)


@pytest.mark.parametrize(
    ("env", "field", "value"),
    [("CartPole-v1", "gravity", "9.8"), ("CartPole-v1", "gravity", np.nan), ("Taxi-v4", "reward_noise", -1)],
)
def test_parameters_are_numbers(env, field, value):
    with pytest.raises((TypeError, ValueError), match=field):
        qjax.make(env, **{field: value})


def test_rates_and_rewards_of_a_lake_may_be_swept():
    rates = jnp.array([0.2, 0.8])
    tables = jax.jit(jax.vmap(lambda rate: examples.from_env(qjax.make("FrozenLake-v1", success_rate=rate))))(rates)
    for i, rate in enumerate(rates.tolist()):
        assert_table(jax.tree.map(lambda x, i=i: x[i], tables), gymnasium.make("FrozenLake-v1", success_rate=rate))

    def one(rate, schedule, key):
        env = qjax.make("FrozenLake-v1", success_rate=rate, reward_schedule=schedule)
        return env.step(key, env.reset(key)[1], jnp.int32(2))

    keys = jax.random.split(KEY, 2000)
    for rate in (0.2, 0.8):
        found = jax.jit(jax.vmap(one, in_axes=(None, None, 0)))(rate, jnp.array([1.0, 0, -0.5]), keys)
        assert (found.reward == -0.5).all()
        assert stats.binomtest(int((found.final_obs == 1).sum()), 2000, rate).pvalue > 1e-3
    swept = jax.jit(
        lambda cost: examples.from_env(qjax.make("FrozenLake-v1", reward_schedule=(1, 0, cost))).reward
    )(-0.5)
    np.testing.assert_array_equal(np.unique(swept), [-0.5, 0, 1])
    with pytest.raises(TypeError, match="size is static"):
        jax.eval_shape(lambda n: qjax.make("DeepSea-bsuite", size=n).max_steps, 8)


# CartPole ------------------------------------------------------------------------------------------------------


def test_sutton_and_bartos_reward_is_gymnasiums():
    env = qjax.make("CartPole-v1", sutton_barto_reward=True)
    reference = gymnasium.make("CartPole-v1", sutton_barto_reward=True, disable_env_checker=True)
    step, ended = jax.jit(env.step), 0
    for seed in range(5):
        obs, _ = reference.reset(seed=seed)
        state = env.reset(KEY)[1].replace(**dict(zip(("x", "x_dot", "theta", "theta_dot"), obs, strict=True)))
        for action in np.random.default_rng(seed).integers(2, size=60):
            found = step(KEY, state, jnp.int32(action))
            _, reward, terminated, *_ = reference.step(int(action))
            assert (float(found.reward), bool(found.terminated)) == (reward, terminated)
            assert str(float(found.reward)) != "-0.0"
            state = found.state
            if terminated:
                ended += 1
                break
    assert ended == 5
    assert (env.max_steps, qjax.make("CartPole-v0", sutton_barto_reward=True).max_steps) == (500, 200)


# Taxi ----------------------------------------------------------------------------------------------------------


class Scripted:
    """In the place of gymnasium's random numbers: the k-th outcome, and the k-th choice."""

    def __init__(self, uniform, choice):
        self.uniform, self.chosen = uniform, choice

    def random(self):
        return self.uniform

    def choice(self, values):
        return values[self.chosen]


@pytest.mark.parametrize("rainy", [False, True])
def test_a_fickle_passenger_is_gymnasiums(rainy):
    """Every state, action, mood, outcome and choice of gymnasium's own `step`, with its probability."""
    env = examples.toy_text("Taxi-v4", is_rainy=rainy, fickle_passenger=True)
    model = jax.tree.map(np.asarray, env.default_params.mdp)
    assert len(model.start) == 1000 and env.observation_space().n == 500
    np.testing.assert_allclose(model.probability.sum(-1), 1, atol=1e-6)
    inner = gymnasium.make("Taxi-v4", is_rainy=rainy, fickle_passenger=True).unwrapped
    inner.lastaction, changed = None, 0
    for s, a in np.ndindex(500, 6):
        chances = np.array([outcome[0] for outcome in inner.P[s][a]])
        for fickle in (False, True):
            expected = {}
            for k, p in enumerate(chances):
                for choice in range(3):
                    inner.s, inner.fickle_step = s, fickle
                    inner._np_random = Scripted(chances[:k].sum() + p / 2, choice)
                    after, reward, ends, _, _ = inner.step(a)
                    key = (after + 500 * bool(inner.fickle_step), reward, ends)
                    expected[key] = expected.get(key, 0) + p / 3
                    changed += inner.fickle_step != fickle
            found, at = {}, (s + 500 * fickle, a)
            for p, *outcome in zip(
                *(x[at].tolist() for x in (model.probability, model.successor, model.reward, model.terminated)),
                strict=True,
            ):
                if p > 0:
                    found[tuple(outcome)] = found.get(tuple(outcome), 0) + p
            assert found.keys() == expected.keys(), at
            for outcome, p in expected.items():
                assert found[outcome] == pytest.approx(p, abs=1e-6), (at, outcome)
    assert changed > 0
    start = inner.initial_state_distrib
    np.testing.assert_allclose(model.start, np.concatenate([0.7 * start, 0.3 * start]), atol=1e-7)


def test_a_fickle_passengers_mood_is_not_observed():
    env = qjax.make("Taxi-v4", fickle_passenger=True, fickle_probability=1.0)
    assert (env.num_states, env.max_steps) == (500, 200)
    obs, state = jax.jit(jax.vmap(env.reset))(jax.random.split(KEY, 100))
    assert (state.position == obs + 500).all()
    # In the taxi at row 0, column 0, bound for 3: the first move changes that, the second no more.
    state = jax.tree.map(lambda x: x[0], state).replace(position=jnp.int32(500 + 4 * 4 + 3))
    step = jax.jit(jax.vmap(lambda key: env.step(key, state, jnp.int32(0))))(jax.random.split(KEY, 100))
    assert set((step.obs % 4).tolist()) == {0, 1, 2} and (step.obs < 500).all()
    np.testing.assert_array_equal(step.obs, step.final_obs)
    np.testing.assert_array_equal(step.obs, step.state.position)
    with pytest.raises(TypeError, match="what is observed of Taxi-v4 is no MDP"):
        examples.from_env(env)


def test_probabilities_of_taxi_may_be_swept():
    for rate in (0.5, 0.9):
        model = jax.jit(lambda p: examples.from_env(qjax.make("Taxi-v4", is_rainy=True, rainy_probability=p)))(rate)
        table = gymnasium.make("Taxi-v4", is_rainy=True, rainy_probability=rate).unwrapped.P
        for s, a in ((268, 0), (1, 2), (0, 4), (479, 5)):
            listed = [outcome[0] for outcome in table[s][a]]
            np.testing.assert_allclose(model.probability[s, a][: len(listed)], listed, atol=1e-6)
            assert (model.probability[s, a][len(listed) :] == 0).all()

    def moody(chance, rate):
        env = qjax.make(
            "Taxi-v4", is_rainy=True, rainy_probability=rate, fickle_passenger=True, fickle_probability=chance
        )
        return env.params.mdp

    swept = jax.jit(moody)(0.25, 0.7)
    alone = moody(0.25, 0.7)
    for x, y in zip(swept, alone, strict=True):
        np.testing.assert_allclose(x, y, atol=1e-6)
