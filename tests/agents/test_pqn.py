"""PQN against NumPy written out: returns, passes over shuffled minibatches, and what each step uses."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import probes
import pytest
from scipy import special

import qjax
from qjax.core import clock as clocks
from qjax.exploration import schedules
from qjax.types import Batch, Head, Network, Time, Transition

FEATURES, ACTIONS, GAMMA, RATE = 4, 3, 0.9, 0.1
ROWS, STREAMS = 6, 4
SIZE = ROWS * STREAMS
KEY = jax.random.key(0)
START = Time(jnp.float32(0), jnp.int32(0), jnp.float32(0))
LINEAR = Network(lambda key, obs: jax.random.normal(key, (FEATURES, ACTIONS)), lambda w, obs, noise: obs @ w)


def record():
    """Random transitions `[ROWS, STREAMS]`; episodes end both ways, in the middle of the rows and at their end."""
    rng = np.random.default_rng(0)
    shape = (ROWS, STREAMS)
    kind = rng.permutation(SIZE).reshape(shape)
    data = Transition(
        rng.normal(size=(*shape, FEATURES)).astype(np.float32),
        rng.integers(0, ACTIONS, shape).astype(np.int32),
        (2 * rng.normal(size=shape)).astype(np.float32),
        np.where(kind < 5, 0, GAMMA).astype(np.float32),
        rng.normal(size=(*shape, FEATURES)).astype(np.float32),
        kind < 10,
    )
    return data, rng.uniform(0.5, 2, shape).astype(np.float32)


def batch_of(data, weight=None, env=None):
    weight = np.ones(data.reward.shape, np.float32) if weight is None else weight
    slot = np.arange(weight.shape[1], dtype=np.int32)
    return jax.device_put(Batch(data, weight, slot, slot if env is None else np.asarray(env, np.int32)))


def cells(rows, streams, **fields):
    """Transitions whose observations number them, all with action 0, reward 0 and discount 0; `fields` differ."""
    number = np.arange(rows * streams, dtype=np.int32).reshape(rows, streams)
    zero = np.zeros_like(number)
    plain = Transition(number, zero, np.float32(zero), np.float32(zero), number, zero > 0)
    return plain._replace(**fields)


def written(steps):
    """Return the optimiser that writes down every gradient it is given, and moves nothing."""

    def update(gradient, state, params=None):
        count, log = state
        return jnp.zeros_like(gradient), (count + 1, log.at[count].set(gradient))

    return optax.GradientTransformation(lambda w: (jnp.int32(0), jnp.zeros((steps, *w.shape))), update)


def uses(key, epochs, minibatches, weight=None):
    """Return how much every transition counts in every step of `learn`, `[epochs, minibatches, SIZE]`.

    Each transition has an entry of a table to itself, and a loss of slope 1, so the gradient tells.
    """
    head = qjax.scalar(lambda delta: -delta)
    steps = epochs * minibatches
    agent = qjax.pqn(qjax.table(SIZE, 1), written(steps), epochs=epochs, minibatches=minibatches, head=head)
    data = cells(ROWS, STREAMS)
    state = agent.init(KEY, jnp.zeros(STREAMS, jnp.int32))
    count, log = jax.jit(agent.learn)(key, state, batch_of(data, weight), START)[0].opt_state
    assert count == steps
    return np.asarray(log).reshape(epochs, minibatches, SIZE) * (SIZE // minibatches)


# Against NumPy, in float64 -----------------------------------------------------------------------------------


LOSSES = {
    "squared": (qjax.squared, lambda d: d**2, lambda d: 2 * d),
    "huber": (
        qjax.huber(1.0),
        lambda d: np.where(np.abs(d) <= 1, d**2 / 2, np.abs(d) - 1 / 2),
        lambda d: np.clip(d, -1, 1),
    ),
}
TARGET_POLICIES = {
    "maximum": (qjax.maximum, lambda q: np.eye(ACTIONS)[q.argmax(-1)]),
    "double": (qjax.double, lambda q: np.eye(ACTIONS)[q.argmax(-1)]),
    "expected": (qjax.expected(qjax.boltzmann(1.0)), lambda q: special.softmax(q, axis=-1)),
}


def returns(data, value, lam):
    """The recursion, one row at a time from the last."""
    found = np.zeros((ROWS, STREAMS))
    for row in reversed(range(ROWS)):
        for stream in range(STREAMS):
            mixed = value[row, stream]
            if row + 1 < ROWS and not data.last[row, stream]:
                mixed = lam * found[row + 1, stream] + (1 - lam) * mixed
            found[row, stream] = data.reward[row, stream] + data.discount[row, stream] * mixed
    return found


@pytest.mark.parametrize(
    ("epochs", "minibatches", "loss", "target_policy", "lam"),
    [
        (1, 1, "squared", "maximum", 0.65),
        (1, 1, "huber", "expected", 0.3),
        (3, 2, "squared", "double", 0.65),
        (2, 6, "huber", "maximum", 1.0),
    ],
)
def test_learn_takes_the_steps_that_numpy_takes(epochs, minibatches, loss, target_policy, lam):
    head_loss, loss_of, slope_of = LOSSES[loss]
    ours, weights_of = TARGET_POLICIES[target_policy]
    sizes = {"epochs": epochs, "minibatches": minibatches}
    agent = qjax.pqn(LINEAR, optax.sgd(RATE), lam=lam, head=qjax.scalar(head_loss), target_policy=ours, **sizes)
    data, weight = record()
    weight[1, 2] = 0
    state = agent.init(KEY, jnp.asarray(data.obs[0]))
    after, info = jax.jit(agent.learn)(KEY, state, batch_of(data, weight), START)

    exact = jax.tree.map(lambda x: x.astype(np.float64), data)._replace(action=data.action, last=data.last)
    params = np.asarray(state.params, np.float64)
    next_q = exact.next_obs @ params
    # From the parameters before the first step, for all of them.
    y = returns(exact, (weights_of(next_q) * next_q).sum(-1), lam).ravel()
    obs, action, w = exact.obs.reshape(SIZE, -1), exact.action.ravel(), weight.ravel().astype(np.float64)
    losses, values, priority = [], [], np.zeros(SIZE)
    for used in uses(KEY, **sizes).reshape(epochs * minibatches, SIZE):
        i = np.flatnonzero(used)
        q = (obs[i] @ params)[np.arange(i.size), action[i]]
        delta = y[i] - q
        losses.append((w[i] * loss_of(delta)).mean())
        values.append(q.mean())
        priority[i] = np.abs(delta)
        slope = np.zeros((i.size, ACTIONS))
        slope[np.arange(i.size), action[i]] = -w[i] * slope_of(delta) / i.size
        params = params - RATE * obs[i].T @ slope

    assert np.abs(params - np.asarray(state.params)).max() > 0.02  # it did move
    np.testing.assert_allclose(after.params, params, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(info["loss"], np.mean(losses), rtol=1e-4)
    np.testing.assert_allclose(info["q"], np.mean(values), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(info["priority"], priority.reshape(ROWS, STREAMS).max(0), rtol=1e-4, atol=1e-5)


# What each step uses -----------------------------------------------------------------------------------------


def test_every_pass_uses_every_transition_once():
    weight = record()[1]
    weight[2, 1] = 0
    found = uses(KEY, 3, 4, weight)
    assert ((found > 0).sum(1) == (weight.ravel() > 0)).all()
    assert (found > 0).sum(2).max() <= SIZE // 4
    np.testing.assert_allclose(found.sum(1), np.broadcast_to(weight.ravel(), (3, SIZE)), rtol=1e-5)


def test_every_pass_and_every_update_has_an_order_of_its_own():
    found = np.concatenate([uses(jax.random.key(seed), 3, 4) for seed in (0, 1)])
    assert len({x.tobytes() for x in found}) == 6
    in_order = np.arange(SIZE).reshape(4, -1)
    assert not any((np.flatnonzero(first) == in_order[0]).all() for first in found[:, 0])


# Selects, heads and noise ------------------------------------------------------------------------------------


def errors(agent, data, key=KEY, env=None, params=None):
    """Return |target - Q| of the transitions of one row."""
    state = agent.init(KEY, jnp.asarray(data.obs[0]))
    state = state if params is None else state._replace(params=params)
    return np.asarray(jax.jit(agent.learn)(key, state, batch_of(data, env=env), START)[1]["priority"])


ONCE = {"epochs": 1, "minibatches": 1}
ONE = np.ones((1, 12), np.float32)
SUCCESSOR = {"next_obs": np.full((1, 12), 12, np.int32), "discount": ONE}
NEXT_Q = jnp.zeros((13, ACTIONS)).at[12].set(jnp.array([10.0, 20.0, 30.0]))


def test_a_target_policy_reads_each_streams_own_environment():
    target_policy = lambda key, transition, q_online, q_target, time: jax.nn.one_hot(time.env, ACTIONS)
    agent = qjax.pqn(qjax.table(13, ACTIONS), optax.sgd(1.0), target_policy=target_policy, **ONCE)
    env = np.arange(12) * 5 % 3
    assert errors(agent, cells(1, 12, **SUCCESSOR), env=env, params=NEXT_Q).tolist() == (10 + 10 * env).tolist()


def test_a_target_policy_draws_for_each_transition():
    agent = qjax.pqn(qjax.table(13, ACTIONS), optax.sgd(1.0), target_policy=qjax.sampled(qjax.uniform), **ONCE)
    first, other = (errors(agent, cells(1, 12, **SUCCESSOR), jax.random.key(s), params=NEXT_Q) for s in (0, 1))
    assert set(first) == {10, 20, 30}
    assert (first != other).any()


def test_a_head_of_distributions_learns_that_of_the_returns():
    # Probabilities of the two values -8 and 8: what fits a return best is the mixture whose mean it is.
    support = jnp.array([-8.0, 8.0])

    def target(reward, discount, next_out, weights):
        mass = (weights[:, None] * jax.nn.softmax(next_out)).sum(0)
        above = (reward + discount * support + 8) / 16
        return jnp.stack([(mass * (1 - above)).sum(), (mass * above).sum()])

    def loss(out, action, y):
        cross = -(y * jax.nn.log_softmax(out[action])).sum()
        return cross, cross

    head = Head(lambda out: (jax.nn.softmax(out) * support).sum(-1), target, loss)
    network = Network(
        lambda key, obs: jax.random.normal(key, (2, FEATURES, ACTIONS)),
        lambda w, obs, noise: jnp.moveaxis(obs @ w, 0, -1),
    )
    agent = qjax.pqn(network, optax.sgd(1.0), lam=0.5, head=head, **ONCE)
    data, weight = record()
    state = agent.init(KEY, jnp.asarray(data.obs[0]))
    _, info = jax.jit(agent.learn)(KEY, state, batch_of(data, weight), START)

    logits = lambda obs: np.moveaxis(np.einsum("tnf,kfa->ktna", obs.astype(np.float64), state.params), 0, -1)
    value = (special.softmax(logits(data.next_obs), -1) * [-8, 8]).sum(-1).max(-1)
    above = (returns(data, value, 0.5) + 8) / 16
    log_p = np.take_along_axis(special.log_softmax(logits(data.obs), -1), data.action[..., None, None], 2)[:, :, 0]
    cross = -(1 - above) * log_p[..., 0] - above * log_p[..., 1]
    np.testing.assert_allclose(info["loss"], (weight * cross).mean(), rtol=1e-4)
    np.testing.assert_allclose(info["priority"], cross.max(0), rtol=1e-4)


def test_noise_is_fresh_in_every_step_and_for_the_targets():
    # The answer is one random number: that of the step in even cells, the transition's own in odd ones.
    def apply(params, obs, noise):
        if noise is None:
            return params
        drawn = jnp.where(obs % 2 == 0, *(jax.random.uniform(key) for key in noise))
        return params + drawn

    agent = qjax.pqn(Network(lambda key, obs: jnp.zeros(1), apply), optax.sgd(0.0), epochs=1, minibatches=2)
    predicted = errors(agent, cells(1, 12))
    assert np.unique(predicted[::2]).size == 2  # one for each step
    assert np.unique(predicted[1::2]).size == 6
    # With a target they are |target - prediction|, never 0: successors have their own noise, one for all or each.
    target = cells(1, 12, discount=ONE)
    found = errors(agent, target)
    assert (found > 1e-4).all()
    assert not np.isin(errors(agent, target, jax.random.key(1)), found).any()
    assert not agent.values(None, agent.init(KEY, jnp.zeros(1)), jnp.zeros(())).any()


def test_lambda_may_be_swept():
    data, weight = record()
    obs, batch = jnp.asarray(data.obs[0]), batch_of(data, weight)

    def learn(lam):
        agent = qjax.pqn(LINEAR, optax.sgd(RATE), lam=lam)
        return agent.learn(KEY, agent.init(KEY, obs), batch, START)[0].params

    found = jax.jit(jax.vmap(learn))(jnp.array([0.0, 0.65, 1.0]))
    assert np.abs(np.diff(found, axis=0)).max() > 1e-3
    np.testing.assert_allclose(found[1], jax.jit(lambda: learn(0.65))(), rtol=1e-4, atol=1e-6)


# In the loop -------------------------------------------------------------------------------------------------


def loop_of(rollout=6, num_envs=2, **sizes):
    env = qjax.make(probes.Walk(box=True))
    optimizer = optax.chain(optax.clip_by_global_norm(10.0), optax.radam(1e-2))
    agent = qjax.pqn(qjax.MLP(2, (4,)), optimizer, **sizes)
    policy = qjax.epsilon_greedy(schedules.linear(1.0, 0.1, 10, "update"))
    return qjax.make_loop(env, agent, policy, qjax.online(), gamma=0.9, num_envs=num_envs, rollout=rollout)


def test_chunks_equal_one_run():
    loop = loop_of(epochs=2, minibatches=3)
    start = jax.jit(jax.vmap(loop.init))(jax.random.split(KEY, 2))
    run = jax.jit(jax.vmap(loop.run, in_axes=(0, None, None)), static_argnums=2)
    whole, half = run(start, clocks.at(0), 8), run(start, clocks.at(0), 4)
    halves = run(half, clocks.at(4 * loop.rollout), 4)
    same = lambda lane: lane._replace(key=None, stats=None)
    jax.tree.map(np.testing.assert_array_equal, same(halves), same(whole))
    describe = lambda lane: jax.tree.map(lambda x: (x.shape, x.dtype), lane)
    assert describe(whole) == describe(start)
    assert (whole.agent.opt_state[1][0].count == 8 * 2 * 3).all()
    assert (whole.stats.updates == 8).all() and (whole.stats.episodes > 0).all()
    moved = [(x != y).any() for x, y in zip(*(jax.tree.leaves(z.agent.params) for z in (whole, half)), strict=True)]
    assert all(moved)


# Bad input ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argument", "error", "message"),
    [
        ({"lam": 1.5}, ValueError, r"lambda must lie in \[0, 1\], got 1.5$"),
        ({"lam": -0.25}, ValueError, r"lambda must lie in \[0, 1\], got -0.25$"),
        ({"epochs": 0}, ValueError, "epochs must be at least 1, got 0"),
        ({"minibatches": -1}, ValueError, "minibatches must be at least 1, got -1"),
    ],
)
def test_arguments_outside_their_range(argument, error, message):
    with pytest.raises(error, match=message):
        qjax.pqn(LINEAR, optax.sgd(RATE), **argument)


@pytest.mark.parametrize(("rollout", "num_envs", "minibatches"), [(3, 3, 2), (2, 1, 4)])
def test_a_rollout_divides_into_the_minibatches(rollout, num_envs, minibatches):
    loop = loop_of(rollout, num_envs, minibatches=minibatches)
    named = f"{rollout} steps x {num_envs} environments = {rollout * num_envs} .* into {minibatches} minibatches"
    with pytest.raises(ValueError, match=named):
        loop.init(KEY)


def test_what_is_no_network_no_key_and_no_list_of_values():
    with pytest.raises(TypeError, match="a network needs init"):
        qjax.pqn(None, optax.sgd(RATE))
    agent = qjax.pqn(LINEAR, optax.sgd(RATE))
    for piece in (lambda key: agent.init(key, jnp.zeros((1, 4))), lambda key: agent.learn(key, None, None, START)):
        with pytest.raises(TypeError, match=r"jax.random.key\(seed\) makes it, got uint32\[2\]"):
            piece(jax.random.PRNGKey(0))
    column = Network(LINEAR.init, lambda w, obs, noise: (obs @ w)[None])
    with pytest.raises(ValueError, match="one value per action"):
        qjax.pqn(column, optax.sgd(RATE)).init(KEY, jnp.zeros((1, FEATURES)))
