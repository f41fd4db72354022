"""Recurrent agents learn, row after row, what acting step by step did, against loops that a reader can follow."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import probes
import pytest
import victim

import qjax
from qjax.agents import recurrent as recurrent_agents
from qjax.agents.recurrent import n_step_rows, recurrent_dqn, recurrent_pqn, sequence_priority, unrolled
from qjax.core import clock as clocks
from qjax.sweeps import phases, saving
from qjax.types import Batch, Noise, RecurrentNetwork, Time, Transition

KEY = jax.random.key(7)
TIME = Time(jnp.float32(0), jnp.int32(0), jnp.float32(0), envs=3)
SGD = optax.sgd(0.1)
ROWS, STREAMS, FEATURES, ACTIONS = 7, 3, 4, 2


def network(cell=None, **options):
    return qjax.recurrent(nn.GRUCell(5) if cell is None else cell, qjax.MLP(ACTIONS, (6,), **options))


def rows(seed=0, length=ROWS, streams=STREAMS):
    """Rows with both kinds of endings among them."""
    draw = np.random.default_rng(seed)
    last = draw.random((length, streams)) < 0.35
    terminated = last & (draw.random((length, streams)) < 0.5)
    return jax.device_put(Transition(
        obs=draw.normal(size=(length, streams, FEATURES)).astype(np.float32),
        action=draw.integers(0, ACTIONS, (length, streams)).astype(np.int32),
        reward=draw.normal(size=(length, streams)).astype(np.float32),
        discount=np.where(terminated, 0, 0.9).astype(np.float32),
        next_obs=draw.normal(size=(length, streams, FEATURES)).astype(np.float32),
        last=last,
    ))  # fmt: skip


def batch_of(data, carry, weight=None):
    length, streams = data.reward.shape
    weight = jnp.ones((length, streams)) if weight is None else weight
    return Batch(data, weight, jnp.arange(streams), jnp.arange(streams), carry)


def carries(seed=1, streams=STREAMS):
    return jax.random.normal(jax.random.key(seed), (streams, 5))


def stepped(net, params, carry, data):
    """Outputs at each row and at its true successor, acting step by step: one stream, a Python loop."""
    outs, following = [], []
    for t in range(data.reward.shape[0]):
        out, after = net.apply(params, carry, data.obs[t], None)
        outs.append(out)
        following.append(net.apply(params, after, data.next_obs[t], None)[0])
        carry = net.begin(params) if data.last[t] else after
    return np.stack(outs), np.stack(following)


def one_stream(tree, number):
    return jax.tree.map(lambda x: x[:, number], tree)


# ---- unrolling


@pytest.mark.parametrize("cell", [nn.GRUCell(5), nn.LSTMCell(5), nn.OptimizedLSTMCell(5), nn.SimpleCell(5)])
def test_unrolling_is_acting_step_by_step(cell):
    net, data = network(cell), rows()
    assert (data.last & (data.discount > 0)).any() and (data.last & (data.discount == 0)).any()
    params = net.init(KEY, data.obs[0, 0])
    begun = net.begin(params)
    leaves, structure = jax.tree.flatten(begun)
    keys = jax.random.split(KEY, len(leaves))
    carry = jax.tree.unflatten(
        structure, [jax.random.normal(k, x.shape) for k, x in zip(keys, leaves, strict=True)]
    )
    for number in range(STREAMS):
        own = one_stream(data, number)
        noise = Noise(KEY, jax.random.split(KEY, ROWS))
        hidden = jax.jit(partial(unrolled, net))(params, carry, own, jnp.ones(ROWS, bool), noise)
        found = [jax.vmap(lambda y: net.output(params, y, None))(y) for y in hidden]
        for one, expected in zip(found, stepped(net, params, carry, own), strict=True):
            np.testing.assert_allclose(one, expected, rtol=1e-4, atol=1e-6)


class Averaging(nn.RNNCellBase):
    """A cell that remembers a moving average of what it reads, and so as many numbers."""

    @nn.compact
    def __call__(self, carry, x):
        carry = 0.5 * (carry + x)
        return carry, carry

    def initialize_carry(self, key, input_shape):
        return jnp.zeros(input_shape)


@pytest.mark.parametrize("torso", [None, qjax.MLP(6, ())])
def test_what_a_cell_remembers_may_be_as_wide_as_what_it_reads(torso):
    net = qjax.recurrent(Averaging(), qjax.MLP(ACTIONS, (4,)), torso)
    memory = qjax.sequences(24, 4, 3)
    env, agent = qjax.make("CartPole-v1"), recurrent_dqn(net, SGD)
    loop = qjax.make_loop(env, agent, qjax.uniform, memory, gamma=0.9, num_envs=2, warmup=6)
    lane = jax.jit(lambda key: loop.run(loop.run(loop.init(key), clocks.at(0), 6, False), clocks.at(6), 2))(KEY)
    width = 4 if torso is None else 6
    assert lane.carry.shape == (2, width) and lane.carry.any() and jnp.isfinite(lane.stats.sums["loss"].total)


class Steps(probes.Probe):
    """What is observed is how many steps the episode has; action 1 ends it, and so does the fourth step."""

    num_states = 5

    def move(self, where, action):
        return where + 1, 1.0, (where == 3) | (action == 1)


class Counter:
    """A network of one's own, which remembers how often it was applied in the episode."""

    def init(self, key, obs):
        return jnp.zeros(ACTIONS)

    def begin(self, params):
        return jnp.int32(0)

    def apply(self, params, carry, obs):
        return params, carry + 1


@pytest.mark.parametrize("rollout", [1, 3])
def test_what_is_stored_is_what_was_remembered_before_a_row(rollout):
    memory = qjax.sequences(24, 24 // rollout, 6)
    agent = recurrent_dqn(Counter(), SGD)
    loop = qjax.make_loop(
        qjax.make(Steps()), agent, qjax.epsilon_greedy(1.0), memory, gamma=0.9, num_envs=2, rollout=rollout
    )
    run = jax.jit(lambda key: loop.run(loop.init(key), clocks.at(0), 30 // rollout, learning=False))
    batch = memory.sample(KEY, run(KEY).memory, clocks.at(30), TIME)
    assert (batch.weight == 1).all() and len(np.unique(batch.carry)) > 1
    np.testing.assert_array_equal(batch.carry, batch.data.obs[0])


def test_noise_in_front_of_the_cell_is_each_network_s_own():
    net = qjax.recurrent(nn.GRUCell(5), qjax.MLP(ACTIONS), qjax.MLP(6, (), noisy=True))
    data, carry = rows(), carries()
    params = net.init(KEY, data.obs[0, 0])

    def apart(noise, online, target, row, time, weight):
        return weight, {"apart": jnp.abs(row.obs.online - row.obs.target).max()}

    rest = (KEY, params, lambda params: carry, batch_of(data, carry), TIME, params)
    info = recurrent_agents.sequence_loss(net, apart, partial(recurrent_agents._n_step_batch, 1), *rest)[1]
    assert (info["apart"] > 0).all()


class Learned:
    """A network of one's own that learns what an episode begins with."""

    def init(self, key, obs):
        return {"start": jnp.ones(ACTIONS), "weights": jnp.full((FEATURES, ACTIONS), 0.1)}

    def begin(self, params):
        return params["start"]

    def apply(self, params, carry, obs):
        carry = 0.5 * carry + obs @ params["weights"]
        return carry, carry


def test_what_an_episode_begins_with_is_learned_and_is_each_network_s_own():
    agent, data = recurrent_dqn(Learned(), SGD, stored_state=False), rows()
    given = batch_of(data._replace(last=jnp.zeros_like(data.last)), ())
    state = agent.init(KEY, data.obs[0])
    after, info = agent.learn(KEY, state, given, TIME)
    assert (after.params["start"] != state.params["start"]).all()
    target = {**state.target_params, "start": 100 * state.target_params["start"]}
    other = agent.learn(KEY, state._replace(target_params=target), given, TIME)[1]
    assert other["loss"] > 10 * info["loss"]


# ---- burn-in


def test_no_gradient_goes_through_burn_in_but_its_rows_count():
    net, data, carry = network(), rows(), carries()
    params = net.init(KEY, data.obs[0, 0])
    weight = jnp.ones((ROWS, STREAMS)).at[:3].set(0)
    data = data._replace(last=data.last.at[:3].set(False))
    of_row = partial(qjax.td_loss, recurrent_agents._output_of_hidden(net), qjax.scalar(), qjax.maximum)

    def loss(obs, carry):
        batch = batch_of(data._replace(obs=obs), carry, weight)
        loss_of_row = partial(of_row, qjax.objectives.environment_reward)
        rest = (KEY, params, lambda params: carry, batch, TIME, params)
        return recurrent_agents.sequence_loss(net, loss_of_row, partial(recurrent_agents._n_step_batch, 1), *rest)[
            0
        ]

    of_obs, of_carry = jax.grad(loss, argnums=(0, 1))(data.obs, carry)
    assert not of_obs[:3].any() and not of_carry.any() and of_obs[3:].any(axis=-1).all()
    assert not np.allclose(loss(data.obs, carry), loss(data.obs.at[0].add(1.0), carry), rtol=1e-6)
    assert not np.allclose(loss(data.obs, carry), loss(data.obs, carry + 1), rtol=1e-6)


# ---- losses against a slow reference


def slow_targets(net, params, target, carry, data, n):
    """Double Q-learning's n-step targets of one stream, and its values: a loop over rows, and one inside."""
    outs, following = stepped(net, params, carry, data)
    _, evaluated = stepped(net, target, carry, data)
    targets = []
    for t in range(len(outs)):
        total, discount, at = 0.0, 1.0, t
        for at in range(t, min(t + n, len(outs))):
            total += discount * float(data.reward[at])
            discount *= float(data.discount[at])
            if data.last[at]:
                break
        targets.append(total + discount * evaluated[at][np.argmax(following[at])])
    return outs[np.arange(len(outs)), data.action], np.array(targets)


@pytest.mark.parametrize(("n", "burn_in", "eta"), [(1, 0, 0.9), (3, 2, 0.9), (5, 3, 0.0), (5, 0, 1.0)])
def test_loss_and_priorities_are_those_of_a_slow_loop(n, burn_in, eta):
    net, data, carry = network(), rows(), carries()
    agent = recurrent_dqn(net, SGD, n=n, target_policy=qjax.double, eta=eta)
    state = agent.init(KEY, data.obs[0])
    state = state._replace(target_params=net.init(jax.random.key(8), data.obs[0, 0]))
    own = jnp.array([1.0, 0.5, 0.25])
    weight = jnp.where(jnp.arange(ROWS)[:, None] >= burn_in, own, 0)
    _, info = jax.jit(agent.learn)(KEY, state, batch_of(data, carry, weight), TIME)
    total, learned = 0.0, ROWS - burn_in
    for number in range(STREAMS):
        q, y = slow_targets(net, state.params, state.target_params, carry[number], one_stream(data, number), n)
        delta = (y - q)[burn_in:]
        total += float(own[number]) * (delta**2).sum() / (learned * STREAMS)
        priority = eta * np.abs(delta).max() + (1 - eta) * np.abs(delta).mean()
        np.testing.assert_allclose(info["priority"][number], priority, rtol=1e-4)
    np.testing.assert_allclose(info["loss"], total, rtol=1e-4)


def test_priorities_leave_out_what_is_not_learned():
    priority = jnp.array([[9.0, 9.0], [1.0, 2.0], [3.0, 0.0]])
    learned = jnp.array([[False, False], [True, False], [True, False]])
    np.testing.assert_allclose(sequence_priority(priority, learned, 0.9), [0.9 * 3 + 0.1 * 2, 0])


def test_rollouts_are_learned_from_as_a_slow_loop_does():
    net, data, carry, lam = network(), rows(), carries(), 0.7
    agent = recurrent_pqn(net, SGD, lam=lam, epochs=1, minibatches=1)
    state = agent.init(KEY, data.obs[0])
    after, info = jax.jit(agent.learn)(KEY, state, batch_of(data, carry), TIME)
    returns = []
    for number in range(STREAMS):
        own = one_stream(data, number)
        _, following = stepped(net, state.params, carry[number], own)
        returns.append(qjax.lambda_returns(own.reward, own.discount, own.last, jnp.asarray(following.max(-1)), lam))

    def loss(params):
        total = 0.0
        for number in range(STREAMS):
            h = carry[number]
            for t in range(ROWS):
                out, h = net.apply(params, h, data.obs[t, number], None)
                h = jnp.where(data.last[t, number], net.begin(params), h)
                total += (returns[number][t] - out[data.action[t, number]]) ** 2 / (ROWS * STREAMS)
        return total

    value, gradient = jax.value_and_grad(loss)(state.params)
    np.testing.assert_allclose(info["loss"], value, rtol=1e-4)
    stepped_to = jax.tree.map(lambda x, g: x - 0.1 * g, state.params, gradient)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-5), after.params, stepped_to)


# ---- without a memory they are the agents of before


def forgetful(net):
    """A network whose cell hands on what it reads, and remembers a number that nothing looks at."""
    net = qjax.as_network(net)
    return RecurrentNetwork(
        net.init,
        begin=lambda params: jnp.zeros(5),
        features=lambda params, obs, noise: obs,
        cell=lambda params, carry, x: (x, carry + 1),
        output=net.apply,
    )


@pytest.mark.parametrize("kind", ["dqn", "pqn"])
def test_a_cell_that_ignores_its_state_makes_the_agent_of_before(kind):
    mlp, data = qjax.MLP(ACTIONS, (6,)), rows()
    if kind == "dqn":
        pair = (
            qjax.dqn(mlp, SGD, target_policy=qjax.double),
            recurrent_dqn(forgetful(mlp), SGD, target_policy=qjax.double),
        )
    else:
        sizes = {"epochs": 2, "minibatches": 1}
        pair = qjax.pqn(mlp, SGD, **sizes), recurrent_pqn(forgetful(mlp), SGD, **sizes)
    states = [agent.init(KEY, data.obs[0]) for agent in pair]
    for number in range(3):
        batch = batch_of(rows(number), carries())
        (states[0], one), (states[1], other) = (
            jax.jit(agent.learn)(jax.random.key(number), state, batch, TIME)
            for agent, state in zip(pair, states, strict=True)
        )
        np.testing.assert_allclose(one["loss"], other["loss"], rtol=1e-5)
        jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6), *(s.params for s in states))


def test_an_episode_s_first_state_stands_in_for_the_stored_one():
    """DRQN's: what was stored makes no difference, and zeros are what is learned from."""
    net, data = network(), rows()
    agent = recurrent_dqn(net, SGD, stored_state=False)
    state = agent.init(KEY, data.obs[0])
    stored = recurrent_dqn(net, SGD).learn(KEY, state, batch_of(data, jnp.zeros((STREAMS, 5))), TIME)
    for carry in (carries(), ()):
        found = agent.learn(KEY, state, batch_of(data, carry), TIME)
        jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-6), found, stored)


# ---- whole runs


def recall(steps, kind):
    """Return a loop on a task that only memory solves."""
    net, adam = qjax.recurrent(nn.GRUCell(32), qjax.MLP(ACTIONS, (32,))), optax.adam(3e-3)
    explore = qjax.epsilon_greedy(qjax.schedules.linear(1.0, 0.1, 4_000))
    if kind == "pqn":
        agent, memory, sizes = recurrent_pqn(net, adam), qjax.online(), {"num_envs": 8, "rollout": 2 * steps + 3}
    else:
        agent = recurrent_dqn(net, adam, n=5, target_policy=qjax.double, target=qjax.periodic(200))
        block = steps + 2  # so that blocks begin anywhere in an episode
        replay = partial(qjax.prioritized, alpha=0.9, beta=0.6)
        memory = qjax.sequences(400 * block, 16, 2 * block, block // 2, replay)
        sizes = {"num_envs": 4, "rollout": block, "warmup": 10, "updates": block}
    return qjax.make_loop(qjax.make(probes.Recall(steps)), agent, explore, memory, gamma=0.95, **sizes)


RECALLED = [1, *(pytest.param(steps, marks=pytest.mark.slow) for steps in range(2, 21))]


@pytest.mark.parametrize("steps", RECALLED)
@pytest.mark.parametrize("kind", ["dqn", "pqn"])
def test_what_only_memory_can_know_is_known(kind, steps):
    build = lambda _: recall(steps, kind)
    result = qjax.sweep(build, seeds=2, steps=8_000 + 2_000 * steps, log_points=1)
    loop = build(None)
    played = qjax.evaluate_seeds(loop.env, loop.agent, result.agents, [0, 1], 0, 50, max_steps=steps + 1)
    assert (played.returns.mean(1) > 0.95).all(), played.returns.mean(1)


def test_a_run_goes_on_bit_for_bit_in_the_middle_of_episodes(tmp_path, monkeypatch):
    monkeypatch.setattr(saving, "CHECKPOINT_SHARE", 0)
    monkeypatch.setattr(phases, "INNER_ITERATIONS", 5)
    options = {
        "seeds": 3,
        "steps": 1_200,
        "log_points": 3,
        "width": 2,
        "chunk_seconds": 1e-9,
        "checkpoint_every": 0.0,
    }
    build = lambda _: recall(4, "dqn")

    def run(folder, after=None):
        with qjax.Run(folder, "recall", {}, resume=True) as run:
            return qjax.sweep(build, run=run, on_progress=victim.crashing(after), **options)

    whole = run(tmp_path / "whole")
    with pytest.raises(victim.Crash):
        run(tmp_path / "broken", after=4)
    again = run(tmp_path / "broken")
    for one, other in zip(victim.leaves(whole), victim.leaves(again), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_seed_alone_is_the_seed_of_a_sweep():
    build = lambda _: recall(2, "dqn")
    options = {"steps": 600, "log_points": 1, "width": 2}
    together, alone = (qjax.sweep(build, seeds=seeds, **options) for seeds in ([3, 5, 8], [8]))
    for one, other in zip(jax.tree.leaves(together.agents), jax.tree.leaves(alone.agents), strict=True):
        np.testing.assert_array_equal(one[2], other[0])


# ---- parts that do not fit


def test_a_memory_that_drops_what_was_remembered_is_refused():
    loop = qjax.make_loop(
        qjax.make(probes.Sign(box=True)), recurrent_dqn(network(), SGD), qjax.greedy, qjax.ring(24, 4), gamma=0.9
    )
    with pytest.raises(ValueError, match=r"float32\[5\], which the memory does not store"):
        loop.init(KEY)


def test_folded_transitions_are_refused():
    memory = qjax.n_step(qjax.sequences(24, 4, 3), 3)
    with pytest.raises(ValueError, match="a recurrent network learns from single steps"):
        qjax.make_loop(
            qjax.make(probes.Sign(box=True)), recurrent_dqn(network(), SGD), qjax.greedy, memory, gamma=0.9
        )


def test_environments_that_do_not_divide_into_minibatches_are_refused():
    data = rows()
    agent = recurrent_pqn(network(), SGD, minibatches=2)
    with pytest.raises(ValueError, match="a rollout of 3 environments does not divide into 2 minibatches"):
        agent.learn(KEY, agent.init(KEY, data.obs[0]), batch_of(data, carries()), TIME)


class NoStart(nn.RNNCellBase):
    """A cell without an initial carry."""


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (NoStart(), "does not implement initialize_carry"),
        (nn.Dense(3), "has no initialize_carry"),
        (nn.GRUCell, "has no initialize_carry"),
        (nn.ConvLSTMCell(3, (3, 3)), "must read vectors"),
    ],
)
def test_a_cell_without_an_initial_carry_is_refused(cell, message):
    with pytest.raises(TypeError, match=message):
        qjax.recurrent(cell, qjax.MLP(ACTIONS))


def test_a_network_that_remembers_nothing_is_refused():
    with pytest.raises(TypeError, match=r"has no begin: qjax.recurrent\(cell, network\) makes one"):
        recurrent_dqn(qjax.MLP(ACTIONS), SGD)


def test_a_bonus_is_that_of_single_steps():
    with pytest.raises(ValueError, match="of single steps, got n = 3"):
        recurrent_dqn(network(), SGD, n=3, **qjax.munchausen())


def test_n_step_rows_end_with_their_episode_and_with_the_last_row():
    data = one_stream(rows(3), 0)
    found = n_step_rows(data, 3)
    for t in range(ROWS):
        last = data.last.at[-1].set(True)
        end = next((k for k in range(t, min(t + 3, ROWS)) if last[k]), min(t + 2, ROWS - 1))
        window = jax.tree.map(lambda x, t=t, end=end: x[t : end + 1], data)
        expected = qjax.n_step_transition(window)
        jax.tree.map(
            partial(np.testing.assert_allclose, rtol=1e-6),
            jax.tree.map(lambda x, t=t: x[t], found)[:5],
            expected[:5],
        )
