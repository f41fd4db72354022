"""Legal actions, and observations of several arrays: no illegal action is executed, counted or a NaN."""

from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import probes
import pytest

import qjax
from qjax import algorithms, solve
from qjax.core import clock as clocks
from qjax.envs.encoding import encoder
from qjax.envs.legal import among_legal
from qjax.exploration.policies import as_stateful
from qjax.mdp.environment import MDPEnvironment
from qjax.types import Batch

KEY = jax.random.key(3)
START = qjax.Time(jnp.float32(0), jnp.int32(0), jnp.float32(0), jnp.int32(0))
STATES = 6


class Seen(NamedTuple):
    at: Any
    image: Any
    mask: Any


class Line:
    """Six states in a row: 0 goes right, 1 left but for the first, 2 is never legal; what is not pays 100."""

    name, default_params, num_actions = "Line", None, 3

    def _mask(self, at):
        return jnp.stack([jnp.bool_(True), at > 0, jnp.bool_(False)])

    def _seen(self, at):
        return Seen(jax.nn.one_hot(at, STATES), jnp.full((4, 4, 1), at, jnp.uint8), self._mask(at))

    def legal(self, obs):
        return obs.mask

    def reset(self, key, params):
        return self._seen(jnp.int32(0)), jnp.int32(0)

    def step(self, key, state, action, params):
        after = state + jnp.where(action == 0, 1, -1)
        ended, reward = after >= STATES - 1, jnp.where(self._mask(state)[action], -0.1, 100.0)
        new = jnp.where(ended, 0, after)
        info = {"final_observation": self._seen(after)}
        return self._seen(new), new, jnp.where(ended, 1.0, reward), ended, jnp.bool_(False), info

    def action_space(self, params):
        return probes.SimpleNamespace(n=3)

    def observation_space(self, params):
        return None


SMALL = {"hidden": (8,), "steps": 1500, "capacity": 64, "batch_size": 8, "warmup": 20, "num_envs": 2,
         "target_period": 20}  # fmt: skip
CONSTANTS = {
    "dqn": SMALL, "munchausen-dqn": SMALL, "iqn": SMALL, "prioritized-dqn": SMALL,
    "averaged-dqn": SMALL, "maxmin-dqn": SMALL,
    "c51": {**SMALL, "support": (-3.0, 1.0)}, "qr-dqn": {**SMALL, "quantiles": 8},
    "pqn": {"hidden": (8,), "steps": 1500, "rollout": 8},
}  # fmt: skip


@pytest.mark.parametrize("name", CONSTANTS)
def test_no_illegal_action_is_executed_or_counted(name):
    """100 for an illegal action would show in returns, in values and in what a greedy agent earns."""
    loop = algorithms.make(name, qjax.make(Line()), algorithms.config(name, **CONSTANTS[name]))
    lane = jax.jit(lambda key: loop.run(loop.init(key), clocks.at(0), 40))(jax.random.key(0))
    _, report = qjax.training.pop_metrics(lane)
    assert report["episodes"] > 0 and float(report["returns"]) < float(report["episodes"])
    assert float(report["diverged_at"]) == 0
    for at in range(STATES - 1):
        q = loop.agent.values(None, lane.agent, loop.env.unwrapped._seen(jnp.int32(at)))
        assert np.isneginf(q[2]) and np.isneginf(q[1]) == (at == 0) and np.isfinite(q[0]) and q[0] < 5
    played = qjax.evaluate(loop.env, loop.agent, lane.agent, jax.random.key(1), 4, qjax.uniform, max_steps=200)
    assert (np.asarray(played.returns) < 1).all()


@pytest.mark.parametrize("always", [False, True])
def test_no_illegal_action_is_repeated(always):
    """In the first state action 1 has become illegal, wherever it was drawn; a policy may name it all the same."""
    parts = algorithms.parts("dqn", qjax.make(Line()), algorithms.config("dqn", **SMALL))
    repeats = qjax.epsilon_z_greedy(1.0, 1.01)
    if always:
        repeats = qjax.StatefulPolicy(lambda key: (), lambda key, state, q, time: (jnp.eye(3)[1], state))
    loop = qjax.make_loop(qjax.make(Line()), **parts._replace(policy=repeats)._asdict(), gamma=0.9)
    lane = jax.jit(lambda key: loop.run(loop.init(key), clocks.at(0), 400, learning=False))(jax.random.key(0))
    returns = np.append(lane.episode_return, qjax.training.pop_metrics(lane)[1]["returns"])
    assert (returns < 100).all() and (always or lane.episodes > 4)


def decided(env, policy, obs, q):
    """Return the probabilities with which a policy acts in an environment."""
    return among_legal(env, as_stateful("policy", policy))(obs, None, (), q, START)[0]


@pytest.mark.parametrize("policy", [qjax.uniform, qjax.epsilon_greedy(1.0), qjax.epsilon_greedy(0.5), qjax.argmax])
def test_random_actions_are_shared_among_the_legal_ones(policy):
    env = qjax.make(Line())
    for at, legal in ((0, [1, 0, 0]), (2, [1, 1, 0])):
        found = decided(env, policy, env.unwrapped._seen(jnp.int32(at)), jnp.array([0.0, 0.0, 9.0]))
        assert not found[~np.array(legal, bool)].any() and float(found.sum()) == pytest.approx(1)


def test_a_policy_that_looks_at_no_values_takes_no_illegal_action_either():
    env, always = qjax.make(Line()), lambda q, time: jnp.array([0.0, 0.3, 0.7])
    seen = env.unwrapped._seen
    np.testing.assert_allclose(decided(env, always, seen(jnp.int32(2)), jnp.zeros(3)), [0, 1, 0])
    np.testing.assert_allclose(decided(env, always, seen(jnp.int32(0)), jnp.zeros(3)), [1, 0, 0])


def test_environments_without_illegal_actions_run_the_policy_itself():
    env = qjax.make("CartPole-v1")
    assert env.legal is None and "select" not in str(
        jax.make_jaxpr(lambda q: decided(env, lambda q, time: q, 0, q))(jnp.zeros(2))
    )


class FloatLine(Line):
    """A line whose observation is one vector of floats, the mask among them."""

    def _seen(self, at):
        return jnp.concatenate([jnp.ravel(x).astype(jnp.float32) for x in super()._seen(at)])

    def legal(self, obs):
        return obs[-3:] > 0


@pytest.mark.parametrize("name", ["dqn", "pqn"])
def test_masks_among_normalised_floats_are_read_from_what_the_environment_gave(name):
    env = qjax.make(FloatLine())
    loop = algorithms.make(name, env, algorithms.config(name, **CONSTANTS[name]), normalize=["observations"])
    lane = jax.jit(lambda key: loop.run(loop.init(key), clocks.at(0), 40))(jax.random.key(0))
    _, report = qjax.training.pop_metrics(lane)
    assert float(report["returns"]) < float(report["episodes"]) and float(report["diverged_at"]) == 0
    for at in range(STATES - 1):
        q = loop.agent.values(None, lane.agent, env.unwrapped._seen(jnp.int32(at)))
        assert np.isneginf(q[2]) and np.isneginf(q[1]) == (at == 0) and np.isfinite(q[0]) and q[0] < 5


@pytest.mark.parametrize("name", ["dqn", "pqn"])
def test_masks_of_recurrent_networks_are_read_from_what_the_environment_gave(name):
    """Where they act, where they learn, and of successors: an illegal action is worth 1000 to the network."""
    env = qjax.make(FloatLine())
    head = qjax.MLP(3, (8,))
    tempting = probes.SimpleNamespace(
        init=head.init, apply=lambda params, y: head.apply(params, y) + jnp.array([0.0, 0.0, 1e3])
    )
    net = qjax.recurrent(nn.GRUCell(4), tempting)
    net = qjax.masked(qjax.encoded(net, env.encode), env.legal)
    recurrent = {"dqn": qjax.recurrent_dqn, "pqn": partial(qjax.recurrent_pqn, minibatches=1)}[name]
    agent = qjax.normalized(recurrent(net, optax.adam(1e-3)), rewards=True)
    memory = qjax.sequences(64, 4, length=8, burn_in=2) if name == "dqn" else qjax.online()
    loop = qjax.make_loop(env, agent, qjax.epsilon_greedy(0.5), memory, gamma=0.9, num_envs=2, rollout=4, warmup=3)
    lane = jax.jit(lambda key: loop.run(loop.init(key), clocks.at(0), 60))(jax.random.key(0))
    _, report = qjax.training.pop_metrics(lane)
    assert report["episodes"] > 0 and float(report["returns"]) < float(report["episodes"])
    assert float(report["diverged_at"]) == 0 and float(report["loss"]) < 100 * float(report["updates"])
    carry = agent.begin(KEY, lane.agent)
    for at in range(STATES - 1):
        q, carry = agent.act(None, lane.agent, carry, env.unwrapped._seen(jnp.int32(at)))
        assert np.isfinite(q).tolist() == [True, at > 0, False]
    # Statistics under which no entry of the mask keeps its sign.
    seen = lane.agent.observations._replace(mean=[jnp.full(STATES + 16 + 3, 2.0)])
    q, _ = agent.act(None, lane.agent._replace(observations=seen), carry, env.unwrapped._seen(jnp.int32(1)))
    assert np.isfinite(q).tolist() == [True, True, False]


# ---- states without a legal action

DEEP = {
    "maximum": ({}, {}),
    "double": ({"target_policy": qjax.double}, {}),
    "expected": ({"target_policy": qjax.expected(qjax.epsilon_greedy(0.3))}, {}),
    "munchausen": (qjax.munchausen(), {}),
    "c51": ({"head": qjax.categorical(-2.0, 2.0, 7)}, {"atoms": 7}),
    "c51-expected": (
        {"head": qjax.categorical(-2.0, 2.0, 7), "target_policy": qjax.expected(qjax.uniform)},
        {"atoms": 7},
    ),
    "quantile": ({"head": qjax.quantile()}, {"atoms": 5}),
}


@pytest.mark.parametrize("name", DEEP)
def test_where_no_action_is_legal_all_count_and_none_does_after_an_end(name):
    """Of four transitions one ends its episode; what is learned is what a network without a mask there learns."""
    options, shape = DEEP[name]
    draw = np.random.default_rng(0)
    obs, after = (draw.normal(size=(1, 4, 2)).astype(np.float32) for _ in range(2))
    after_end = after.copy()
    after_end[0, 0] = 7  # where the episode has ended it does not matter what is observed
    discount = np.array([[0, 0.9, 0.9, 0.9]], np.float32)

    def learned(masks, next_obs):
        seen = [jnp.concatenate([x, m], -1) for x, m in zip((obs, next_obs), masks, strict=True)]
        net = qjax.encoded(qjax.MLP(3, (8,), **shape), lambda obs: obs[:2])
        agent = qjax.dqn(qjax.masked(net, lambda obs: obs[2:] > 0), optax.sgd(0.1), **options)
        data = qjax.Transition(
            seen[0], jnp.zeros((1, 4), jnp.int32), jnp.ones((1, 4)), discount, seen[1], discount == 0
        )
        batch = Batch(data, jnp.ones((1, 4)), jnp.arange(4), jnp.arange(4))
        state, info = jax.jit(agent.learn)(KEY, agent.init(KEY, seen[0][0]), batch, START)
        return state.params, info

    every = np.ones((1, 4, 3), np.float32)
    none = every.copy()
    none[0, :3] = 0
    found, info = learned((every, none), after)
    jax.tree.map(np.testing.assert_array_equal, (found, info), learned((every, every), after_end))
    assert all(np.isfinite(x).all() for x in jax.tree.leaves((found, info)))


class DeadEnd(Line):
    """A line whose observation is the place; nothing is legal in the middle, nor after the end."""

    def _seen(self, at):
        return at

    def _mask(self, at):
        return super()._mask(at) & (at != 2) & (at != STATES - 1)

    def legal(self, obs):
        return self._mask(obs)

    def step(self, key, state, action, params):
        obs, new, _, *others = super().step(key, state, action, params)
        return obs, new, jnp.where(others[0], 1.0, -0.1), *others

    def observation_space(self, params):
        return probes.SimpleNamespace(n=STATES)


@pytest.mark.parametrize("name", ["q-learning", "sarsa", "expected-sarsa", "double-q-learning", "q-lambda", "dqn"])
def test_a_lane_comes_through_a_state_without_a_legal_action(name):
    env = qjax.make(DeadEnd())
    constants = SMALL if name == "dqn" else {"epsilon": 0.3, "alpha": 0.5, "steps": None}
    loop = algorithms.make(name, env, algorithms.config(name, **constants))
    lane = jax.jit(lambda key: loop.run(loop.init(key), clocks.at(0), 300))(jax.random.key(0))
    _, report = qjax.training.pop_metrics(lane)
    assert report["episodes"] > 0 and float(report["diverged_at"]) == 0 and np.isfinite(report["loss"])
    q = jax.vmap(lambda at: loop.agent.values(None, lane.agent, at))(jnp.arange(STATES))
    assert np.isfinite(q[2]).all() and np.isfinite(q[1]).tolist() == [True, True, False]
    assert any("no action is legal" in error for error in qjax.check_env(env, steps=200).errors)


# ---- tables


def chain(right_pays=1.0):
    """Four states in a row; action 1 pays 5 everywhere and stays, where it is legal."""
    successor = np.array([[[1], [0]], [[2], [1]], [[3], [2]], [[3], [3]]])
    reward = np.array([[[0.0], [5.0]]] * 2 + [[[right_pays], [5.0]]] * 2)
    ended = successor == 3
    return qjax.mdp.from_outcomes(successor, np.ones((4, 2, 1)), reward, ended, [1.0, 0, 0, 0])


LEGAL = np.array([[True, False]] * 4)


@pytest.mark.parametrize("name", algorithms.TABULAR)
def test_tables_come_to_the_values_of_the_legal_actions_alone(name):
    env = qjax.make(MDPEnvironment(chain(), max_steps=20, legal=LEGAL))
    constants = {"epsilon": 0.3, "alpha": 0.5, "gamma": 0.9, "steps": None}
    loop = algorithms.make(name, env, algorithms.config(name, **constants))
    result = qjax.sweep(lambda _: loop, seeds=2, steps=1000, log_points=1)
    table = jax.tree.leaves(result.agents)[0].reshape(2, -1, 4, 2).mean(1)
    assert np.isneginf(table[:, :, 1]).all()
    np.testing.assert_allclose(table[:, :3, 0], [[0.81, 0.9, 1.0]] * 2, atol=0.02)
    assert result.points[-1].mean_return.tolist() == [1, 1]


def test_a_legal_chain_without_its_illegal_actions_has_these_values():
    alone = jax.tree.map(lambda x: x[:, :1] if x.ndim == 3 else x, chain())
    np.testing.assert_allclose(solve.policy_iteration(alone, 0.9).max(-1)[:3], [0.81, 0.9, 1.0], rtol=1e-5)


# ---- bad input


def test_an_agent_that_does_not_mask_is_refused():
    env, policy = qjax.make(Line()), qjax.epsilon_greedy(0.1)
    plain = qjax.dqn(qjax.encoded(qjax.MLP(3, (4,)), env.encode), optax.sgd(0.1))
    with pytest.raises(ValueError, match=r"Line has illegal actions.*qjax.masked\(network, env.legal\)"):
        qjax.make_loop(env, plain, policy, qjax.ring(8, 2), gamma=0.9)
    table = qjax.make(MDPEnvironment(chain(), legal=LEGAL))
    with pytest.raises(ValueError, match="legal_table"):
        qjax.make_loop(table, qjax.tabular(4, 2, 0.1), policy, qjax.online(), gamma=0.9)
    initial = jnp.where(qjax.legal_table(table), 0.0, -jnp.inf)
    qjax.make_loop(table, qjax.tabular(4, 2, 0.1, initial=initial), policy, qjax.online(), gamma=0.9)


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        (lambda obs: jnp.ones(2, bool), r"Line: legal\(obs\) must be bool\[3\].*not bool\[2\]"),
        (lambda obs: jnp.ones(3), r"must be bool\[3\].*not float32\[3\]"),
        (lambda obs: (obs.mask, obs.mask), r"must be bool\[3\].*not \(bool\[3\], bool\[3\]\)"),
        (lambda obs: obs.nothing, r"Line: legal\(obs\) fails on "),
    ],
)
def test_masks_of_the_wrong_shape_are_refused(mask, said):
    env = Line()
    env.legal = mask
    with pytest.raises(ValueError, match=said):
        qjax.make(env)


def test_a_state_without_a_legal_action_is_refused():
    legal = LEGAL.copy()
    legal[1] = False
    with pytest.raises(ValueError, match="no action is legal in state 1, which can be reached"):
        MDPEnvironment(chain(), legal=legal)
    legal[0] = [False, True]  # from where state 1 is never reached
    MDPEnvironment(chain(), legal=legal)


# ---- several arrays


def test_observations_keep_their_structure_everywhere():
    env = qjax.make(Line())
    assert env.obs_spec.image == jax.ShapeDtypeStruct((4, 4, 1), jnp.uint8)
    loop = algorithms.make("dqn", env, algorithms.DQN(**SMALL))
    lane = jax.jit(lambda key: loop.run(loop.init(key), clocks.at(0), 20))(jax.random.key(0))
    stored = lane.memory.unpacked()
    assert isinstance(stored.obs, Seen) and stored.obs.mask.dtype == bool and stored.obs.image.dtype == jnp.uint8
    np.testing.assert_array_equal(stored.obs.at.argmax(-1), stored.obs.image[..., 0, 0, 0])
    from qjax.training.recording import record

    seen = record(env, loop.agent, lane.agent, jax.random.key(2), 2, max_steps=50).observations
    assert isinstance(seen, Seen) and seen.at.shape[1:] == (2, STATES)


def test_parts_of_a_space_are_encoded_each_by_itself():
    discrete, box = probes.SimpleNamespace(n=3), probes.SimpleNamespace(shape=(2,))
    space = probes.SimpleNamespace(spaces={"b": box, "a": discrete})
    spec = {"a": jax.ShapeDtypeStruct((), jnp.int32), "b": jax.ShapeDtypeStruct((2,), jnp.uint8)}
    encode = encoder("X", spec, space)
    found = encode({"a": jnp.int32(2), "b": jnp.array([7, 9], jnp.uint8)})
    assert found["a"].tolist() == [0, 0, 1] and found["b"].tolist() == [7, 9] and found["b"].dtype == jnp.float32
    with pytest.raises(ValueError, match=r"X gives observations \(int32\[\], uint8\[2\]\), got int32\[\]"):
        encode(jnp.int32(2))


def test_a_network_takes_images_through_its_convolution_and_the_rest_beside():
    net = qjax.convolutional(3, (4,), features=2)
    obs = {"image": jnp.ones((5, 5, 1)), "speed": jnp.array([1.0, 2.0])}
    params = net.init(jax.random.key(0), obs)
    kernel = params["params"]["Dense_0"]["kernel"]
    assert kernel.shape[0] == 3 * 3 * 2 + 2 and net.apply(params, obs).shape == (3,)
    with pytest.raises(TypeError, match="a discrete observation is a name"):
        net.init(jax.random.key(0), {"image": obs["image"], "at": jnp.int32(1)})
