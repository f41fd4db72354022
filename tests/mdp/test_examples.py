"""Where MDPs come from, held against gymnasium's tables; an MDP as an environment, against gymnasium's moves."""

import itertools
import sys
from types import SimpleNamespace

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compilation import FUSED
from gymnax.environments import spaces
from gymnax.environments.misc.frozen_lake import FrozenLake
from gymnax.wrappers.gym import GymnaxToGymWrapper
from gymnax.wrappers.purerl import LogWrapper
from scipy import stats

import qjax
from qjax.mdp import arrays as mdp
from qjax.mdp import examples
from qjax.mdp.environment import MDPState, mdp_params

KEY = jax.random.key(0)
CUSTOM = ["SFFHF", "FHFFF", "FFFFG"]
MAPS = [{"map_name": "4x4"}, {"map_name": "8x8"}, {"desc": CUSTOM}]
TABLES = [
    *[("FrozenLake-v1", {**tiles, "is_slippery": slippery}) for tiles in MAPS for slippery in (False, True)],
    ("FrozenLake-v1", {"success_rate": 0.8, "reward_schedule": (10, -5, -1)}),
    ("CliffWalking-v1", {}),
    ("CliffWalkingSlippery-v1", {}),
    ("Taxi-v4", {}),
    ("Taxi-v4", {"is_rainy": True}),
]


def assert_outcome_for_outcome(model, reference):
    """Check all of a table, in order; what is padded has probability 0."""
    table = reference.unwrapped.P
    states, actions, outcomes = model.successor.shape
    assert (len(table), len(table[0])) == (states, actions)
    successor, probability, reward, terminated, start = map(np.asarray, model)
    for s, a in np.ndindex(states, actions):
        for k in range(outcomes):
            if k < len(table[s][a]):
                p, after, earned, ends = table[s][a][k]
                found = (successor[s, a, k], reward[s, a, k], terminated[s, a, k])
                assert found == (after, np.float32(earned), ends), (s, a, k)
                assert probability[s, a, k] == np.float32(p)
            else:
                assert probability[s, a, k] == 0
    assert outcomes == max(len(listed) for row in table.values() for listed in row.values())
    np.testing.assert_array_equal(start, np.float32(reference.unwrapped.initial_state_distrib))


# Sources -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "kwargs"), TABLES)
def test_gymnasiums_tables_outcome_for_outcome(name, kwargs):
    reference = gymnasium.make(name, **kwargs)
    assert_outcome_for_outcome(examples.from_gymnasium(reference), reference)


@pytest.mark.parametrize("tiles", MAPS)
@pytest.mark.parametrize("slippery", [False, True])
def test_gymnaxs_lake_is_gymnasiums_outcome_for_outcome(tiles, slippery):
    env = qjax.make("FrozenLake-v1", is_slippery=slippery, **tiles)
    model = examples.frozen_lake(env)
    reference = gymnasium.make("FrozenLake-v1", is_slippery=slippery, **tiles)
    table = reference.unwrapped.P
    letters = reference.unwrapped.desc.reshape(-1)
    for s, a in np.ndindex(model.successor.shape[:2]):
        if letters[s] in b"HG":  # gymnasium lists one outcome of a state that has ended, ours as many as elsewhere
            table[s][a] = [(float(p), *table[s][a][0][1:]) for p in model.probability[s, a]]
    assert_outcome_for_outcome(
        model,
        SimpleNamespace(
            unwrapped=SimpleNamespace(
                P={
                    s: {a: [(np.float32(p), *rest) for p, *rest in listed] for a, listed in row.items()}
                    for s, row in table.items()
                },
                initial_state_distrib=reference.unwrapped.initial_state_distrib,
            )
        ),
    )


def test_names_make_environments_with_gymnasiums_limits():
    taxi = qjax.make("Taxi-v4", is_rainy=True, reward_noise=0.5)
    assert (taxi.num_states, taxi.num_actions, taxi.max_steps, taxi.obs_spec.shape) == (500, 6, 200, ())
    assert taxi.params.mdp.successor.shape == (500, 6, 3)
    assert taxi.params.reward_noise == 0.5
    assert qjax.make("CliffWalking-v1").max_steps is None
    assert qjax.make("CliffWalking-v1", max_steps_in_episode=100).max_steps == 100
    with pytest.raises(ValueError, match="did you mean CliffWalking-v1"):
        qjax.make("CliffWalkin-v1")


def test_garnet_is_what_the_papers_say():
    many = jax.vmap(lambda key: examples.garnet(key, 30, 4, 5, 0.2))(jax.random.split(KEY, 20))
    for i in range(20):
        mdp.from_outcomes(*jax.tree.map(lambda x, i=i: x[i], many))  # passes the checks
    assert many.successor.shape == (20, 30, 4, 5)
    successor = np.sort(many.successor, -1)
    assert (np.diff(successor) > 0).all()  # without replacement
    # Each state is as likely as any other; K of S without replacement makes counts less spread than chi-square's.
    counts = np.bincount(successor.ravel(), minlength=30)
    assert stats.chisquare(counts).pvalue > 1e-3
    # The largest of five parts of the unit interval is (1 + 1/2 + ... + 1/5) / 5 = 0.457 on average.
    assert float(many.probability.max(-1).mean()) == pytest.approx(0.4567, abs=0.01)
    assert stats.kstest(np.asarray(many.reward[..., 0]).ravel(), "norm").pvalue > 1e-3
    assert (many.reward == many.reward[..., :1]).all()
    assert float(many.terminated.mean()) == pytest.approx(0.2, abs=0.02)
    assert (many.start == np.float32(1 / 30)).all()
    # As many successors as there are states; and no termination by default.
    full = examples.garnet(KEY, 3, 1, 3)
    assert np.sort(full.successor).tolist() == [[[0, 1, 2]]] * 3
    assert not full.terminated.any()


# The environment ------------------------------------------------------------------------------------------------


def stepped(env, states, actions, seed=0, params=None):
    """One step of an environment from each state, without reset."""
    params = env.default_params if params is None else params
    keys = jax.random.split(jax.random.key(seed), len(states))
    at = MDPState(jnp.asarray(states, jnp.int32), jnp.zeros(len(states), jnp.int32))
    return jax.jit(jax.vmap(env.step, in_axes=(0, 0, 0, None)))(keys, at, jnp.asarray(actions), params)


@pytest.mark.parametrize("name", ["CliffWalking-v1", "Taxi-v4"])
def test_a_thousand_transitions_are_gymnasiums(name):
    env, reference = examples.toy_text(name), gymnasium.make(name, disable_env_checker=True)
    rng = np.random.default_rng(0)
    allowed = np.flatnonzero(mdp.reachable(env.default_params.mdp))
    states, actions = rng.choice(allowed, 1000), rng.integers(env.num_actions, size=1000)
    _, after, reward, terminated, truncated, info = stepped(env, states, actions)
    reference.reset()
    for i, (s, a) in enumerate(zip(states, actions, strict=True)):
        reference.unwrapped.s = int(s)
        obs, earned, ends, _, _ = reference.unwrapped.step(int(a))
        assert (info["final_observation"][i], reward[i], terminated[i]) == (obs, earned, ends)
    assert not truncated.any()
    # Some ended, and then started again where gymnasium starts.
    assert terminated.any() and not terminated.all()
    assert (reference.unwrapped.initial_state_distrib[np.asarray(after.position)[terminated]] > 0).all()
    assert (after.time == ~terminated).all()


@pytest.mark.parametrize(("name", "s", "a"), [("FrozenLake-v1", 6, 1), ("Taxi-v4", 268, 0)])
def test_outcomes_have_their_frequencies(name, s, a):
    kwargs = {"is_rainy": True} if name == "Taxi-v4" else {"success_rate": 0.5}
    env, draws = examples.toy_text(name, **kwargs), 4000
    final = np.asarray(stepped(env, [s] * draws, [a] * draws)[-1]["final_observation"])
    expected = {}
    for p, after, *_ in gymnasium.make(name, **kwargs).unwrapped.P[s][a]:
        expected[after] = expected.get(after, 0) + p
    assert len(expected) == 3
    observed = [(final == after).sum() for after in expected]
    assert sum(observed) == draws
    assert stats.chisquare(observed, [p * draws for p in expected.values()]).pvalue > 1e-3


def test_episodes_start_as_the_distribution_says():
    env = examples.toy_text("Taxi-v4")
    obs, state = jax.vmap(env.reset)(jax.random.split(KEY, 30_000))
    np.testing.assert_array_equal(obs, state.position)
    start = np.asarray(env.default_params.mdp.start)
    observed = np.bincount(obs, minlength=500)
    assert observed[start == 0].sum() == 0
    assert stats.chisquare(observed[start > 0]).pvalue > 1e-3


def chain(length=4):
    """Action 0 goes on, and pays where it stands; the last step terminates. Action 1 stays."""
    here = np.arange(length)
    successor = np.stack([np.minimum(here + 1, length - 1), here], 1)[..., None]
    terminated = np.stack([here == length - 1, np.zeros(length, bool)], 1)[..., None]
    reward = np.stack([here, -np.ones(length)], 1)[..., None]
    return mdp.from_outcomes(successor, np.ones(successor.shape), reward, terminated, np.eye(length)[0])


def test_a_time_limit_truncates_with_the_true_final_observation():
    env = qjax.make(qjax.MDPEnvironment(chain(), max_steps=2, name="chain"))
    assert (env.name, env.max_steps) == ("chain", 2)
    _, state = env.reset(KEY)
    one = env.step(KEY, state, 0)
    two = env.step(KEY, one.state, 0)
    assert (int(one.obs), bool(one.truncated), bool(two.truncated), bool(two.terminated)) == (1, False, True, False)
    assert (int(two.final_obs), int(two.obs), int(two.state.time)) == (2, 0, 0)
    # An end at the limit is both, as gymnasium has it.
    both = env.step(KEY, MDPState(jnp.int32(3), jnp.int32(1)), 0)
    assert bool(both.terminated) and bool(both.truncated)
    endless = qjax.make(qjax.MDPEnvironment(chain()))
    assert not endless.step(KEY, MDPState(jnp.int32(0), jnp.int32(10**9)), 0).truncated


def test_reward_noise_is_gaussian_and_may_be_swept():
    env = qjax.MDPEnvironment(chain())
    keys = jax.random.split(KEY, 4000)

    def rewards(sigma):
        params = mdp_params(chain(), reward_noise=sigma)
        state = MDPState(jnp.int32(2), jnp.int32(0))
        return jax.vmap(lambda key: env.step(key, state, 0, params)[2])(keys)

    quiet, loud = jax.jit(jax.vmap(rewards))(jnp.array([0.0, 1.5]))
    assert (quiet == 2).all()
    assert stats.kstest((np.asarray(loud) - 2) / 1.5, "norm").pvalue > 1e-3
    # The noise is independent of the outcome.
    p = np.full((1, 1, 2), 0.5)
    coin = mdp.from_outcomes(np.zeros(p.shape, int), p, np.zeros(p.shape), np.array([[[True, False]]]), np.ones(1))
    env = qjax.MDPEnvironment(coin, reward_noise=1.0)
    _, _, noise, heads, *_ = stepped(env, np.zeros(4000), np.zeros(4000, int))
    assert 1800 < heads.sum() < 2200
    assert stats.ks_2samp(np.asarray(noise)[heads], np.asarray(noise)[~np.asarray(heads)]).pvalue > 1e-3


def test_it_speaks_gymnaxs_interface():
    env = examples.toy_text("FrozenLake-v1")
    params = env.default_params.replace(max_steps_in_episode=7)
    assert isinstance(env.action_space(params), spaces.Discrete)
    assert (env.action_space().n, env.observation_space(params).n, env.num_actions) == (4, 16, 4)

    # gymnax's own wrappers, jitted and scanned.
    logged = LogWrapper(env)
    keys = jax.random.split(KEY, 200)

    def body(state, key):
        obs, state, *_ = logged.step(key, state, env.action_space(params).sample(key), params)
        return state, (obs, state.returned_episode_lengths)

    _, state = logged.reset(KEY, params)
    _, (obs, lengths) = jax.jit(lambda state: jax.lax.scan(body, state, keys))(state)
    assert 0 < int(lengths.max()) <= 7
    assert (obs == 0).any() and (obs > 0).any()
    played = GymnaxToGymWrapper(env, params, seed=0)
    first, _ = played.reset()
    assert first == 0 and played.observation_space.contains(np.int64(first))
    assert played.step(1)[0] in (0, 1, 4)


def test_many_mdps_are_one_program():
    models = jax.vmap(lambda key: examples.garnet(key, 8, 2, 3))(jax.random.split(KEY, 5))
    params = jax.vmap(mdp_params)(models)
    one = jax.tree.map(lambda x: x[0], models)
    env = qjax.MDPEnvironment(one)

    def play(params):
        made = qjax.make(env, params)

        def body(state, key):
            step = made.step(key, state, 1)
            return step.state, (step.obs, step.reward)

        return jax.lax.scan(body, made.reset(KEY)[1], jax.random.split(KEY, 20))[1]

    obs, reward = jax.jit(jax.vmap(play))(params)
    one_program = jax.jit(play)
    for i in range(5):
        alone = mdp_params(jax.tree.map(lambda x, i=i: x[i], models))
        found = one_program(alone)
        np.testing.assert_array_equal(obs[i], found[0])
        np.testing.assert_array_equal(reward[i], found[1])
    assert len(set(map(float, reward[:, 0]))) == 5


def test_a_step_reads_rows_and_not_the_arrays():
    # With a million states in the program's arguments, its own work and memory stay those of one row.
    shape = (1_000_000, 2, 3)
    like = lambda dtype, *shape: jax.ShapeDtypeStruct(shape, dtype)
    model = mdp.TabularMDP(
        like(jnp.int32, *shape),
        like(jnp.float32, *shape),
        like(jnp.float32, *shape),
        like(bool, *shape),
        like(jnp.float32, shape[0]),
    )
    env = qjax.MDPEnvironment(chain(), max_steps=5, reward_noise=0.1)
    params = jax.eval_shape(lambda m: mdp_params(m, 5, 0.1), model)
    state = MDPState(like(jnp.int32), like(jnp.int32))
    key = jax.eval_shape(lambda: jax.random.key(0))
    compiled = jax.jit(env.step).lower(key, state, like(jnp.int32), params).compile(FUSED)
    assert compiled.memory_analysis().temp_size_in_bytes < 10_000
    assert compiled.cost_analysis()["flops"] < 10_000


def test_q_learning_runs_on_it():
    env = qjax.make(qjax.MDPEnvironment(chain(), max_steps=10))
    loop = qjax.make_loop(env, qjax.tabular(4, 2, 0.5), qjax.uniform, qjax.online(), gamma=0.5)
    lane = jax.jit(loop.run, static_argnums=2)(loop.init(KEY), qjax.clock.at(0), 2000)
    # From the end: 3; 2 + 3/2; 1 + 3.5/2; 0 + 2.75/2. Staying pays -1 and half of the best.
    best = np.array([1.375, 2.75, 3.5, 3.0])
    np.testing.assert_allclose(lane.agent, np.stack([best, best / 2 - 1], 1), atol=1e-3)


# Bad input --------------------------------------------------------------------------------------------------------


def test_environments_without_a_table():
    with pytest.raises(TypeError, match="CartPoleEnv has no table"):
        examples.from_gymnasium(gymnasium.make("CartPole-v1"))
    with pytest.raises(TypeError, match="BlackjackEnv has no table"):
        examples.toy_text("Blackjack-v1")
    with pytest.raises(ValueError, match="fickle passenger is not in its table"):
        examples.from_gymnasium(gymnasium.make("Taxi-v4", fickle_passenger=True))
    with pytest.raises(TypeError, match="CartPole-v1 is not a FrozenLake"):
        examples.frozen_lake(qjax.make("CartPole-v1"))
    with pytest.raises(TypeError, match="wet"):
        qjax.make("Taxi-v4", wet=True)


@pytest.mark.parametrize(
    ("desc", "message"),
    [
        (["SFF", "FFH"], "the map has no goal, a tile G: SFF FFH"),
        (["SFH", "FHG"], "no path from the start at row 0, column 0 to a goal: SFH FHG"),
        (["FFG"], "the map has no start, a tile S: FFG"),
        (["SXG"], "the map has tiles X beside S, F, H and G: SXG"),
        (["SF", "G"], "a map is a rectangle of tiles, got SF G"),
        ([], "a map is a rectangle of tiles, got nothing"),
    ],
)
def test_maps_without_a_goal_or_a_path(desc, message):
    for make in (examples.toy_text, qjax.make):
        with pytest.raises(ValueError, match=message):
            make("FrozenLake-v1", desc=desc)


def test_a_map_that_comes_in_an_environment():
    with pytest.raises(ValueError, match="no path from the start at row 0, column 0 to a goal: SHG"):
        examples.frozen_lake(qjax.make(FrozenLake(desc=["SHG"])))
    with pytest.raises(ValueError, match="the map has no goal, a tile G: SFH"):
        examples.from_gymnasium(gymnasium.make("FrozenLake-v1", desc=["SFH"]))


def test_the_mdp_of_an_environment():
    lake, taxi = qjax.make("FrozenLake-v1"), qjax.make("Taxi-v4")
    jax.tree.map(np.testing.assert_array_equal, examples.from_env(lake), examples.frozen_lake(lake))
    assert examples.from_env(taxi) is taxi.params.mdp
    with pytest.raises(TypeError, match="the MDP of CartPole-v1 is not known"):
        examples.from_env(qjax.make("CartPole-v1"))


def test_a_map_with_two_starts_needs_both_paths():
    with pytest.raises(ValueError, match="start at row 0, column 3"):
        examples.toy_text("FrozenLake-v1", desc=["SFHS", "FGHH"])
    model = examples.toy_text("FrozenLake-v1", desc=["SFFS", "FGHH"]).default_params.mdp
    assert model.start.tolist() == [0.5, 0, 0, 0.5, 0, 0, 0, 0]


def test_without_gymnasium_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    with pytest.raises(ImportError, match="Taxi-v4 is read from gymnasium's own table: pip install gymnasium"):
        examples.toy_text("Taxi-v4")


def test_tables_are_checked():
    with pytest.raises(ValueError, match=r"sum to 1, got 0.5 at state 1, action 0"):
        examples.from_table({0: {0: [(1.0, 1, 0, False)]}, 1: {0: [(0.5, 1, 0, True)]}}, [1, 0])
    with pytest.raises(ValueError, match=r"actions 0 to 0, got state 1 with actions \[1\]"):
        examples.from_table({0: {0: [(1.0, 1, 0, False)]}, 1: {1: [(1.0, 1, 0, True)]}}, [1, 0])
    with pytest.raises(ValueError, match=r"states must be 0 to 1 .*got state 2"):
        examples.from_table({0: {0: [(1.0, 1, 0, False)]}, 2: {0: [(1.0, 1, 0, True)]}}, [1, 0])
    with pytest.raises(ValueError, match=r"probability must have a shape \[S, A, K\], got \[0, 0, 0\]"):
        examples.from_table({}, [1])


def test_bad_sizes_limits_and_noise():
    with pytest.raises(ValueError, match="branching 5 exceeds the 4 states"):
        examples.garnet(KEY, 4, 2, 5)
    with pytest.raises(ValueError, match=r"termination must lie in \[0, 1\], got 2"):
        examples.garnet(KEY, 4, 2, 2, termination=2)
    with pytest.raises(ValueError, match=r"max_steps must lie in \[1, 2147483647\], got 0"):
        qjax.MDPEnvironment(chain(), max_steps=0)
    with pytest.raises(ValueError, match="reward_noise must lie in"):
        qjax.MDPEnvironment(chain(), reward_noise=-1.0)


# Where it is hard to find what pays ---------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 5])
def test_deep_sea_is_gymnaxs(size):
    env = qjax.make("DeepSea-bsuite", size=size)
    mdp = qjax.mdp.deep_sea(size)
    for actions in itertools.product((0, 1), repeat=size):
        state, position = env.reset(jax.random.key(0))[1], 0
        for action in actions:
            out = env.step(jax.random.key(0), state, jnp.int32(action))
            assert np.isclose(mdp.reward[position, action, 0], out.reward)
            assert mdp.terminated[position, action, 0] == out.terminated
            state, position = out.state, int(mdp.successor[position, action, 0])
            assert out.terminated or out.final_obs.ravel()[position] == 1
        assert out.terminated


def test_deep_sea_has_the_actions_that_are_given():
    mdp = qjax.mdp.deep_sea(3, right=np.ones((3, 3)))
    table = qjax.mdp.solve.value_iteration(mdp, 1.0)
    assert np.isclose(table[0].max(), 0.99) and table[0].argmax() == 1
    with pytest.raises(ValueError, match="3 x 3 cells"):
        qjax.mdp.deep_sea(3, right=np.ones((2, 3)))
    with pytest.raises(ValueError, match="size must"):
        qjax.mdp.deep_sea(0)


def test_river_swim_is_the_papers():
    """Rows of Strehl and Littman 2008, figure 2: probabilities of left, here, right; and what pays."""
    mdp = qjax.mdp.river_swim()
    dense = np.zeros((6, 2, 6))
    for s, a in itertools.product(range(6), range(2)):
        np.add.at(dense[s, a], np.asarray(mdp.successor[s, a]), np.asarray(mdp.probability[s, a]))
    assert np.allclose(dense[0], [[1, 0, 0, 0, 0, 0], [0.7, 0.3, 0, 0, 0, 0]])
    assert np.allclose(dense[3], [[0, 0, 1, 0, 0, 0], [0, 0, 0.1, 0.6, 0.3, 0]])
    assert np.allclose(dense[5], [[0, 0, 0, 0, 1, 0], [0, 0, 0, 0, 0.7, 0.3]])
    expected = np.asarray((mdp.probability * mdp.reward).sum(-1))
    assert np.allclose(expected, [[5, 0]] + [[0, 0]] * 4 + [[0, 3_000]])
    assert mdp.start.tolist() == [0, 0.5, 0.5, 0, 0, 0] and not mdp.terminated.any()
    with pytest.raises(ValueError, match="length must"):
        qjax.mdp.river_swim(2)
