"""Minus infinity masks an action: everything is as if the other actions were all there are."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import qjax
from qjax.objectives.returns import expected_value
from qjax.types import Batch, Time, Transition

KEY = jax.random.key(3)
START = Time(jnp.float32(0), jnp.int32(0), jnp.float32(0), jnp.int32(0))
ACTIONS, STATES = 5, 4
LEGAL = np.array([1, 2, 4])
MASKED = np.array([0, 3])
SOME = qjax.epsilon_greedy(0.3)
MUNCHAUSEN = qjax.munchausen()

POLICIES = {
    "greedy": qjax.greedy,
    "argmax": qjax.argmax,
    "uniform": qjax.uniform,
    "epsilon-greedy": SOME,
    "epsilon-argmax": qjax.epsilon_greedy(0.3, qjax.argmax),
    "boltzmann": qjax.boltzmann(0.7),
    "cold": qjax.boltzmann(1e-30),
    "hot": qjax.boltzmann(1e30),
}
TARGET_POLICIES = {
    "maximum": qjax.maximum,
    "double": qjax.double,
    "expected": qjax.expected(SOME),
    "boltzmann": qjax.expected(qjax.boltzmann(0.7)),
    "sampled": qjax.sampled(SOME),
    "executed": qjax.action_taken(SOME),
    "munchausen": MUNCHAUSEN["target_policy"],
}
HEADS = {
    "scalar": qjax.scalar(),
    "categorical": qjax.categorical(-3.0, 3.0, 7),
    "quantile": qjax.quantile(),
    "hl-gauss": qjax.hl_gauss(-3.0, 3.0, 7),
}
PAIRS = [
    (head, target_policy)
    for head in HEADS
    for target_policy in (TARGET_POLICIES if head == "scalar" else ("double", "expected"))
]
SHAPES = {"scalar": (), "categorical": (7,), "quantile": (6,), "hl-gauss": (7,)}


def masked(values, axis=0):
    """Return values of the legal actions among those of all, the others minus infinity."""
    shape = list(values.shape)
    shape[axis] = ACTIONS
    out = np.full(shape, -np.inf, np.float32)
    out[(slice(None),) * axis + (LEGAL,)] = values
    return jnp.asarray(out)


def normal(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape).astype(np.float32))


def same(found, expected):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6), found, expected)


def transition(action, next_action, discount=0.9):
    fields = jnp.float32(0), jnp.int32(action), jnp.float32(0.5), jnp.float32(discount), jnp.float32(0)
    return Transition(*fields, jnp.bool_(False), jnp.int32(next_action))


# Policies ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", POLICIES)
def test_policies_share_the_probability_among_the_others(name):
    for seed in range(4):
        q = normal(3, seed=seed).round()  # with ties
        found, alone = POLICIES[name](masked(q), START), POLICIES[name](q, START)
        same(found[LEGAL], alone)
        assert (found[MASKED] == 0).all()


def test_epsilon_is_spread_over_the_others():
    assert SOME(jnp.array([-jnp.inf, 2.0, 1.0]), START).tolist() == pytest.approx([0, 0.85, 0.15])


@pytest.mark.parametrize("name", POLICIES)
def test_where_all_are_masked_a_policy_is_still_a_distribution(name):
    found = POLICIES[name](jnp.full(4, -jnp.inf), START)
    assert found.tolist() == ([1, 0, 0, 0] if name == "argmax" else pytest.approx([1 / 4] * 4)) or "argmax" in name
    assert float(found.sum()) == pytest.approx(1)


def test_boltzmann_is_no_nan_at_any_temperature():
    for temperature in (1.2e-38, 1e-30, 1.0, 1e38, 3e38):
        found = qjax.boltzmann(temperature)(jnp.array([-jnp.inf, 1e30, 5.0]), START)
        assert found[0] == 0 and float(found.sum()) == pytest.approx(1)


# Targets -----------------------------------------------------------------------------------------------------


def test_the_target_of_the_issue():
    numbers = jnp.float32(1), jnp.float32(0.9), jnp.array([-jnp.inf, 2.0])
    for weights in (jnp.array([0.0, 1.0]), jnp.array([False, True])):
        assert float(qjax.td_target(*numbers, weights)) == pytest.approx(2.8)


@pytest.mark.parametrize(("head", "target_policy"), PAIRS)
def test_targets_and_losses_are_those_of_the_others_alone(head, target_policy):
    def computed(action, next_action, out, online_out, next_out):
        row, made = transition(action, next_action), HEADS[head]
        online, evaluated = made.q(online_out), made.q(next_out)
        weights = TARGET_POLICIES[target_policy](KEY, row, online, evaluated, START)
        reward = MUNCHAUSEN["reward"](row, made.q(out), evaluated, weights, START)
        y = made.target(reward, row.discount, next_out, weights)
        loss, slope = jax.value_and_grad(lambda out: made.loss(out, row.action, y)[0])(out)
        return loss, slope, made.loss(out, row.action, y)[1]

    for seed in range(2):
        outs = normal(3, 3, *SHAPES[head], seed=seed)
        loss, slope, priority = computed(LEGAL[1], LEGAL[2], *map(masked, outs))
        expected_loss, expected_slope, expected_priority = computed(1, 2, *outs)
        same((loss, slope[LEGAL], priority), (expected_loss, expected_slope, expected_priority))
        assert (slope[MASKED] == 0).all()


@pytest.mark.parametrize(("head", "target_policy"), PAIRS)
def test_a_terminal_successor_may_have_all_actions_masked(head, target_policy):
    made, none = HEADS[head], jnp.full((3, *SHAPES[head]), -jnp.inf)
    row, q = transition(0, -1, discount=0.0), HEADS[head].q(none)
    weights = TARGET_POLICIES[target_policy](KEY, row, q, q, START)
    reward = MUNCHAUSEN["reward"](row, normal(3), q, weights, START)
    assert bool(jnp.isfinite(reward))
    y = made.target(reward, row.discount, none, weights)
    out = normal(3, *SHAPES[head])
    alone = made.target(reward, row.discount, out, jnp.array([True, False, False]))  # a target of the reward alone
    same(made.loss(out, row.action, y), made.loss(out, row.action, alone))


def test_what_is_no_number_still_shows():
    for weights in (jnp.array([0.5, 0.5]), jnp.array([False, True])):
        assert np.isnan(expected_value(weights, jnp.array([0.0, jnp.nan])))
        assert np.isposinf(expected_value(weights, jnp.array([0.0, jnp.inf])))
        assert np.isneginf(qjax.td_target(jnp.float32(0), jnp.float32(0.9), jnp.array([0.0, -jnp.inf]), weights))
    assert np.isnan(expected_value(jnp.array([jnp.nan, jnp.nan]), jnp.array([0.0, 1.0])))
    nan = jnp.array([1.0, jnp.nan])
    assert np.isnan(expected_value(qjax.maximum(KEY, transition(0, 0), nan, nan, START), nan))
    assert np.isnan(expected_value(SOME(nan, START), nan))


def test_lambda_returns_of_a_terminal_successor_without_a_value():
    value = jnp.array([1.0, -jnp.inf, 3.0])
    arguments = jnp.ones(3), jnp.array([0.9, 0.0, 0.9]), jnp.array([False, True, False])
    same(qjax.lambda_returns(*arguments, value, 0.5), qjax.lambda_returns(*arguments, value.at[1].set(0.0), 0.5))


@pytest.mark.parametrize("rate", [1.0, 0.25])
def test_a_table_in_the_place_of_a_network_keeps_its_mask(rate):
    sync = qjax.polyak(rate)
    _, found = sync.step((), jnp.array([-jnp.inf, 2.0]), jnp.array([-jnp.inf, 1.0]), START)
    assert found.tolist() == [-jnp.inf, 1 + rate]


# Tables ------------------------------------------------------------------------------------------------------


def batch(action, following, weight, seed=0):
    """Return random transitions `[T, N]` that take these actions, and these next."""
    rng, shape = np.random.default_rng(seed), action.shape
    obs, next_obs = rng.integers(0, STATES, (2, *shape)).astype(np.int32)
    ended = rng.random(shape) < 0.2
    reward, discount = rng.normal(size=shape).astype(np.float32), np.float32(0.9) * ~ended
    data = Transition(obs, action, reward, discount, next_obs, ended, np.where(ended, -1, following))
    streams = np.arange(shape[1], dtype=np.int32)
    return jax.device_put(Batch(data, weight, streams, streams))


AGENTS = {
    "q-learning": lambda actions, **initial: qjax.tabular(STATES, actions, 0.3, **initial),
    "visits": lambda actions, **initial: qjax.tabular(STATES, actions, qjax.visit_count(0.7), **initial),
    "sarsa": lambda actions, **initial: qjax.tabular(STATES, actions, 0.3, TARGET_POLICIES["executed"], **initial),
    "expected-sarsa": lambda actions, **initial: qjax.tabular(
        STATES, actions, 0.3, TARGET_POLICIES["expected"], **initial
    ),
    "double-q-learning": lambda actions, **initial: qjax.tabular(STATES, actions, 0.3, tables=2, **initial),
    "q-lambda": lambda actions, **initial: qjax.traces(STATES, actions, 0.3, 0.8, **initial),
    "sarsa-lambda": lambda actions, **initial: qjax.traces(
        STATES, actions, 0.3, 0.8, TARGET_POLICIES["executed"], qjax.never_cut, **initial
    ),
}


@pytest.mark.parametrize("name", AGENTS)
def test_tables_learn_as_those_of_the_others_alone(name):
    rng = np.random.default_rng(1)
    action, following = rng.integers(0, 3, (2, 12, 2)).astype(np.int32)
    weight = (rng.random((12, 2)) < 0.7).astype(np.float32)
    initial = normal(STATES, 3)
    alone, whole = AGENTS[name](3, initial=initial), AGENTS[name](ACTIONS, initial=masked(initial, axis=1))
    states = [agent.init(KEY, jnp.zeros(2, jnp.int32)) for agent in (alone, whole)]
    # Rows of weight 0, as a memory has before it is filled, may even hold a masked action.
    taken, then = np.where(weight > 0, LEGAL[action], 0).astype(np.int32), LEGAL[following].astype(np.int32)
    expected, expected_info = jax.jit(alone.learn)(KEY, states[0], batch(action, following, weight), START)
    found, info = jax.jit(whole.learn)(KEY, states[1], batch(taken, then, weight), START)
    for x, y in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        same(x[..., LEGAL], y)
    table = jax.tree.leaves(found)[0]
    assert np.isneginf(table[..., MASKED]).all()
    same([info[k] for k in ("loss", "q")], [expected_info[k] for k in ("loss", "q")])
    assert np.isfinite(info["priority"]).all()


def test_a_loop_never_takes_a_masked_action_and_is_not_flagged():
    lake = qjax.make("FrozenLake-v1", is_slippery=False)
    initial = np.where(np.arange(4) == 0, -np.inf, np.zeros((16, 4))).astype(np.float32)  # 0: never to the left
    config = qjax.algorithms.NStepQ(epsilon=0.5, initial=initial, num_envs=2)
    loop = qjax.algorithms.make("n-step-q", lake, config)
    run = jax.jit(lambda lane: qjax.training.pop_metrics(loop.run(lane, qjax.clock.at(0), 200)))
    lane, report = run(loop.init(KEY))
    table = jax.tree.leaves(lane.agent)[0]
    assert np.isneginf(table[..., 0]).all() and np.isfinite(table[..., 1:]).all()
    assert report["diverged_at"] == 0 and np.isfinite([report["loss"], report["q"]]).all()
    assert report["episodes"] > 20 and (table[..., 1:] > 0).any()


def test_a_masked_table_has_no_error_where_it_is_masked():
    mdp = qjax.mdp.garnet(KEY, states=6, actions=3, branching=2, termination=0.1)
    exact = qjax.solve.exact(mdp, 0.9)
    found = qjax.solve.report(exact, mdp, exact.q.at[:, 1].set(-jnp.inf), 0.9)
    assert found["distance"] == 0 and found["weighted_distance"] == 0 and np.isfinite(found["regret"])


# Networks ----------------------------------------------------------------------------------------------------


def masks(net):
    """Return a network whose output has these actions, the others masked."""
    net = qjax.as_network(net)

    def apply(params, obs, noise):
        out = net.apply(params, obs, noise)
        return jnp.full((ACTIONS, *out.shape[1:]), -jnp.inf).at[LEGAL].set(out)

    return qjax.Network(net.init, apply)


@pytest.mark.parametrize(
    ("head", "target_policy", "algorithm"),
    [
        ("scalar", "munchausen", "dqn"),
        ("categorical", "expected", "dqn"),
        ("quantile", "double", "dqn"),
        ("categorical", "sampled", "pqn"),
    ],
)
def test_networks_learn_as_those_of_the_others_alone(head, target_policy, algorithm):
    shape = SHAPES[head]
    net = qjax.MLP(3, (8,), atoms=shape[0]) if shape else qjax.MLP(3, (8,))
    more = {"reward": MUNCHAUSEN["reward"]} if target_policy == "munchausen" else {}
    made = {"dqn": qjax.dqn, "pqn": lambda *x, **k: qjax.pqn(*x, epochs=2, minibatches=2, **k)}[algorithm]
    agents = [
        made(n, optax.sgd(0.1), head=HEADS[head], target_policy=TARGET_POLICIES[target_policy], **more)
        for n in (net, masks(net))
    ]
    rng = np.random.default_rng(1)
    action, weight = rng.integers(0, 3, (6, 2)).astype(np.int32), (rng.random((6, 2)) < 0.7).astype(np.float32)
    taken = np.where(weight > 0, LEGAL[action], 0).astype(np.int32)
    ends = []
    for agent, actions in zip(agents, (action, taken), strict=True):
        data = batch(actions, actions, weight)
        seen = data.data._replace(obs=normal(6, 2, 4, seed=5), next_obs=normal(6, 2, 4, seed=6))
        state = agent.init(KEY, jnp.zeros((2, 4)))
        ends.append(jax.jit(agent.learn)(KEY, state, data._replace(data=seen), START))
    (expected, expected_info), (found, info) = ends
    same(found.params, expected.params)
    same(info["loss"], expected_info["loss"])
    assert np.isfinite(info["q"]) and np.isfinite(info["priority"]).all()
