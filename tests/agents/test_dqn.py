"""DQN against NumPy written out: loss, gradient, targets, heads, and how the target network follows."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import rlax
from flax import linen as nn
from scipy import special

import qjax
from qjax.types import Batch, Network, Time, Transition

FEATURES, ACTIONS, GAMMA = 4, 3, 0.9
KEY = jax.random.key(0)
START = Time(jnp.float32(0), jnp.int32(0), jnp.float32(0))
SGD = optax.sgd(1.0)  # one step takes the gradient itself off the parameters
MLP = qjax.MLP(ACTIONS, hidden=(8, 6))


def batch_of(data, weight=None, env=None):
    rows, streams = data.reward.shape
    weight = np.ones((rows, streams)) if weight is None else weight
    slot = np.arange(streams, dtype=np.int32)
    env = slot if env is None else np.asarray(env, np.int32)
    return jax.device_put(Batch(data, np.asarray(weight, np.float32), slot, env))


def record(rows, streams, seed=0):
    """Random transitions; of each three one terminates, one is cut by a time limit and one runs on."""
    rng = np.random.default_rng(seed)
    shape = (rows, streams)
    kind = np.arange(rows * streams).reshape(shape) % 3
    return Transition(
        rng.normal(size=(*shape, FEATURES)).astype(np.float32),
        rng.integers(0, ACTIONS, shape).astype(np.int32),
        (2 * rng.normal(size=shape)).astype(np.float32),
        np.where(kind == 0, 0, GAMMA).astype(np.float32),
        rng.normal(size=(*shape, FEATURES)).astype(np.float32),
        kind < 2,
    )


def random_like(params, seed):
    """Biases too: freshly initialised ones are all 0."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape) * 0.7, jnp.float32), params)


# Against NumPy, in float64 -----------------------------------------------------------------------------------


def layers(params):
    dense = [params["params"][f"Dense_{i}"] for i in range(3)]
    return [(np.asarray(x["kernel"], np.float64), np.asarray(x["bias"], np.float64)) for x in dense]


def forward(layers, x):
    """Return the inputs of all layers, and the output last."""
    found = [x]
    for number, (kernel, bias) in enumerate(layers):
        z = found[-1] @ kernel + bias
        found.append(np.maximum(z, 0) if number < len(layers) - 1 else z)
    return found


def backward(layers, found, gradient):
    """Return the gradients of all kernels and biases from that of the output."""
    out = []
    for (kernel, _), x in zip(reversed(layers), reversed(found[:-1]), strict=True):
        out.append((x.T @ gradient, gradient.sum(0)))
        gradient = (gradient @ kernel.T) * (x > 0)
    return out[::-1]


LOSSES = {
    "squared": (qjax.squared, lambda d: d**2, lambda d: 2 * d),
    "huber": (
        qjax.huber(1.0),
        lambda d: np.where(np.abs(d) <= 1, d**2 / 2, np.abs(d) - 1 / 2),
        lambda d: np.clip(d, -1, 1),
    ),
    "huber of 0.5": (
        qjax.huber(0.5),
        lambda d: np.where(np.abs(d) <= 0.5, d**2 / 2, 0.5 * (np.abs(d) - 0.25)),
        lambda d: np.clip(d, -0.5, 0.5),
    ),
}
# The distribution over next actions, from the online and the target network's values of the successor. The last
# one varies smoothly with the online parameters: a gradient through the target would show.
TARGET_POLICIES = {
    "maximum": (qjax.maximum, lambda online, target: np.eye(ACTIONS)[target.argmax(-1)]),
    "double": (qjax.double, lambda online, target: np.eye(ACTIONS)[online.argmax(-1)]),
    "expected": (qjax.expected(qjax.boltzmann(1.0)), lambda online, target: special.softmax(online, axis=-1)),
}


def bonus(transition, q, q_next, weights, time):
    return transition.reward + 0.5 * q[transition.action] - (weights * q_next).sum()


def check_learn(loss, target_policy, rows=1, streams=12, with_bonus=False):
    head_loss, loss_of, slope_of = LOSSES[loss]
    ours, weights_of = TARGET_POLICIES[target_policy]
    reward = {"reward": bonus} if with_bonus else {}
    agent = qjax.dqn(MLP, SGD, head=qjax.scalar(head_loss), target_policy=ours, **reward)
    data = record(rows, streams)
    weight = np.random.default_rng(5).uniform(0, 2, (rows, streams))
    weight[0, 0] = 0
    state = agent.init(KEY, jnp.asarray(data.obs[0]))
    state = state._replace(params=random_like(state.params, 1), target_params=random_like(state.params, 2))
    after, info = jax.jit(agent.learn)(KEY, state, batch_of(data, weight), START)

    size = rows * streams
    flat = jax.tree.map(lambda x: x.reshape(size, *x.shape[2:]).astype(np.float64), data)
    online, target = layers(state.params), layers(state.target_params)
    one, action = np.arange(size), flat.action.astype(int)
    found = forward(online, flat.obs)
    q, next_q = found[-1][one, action], forward(target, flat.next_obs)[-1]
    online_next = forward(online, flat.next_obs)[-1]
    expectation = (weights_of(online_next, next_q) * next_q).sum(-1)
    r = flat.reward
    if with_bonus:
        r = r + 0.5 * forward(target, flat.obs)[-1][one, action] - expectation
    delta = r + flat.discount * expectation - q
    if loss != "squared":
        assert 0 < (np.abs(delta) > 1).sum() < size  # both branches are reached
    assert (online_next.argmax(-1) != next_q.argmax(-1)).any()  # the target policies do differ

    w = weight.ravel()
    np.testing.assert_allclose(info["loss"], (w * loss_of(delta)).mean(), rtol=1e-5)
    np.testing.assert_allclose(info["q"], q.mean(), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(info["priority"], np.abs(delta).reshape(rows, streams).max(0), rtol=1e-4, atol=1e-5)
    slope = np.zeros((size, ACTIONS))
    slope[one, action] = -w * slope_of(delta) / size
    for old, new, expected in zip(online, layers(after.params), backward(online, found, slope), strict=True):
        for x, y, gradient in zip(old, new, expected, strict=True):
            np.testing.assert_allclose(x - y, gradient, rtol=1e-4, atol=2e-6)
    jax.tree.map(np.testing.assert_array_equal, after.target_params, state.target_params)


@pytest.mark.parametrize(
    ("loss", "target_policy"),
    [
        ("squared", "maximum"),
        ("huber", "maximum"),
        ("huber of 0.5", "double"),
        ("squared", "double"),
        ("squared", "expected"),
    ],
)
def test_learn_takes_the_step_that_numpy_takes(loss, target_policy):
    check_learn(loss, target_policy)


def test_learn_takes_a_sequence_as_one_batch():
    check_learn("huber", "double", rows=3, streams=6)


def test_a_reward_reads_the_target_networks_values():
    check_learn("squared", "maximum", with_bonus=True)


def test_the_optimizer_sees_the_parameters_and_keeps_its_state():
    # Weight decay reads the parameters, and a schedule counts in the state; with weight 0 that is all that happens.
    rate = lambda count: jnp.where(count == 0, 1.0, 0.5)
    agent, data = qjax.dqn(MLP, optax.chain(optax.add_decayed_weights(0.25), optax.sgd(rate))), record(1, 4)
    state, learn = agent.init(KEY, jnp.asarray(data.obs[0])), jax.jit(agent.learn)
    for factor in (0.75, 0.875, 0.875):
        after, info = learn(KEY, state, batch_of(data, np.zeros((1, 4))), START)
        assert info["loss"] == 0
        jax.tree.map(lambda x, y, f=factor: np.testing.assert_allclose(y, f * x), state.params, after.params)
        state = after


def test_a_target_policy_reads_each_streams_own_environment_in_every_row():
    # All weight on the action that has the environment's number, against a table of different values.
    target_policy = lambda key, transition, q_online, q_target, time: jax.nn.one_hot(time.env, ACTIONS)
    agent = qjax.dqn(qjax.table(2, ACTIONS), SGD, target_policy=target_policy)
    zeros = np.zeros((2, 3), np.int32)
    data = Transition(zeros, zeros, np.float32(zeros), np.float32(zeros + 1), zeros + 1, zeros > 0)
    state = agent.init(KEY, jnp.asarray(zeros[0]))
    state = state._replace(target_params=jnp.array([[0.0, 0.0, 0.0], [10.0, 20.0, 30.0]]))
    _, info = jax.jit(agent.learn)(KEY, state, batch_of(data, env=[2, 0, 1]), START)
    assert info["priority"].tolist() == [30, 10, 20]


ANY = Transition(*[jnp.zeros(())] * 6)  # what the simple target policies do not read


# Double DQN by hand ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("target_policy", "value"), [(qjax.maximum, 4.0), (qjax.double, 3.0)])
def test_double_takes_the_online_choice_and_the_target_networks_value(target_policy, value):
    online, target = jnp.array([0.0, 9.0, 1.0]), jnp.array([4.0, 3.0, 2.0])
    weights = target_policy(KEY, ANY, online, target, START)
    assert float((weights * target).sum()) == value
    assert float(qjax.td_target(jnp.float32(1), jnp.float32(0.5), target, weights)) == 1 + 0.5 * value


# A table as network is tabular Q-learning --------------------------------------------------------------------


STATES, ALPHA, UPDATES = 7, 0.25, 400


@pytest.mark.parametrize("streams", [1, 4])
@pytest.mark.parametrize("policy", [None, qjax.epsilon_greedy(0.3)], ids=["q-learning", "expected sarsa"])
def test_a_table_as_network_is_tabular_learning(streams, policy):
    # Half the squared error of a batch summed, plain gradient steps, and a target that is never behind. Entries
    # of one batch are distinct: a table averages errors on one entry where a gradient adds them up.
    rng = np.random.default_rng(streams)
    shape = (UPDATES, 1, streams)
    terminated, truncated = rng.random((2, *shape)) < 0.15
    cells = np.stack([rng.permutation(STATES * ACTIONS)[:streams] for _ in range(UPDATES)])[:, None]
    data = Transition(
        (cells // ACTIONS).astype(np.int32),
        (cells % ACTIONS).astype(np.int32),
        rng.normal(size=shape).astype(np.float32),
        (GAMMA * (1 - terminated)).astype(np.float32),
        rng.integers(0, STATES, shape).astype(np.int32),
        terminated | truncated,
    )
    index = np.broadcast_to(np.arange(streams, dtype=np.int32), (UPDATES, streams))
    batches = jax.device_put(Batch(data, np.ones(shape, np.float32), index, index))
    target_policy = {} if policy is None else {"target_policy": qjax.expected(policy)}
    head = qjax.scalar(lambda delta: 0.5 * streams * delta**2)
    deep = qjax.dqn(
        qjax.table(STATES, ACTIONS), optax.sgd(ALPHA), head=head, target=qjax.periodic(1, "update"), **target_policy
    )
    plain = qjax.tabular(STATES, ACTIONS, ALPHA, **target_policy)

    def run(agent):
        def body(state, xs):
            batch, key = xs
            state, info = agent.learn(key, state, batch, START)
            return agent.sync(KEY, state, Time(streams, 0, 1)), info["priority"]

        state = agent.init(KEY, jnp.zeros(streams, jnp.int32))
        return jax.jit(lambda x: jax.lax.scan(body, state, x))((batches, jax.random.split(KEY, UPDATES)))

    (ours, our_errors), (theirs, their_errors) = run(deep), run(plain)
    assert np.ptp(theirs) > 0.5  # something was learned
    np.testing.assert_allclose(ours.params, theirs, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(ours.target_params, ours.params)
    np.testing.assert_allclose(our_errors, their_errors, rtol=1e-4, atol=1e-5)


# Target synchronisation --------------------------------------------------------------------------------------


def copies(sync, elapsed):
    """Whether each call copied: the online parameter is the number of the call, the target's starts at -1."""
    state, target, found = sync.init(), {"w": jnp.float32(-1)}, []
    for call, passed in enumerate(elapsed):
        state, target = sync.step(state, {"w": jnp.float32(call)}, target, passed)
        found.append(float(target["w"]) == call)
    return found


def due(period, strides):
    """A copy is due wherever the total passes a multiple of the period."""
    total = np.cumsum([0, *strides]) // period
    return (np.diff(total) > 0).tolist()


UNITS = ["step", "episode", "update"]


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize(("period", "stride"), [(1, 1), (5, 1), (10, 5), (10, 10), (10, 3), (10, 7), (500, 96)])
def test_periodic_copies_once_a_period_for_any_stride(unit, period, stride):
    # Strides that do not divide the period overstep it: the rest counts towards the next copy. Other units run
    # at other speeds and must not count.
    other = Time(10**6, 10**6, 10**6)
    found = copies(qjax.periodic(period, unit), [other._replace(**{unit: stride})] * 40)
    assert found == due(period, [stride] * 40)
    assert any(found)


def test_periodic_counts_uneven_strides_of_arrays():
    # Episodes that ended between two syncs: none, or more than a whole period.
    strides = np.random.default_rng(0).integers(0, 20, 60).tolist()
    found = copies(qjax.periodic(7, "episode"), [Time(1, jnp.int32(x), 1) for x in strides])
    assert found == due(7, strides)


def test_a_swept_period_copies_as_a_static_one():
    periods, strides = [1, 2, 3, 10], [1] * 12

    def run(period):
        sync = qjax.periodic(period, "update")
        state, target, found = sync.init(), jnp.float32(-1), []
        for call, passed in enumerate(strides):
            state, target = sync.step(state, jnp.float32(call), target, Time(4, 0, passed))
            found.append(target == call)
        return jnp.stack(found)

    assert jax.jit(jax.vmap(run))(jnp.array(periods)).tolist() == [due(period, strides) for period in periods]


@pytest.mark.parametrize("unit", UNITS)
def test_a_period_shorter_than_the_stride_names_both(unit):
    agent = qjax.dqn(MLP, SGD, target=qjax.periodic(4, unit))
    state = agent.init(KEY, jnp.zeros((1, FEATURES)))
    elapsed = Time(1, 1, 1)._replace(**{unit: 5})
    with pytest.raises(ValueError, match=f"a period of 4 {unit}s is shorter than the 5 between two syncs"):
        agent.sync(KEY, state, elapsed)


def test_the_default_target_is_copied_every_500_steps():
    agent = qjax.dqn(qjax.table(1, 1), SGD)
    state = agent.init(KEY, jnp.zeros(1, jnp.int32))._replace(params=jnp.ones((1, 1)))
    seen = []
    for _ in range(6):
        state = agent.sync(KEY, state, Time(100, 1, 1))
        seen.append(float(state.target_params[0, 0]))
    assert seen == [0, 0, 0, 0, 1, 1]


def test_sync_leaves_the_rest_of_the_state_alone():
    agent = qjax.dqn(MLP, optax.adam(1e-3), target=qjax.periodic(1, "update"))
    state = agent.init(KEY, jnp.zeros((1, FEATURES)))
    state = state._replace(params=random_like(state.params, 1))
    after = agent.sync(KEY, state, Time(1, 0, 1))
    jax.tree.map(np.testing.assert_array_equal, after.target_params, state.params)
    same = after._replace(target_params=None), state._replace(target_params=None)
    jax.tree.map(np.testing.assert_array_equal, *same)


@pytest.mark.parametrize("rate", [0.005, 0.5])
def test_polyak_moves_by_its_rate_at_every_sync(rate):
    sync = qjax.polyak(rate)
    state, target = sync.init(), {"w": jnp.array([1.0, -2.0])}
    expected = np.array([1.0, -2.0])
    for call in range(5):
        online = np.array([call, 3.0])
        state, target = sync.step(state, {"w": jnp.asarray(online, jnp.float32)}, target, Time(1, 0, 1))
        expected = rate * online + (1 - rate) * expected
        np.testing.assert_allclose(target["w"], expected, rtol=1e-5)


def test_polyak_of_rate_one_copies_exactly():
    online, target = random_like({"w": jnp.zeros(1000)}, 1), random_like({"w": jnp.zeros(1000)}, 2)
    _, after = qjax.polyak(1.0).step((), online, target, Time(1, 0, 1))
    np.testing.assert_array_equal(after["w"], online["w"])


def test_a_polyak_rate_may_be_swept():
    step = lambda rate: qjax.polyak(rate).step((), jnp.float32(1), jnp.float32(0), Time(1, 0, 1))[1]
    assert jax.vmap(step)(jnp.array([0.25, 0.5, 1.0])).tolist() == [0.25, 0.5, 1.0]


@pytest.mark.parametrize(("period", "named"), [(0, "0"), (-5, "-5"), (0.5, "0.5"), (np.nan, "nan")])
def test_a_period_is_at_least_one(period, named):
    with pytest.raises(ValueError, match=rf"period must lie in \[1, 1073741824\], got {named}$"):
        qjax.periodic(period)


def test_a_period_is_a_whole_number():
    with pytest.raises((TypeError, ValueError), match=r"2\.5"):
        qjax.periodic(2.5, "update")


def test_a_period_has_a_known_unit():
    with pytest.raises(ValueError, match="unit must be one of step, episode, update, got 'steps'"):
        qjax.periodic(5, "steps")


@pytest.mark.parametrize(("rate", "named"), [(0, "0"), (-0.5, "-0.5"), (1.5, "1.5"), (np.nan, "nan")])
def test_a_polyak_rate_lies_in_the_half_open_unit_interval(rate, named):
    with pytest.raises(ValueError, match=rf"Polyak rate must lie in \(0, 1\], got {named}$"):
        qjax.polyak(rate)


# State -------------------------------------------------------------------------------------------------------


def test_seeds_differ_in_their_initialisation():
    agent, obs = qjax.dqn(MLP, SGD), jnp.zeros((2, FEATURES))
    first, again, other = (agent.init(jax.random.key(seed), obs).params for seed in (0, 0, 1))
    kernel = lambda params, i: np.asarray(params["params"][f"Dense_{i}"]["kernel"])
    for i in range(3):
        np.testing.assert_array_equal(kernel(first, i), kernel(again, i))
        assert not np.allclose(kernel(first, i), kernel(other, i))


@pytest.mark.parametrize("compiled", [False, True])
def test_target_parameters_are_a_copy(compiled):
    # Two names for one buffer could not both be donated.
    agent = qjax.dqn(MLP, SGD)
    state = (jax.jit(agent.init) if compiled else agent.init)(KEY, jnp.zeros((2, FEATURES)))
    jax.tree.map(np.testing.assert_array_equal, state.target_params, state.params)
    pointers = [x.unsafe_buffer_pointer() for x in jax.tree.leaves((state.params, state.target_params))]
    assert len(set(pointers)) == len(pointers)


def test_values_are_the_online_networks():
    agent = qjax.dqn(MLP, SGD)
    state = agent.init(KEY, jnp.zeros((2, FEATURES)))
    state = state._replace(params=random_like(state.params, 1))
    obs = np.random.default_rng(0).normal(size=FEATURES).astype(np.float32)
    expected = forward(layers(state.params), obs.astype(np.float64)[None])[-1][0]
    np.testing.assert_allclose(agent.values(None, state, jnp.asarray(obs)), expected, rtol=1e-5)


# Networks ----------------------------------------------------------------------------------------------------


class Plain:
    """No flax, no noise: just the two functions."""

    def init(self, key, obs):
        return {"w": jax.random.normal(key, (obs.size, ACTIONS))}

    def apply(self, params, obs):
        return obs @ params["w"]


class Linear(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(ACTIONS, use_bias=False)(x)


PLAIN = Plain()
NETWORKS = {
    "plain class": PLAIN,
    "flax module": Linear(),
    "qjax.Network": Network(PLAIN.init, lambda params, obs, noise: PLAIN.apply(params, obs)),
    "encoded": qjax.encoded(PLAIN, lambda obs: obs),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_any_object_with_init_and_apply_learns(name):
    # The same linear network four times: with the same weights each takes the same step.
    agent, data = qjax.dqn(NETWORKS[name], SGD), record(1, 6)
    state = agent.init(KEY, jnp.asarray(data.obs[0]))
    weights = np.random.default_rng(0).normal(size=(FEATURES, ACTIONS)).astype(np.float32)
    same = jax.tree.map(lambda x: jnp.asarray(weights).reshape(x.shape), state.params)
    state, _ = jax.jit(agent.learn)(KEY, state._replace(params=same, target_params=same), batch_of(data), START)
    (found,) = jax.tree.leaves(state.params)

    x = jax.tree.map(lambda x: x[0].astype(np.float64), data)
    taken = np.eye(ACTIONS)[x.action.astype(int)]
    delta = x.reward + x.discount * (x.next_obs @ weights).max(-1) - (taken * (x.obs @ weights)).sum(-1)
    np.testing.assert_allclose(found, weights + 2 * x.obs.T @ (taken * delta[:, None]) / 6, rtol=1e-4, atol=1e-5)


def test_encoded_reads_observations_through_the_encoding():
    agent = qjax.dqn(qjax.encoded(PLAIN, lambda obs: jax.nn.one_hot(obs, 5)), SGD)
    state = agent.init(KEY, jnp.zeros(2, jnp.int32))
    assert state.params["w"].shape == (5, ACTIONS)
    np.testing.assert_array_equal(agent.values(None, state, jnp.int32(3)), state.params["w"][3])


class NoInit:
    apply = Plain.apply


class NoApply:
    init = Plain.init


class Attribute:
    init, apply = Plain.init, 3


@pytest.mark.parametrize(
    ("network", "missing"), [(NoInit(), "init"), (NoApply(), "apply"), (Attribute(), "apply"), (None, "init")]
)
def test_a_network_needs_init_and_apply(network, missing):
    with pytest.raises(TypeError, match=rf"a network needs init.* and apply.* has no {missing}$"):
        qjax.dqn(network, SGD)


@pytest.mark.parametrize(
    ("out", "named"),
    [
        (lambda q: q[None], r"output float32\[1, 3\] gives float32\[1, 3\]"),
        (lambda q: q[0], r"output float32\[\] gives float32\[\]"),
        (lambda q: (q, q), r"output \(float32\[3\], float32\[3\]\) gives \(float32\[3\], float32\[3\]\)"),
    ],
    ids=["two axes", "no axis", "tuple"],
)
def test_an_output_that_is_no_list_of_values_is_refused(out, named):
    network = Network(PLAIN.init, lambda params, obs, noise: out(PLAIN.apply(params, obs)))
    with pytest.raises(ValueError, match=f"one value per action.* network's {named}$"):
        qjax.dqn(network, SGD).init(KEY, jnp.zeros((2, FEATURES)))


def test_noise_is_shared_by_a_batch_or_each_transitions_own():
    # Action 0 answers with shared noise and action 1 with the transition's own; with reward and discount 0 the
    # error is that answer.
    def apply(params, obs, noise):
        if noise is None:
            return params
        return params + jnp.stack([jax.random.uniform(key) for key in (noise.shared, noise.per_sample)])

    agent, data = qjax.dqn(Network(lambda key, obs: jnp.zeros(2), apply), SGD), record(1, 16)
    data = data._replace(reward=0 * data.reward, discount=0 * data.discount, action=np.arange(16)[None] % 2)
    state = agent.init(KEY, jnp.asarray(data.obs[0]))
    learn = jax.jit(agent.learn)
    found, other = (learn(jax.random.key(seed), state, batch_of(data), START)[1]["priority"] for seed in (0, 1))
    assert np.unique(found[::2]).size == 1
    assert np.unique(found[1::2]).size == 8
    assert not np.isin(other, found).any()  # every update draws afresh
    assert not agent.values(None, state, jnp.zeros(FEATURES)).any()  # and None asks for the mean network


# Targets, errors and heads -----------------------------------------------------------------------------------


def test_td_target_and_error_by_hand():
    next_q = jnp.array([1.0, -2.0, 4.0])
    target = lambda discount, weights: float(
        qjax.td_target(jnp.float32(3), jnp.float32(discount), next_q, jnp.array(weights))
    )
    assert target(0.5, [0.0, 0.0, 1.0]) == 3 + 0.5 * 4
    assert target(0.5, [0.5, 0.25, 0.25]) == 3 + 0.5 * (0.5 - 0.5 + 1)
    assert target(0.0, [0.0, 0.0, 1.0]) == 3
    assert float(qjax.td_error(jnp.array([7.0, 8.0]), jnp.int32(1), jnp.float32(5))) == 5 - 8


def test_squared_has_no_half_and_huber_has():
    delta = jnp.array([-3.0, -1.0, -0.5, 0.0, 0.5, 1.0, 3.0])
    assert qjax.squared(delta).tolist() == [9, 1, 0.25, 0, 0.25, 1, 9]
    assert qjax.huber()(delta).tolist() == [2.5, 0.5, 0.125, 0, 0.125, 0.5, 2.5]
    assert qjax.huber(2.0)(delta).tolist() == [4, 0.5, 0.125, 0, 0.125, 0.5, 4]


@pytest.mark.parametrize("threshold", [0.5, 1.0, 2.0])
def test_the_gradient_of_huber_is_the_clipped_error(threshold):
    delta = jnp.linspace(-4, 4, 41)
    found = jax.vmap(jax.grad(qjax.huber(threshold)))(delta)
    np.testing.assert_allclose(found, np.clip(delta, -threshold, threshold), rtol=1e-6)


def test_a_huber_threshold_may_be_swept():
    found = jax.vmap(lambda threshold: qjax.huber(threshold)(jnp.float32(3)))(jnp.array([0.5, 1.0, 4.0]))
    assert found.tolist() == [0.5 * 2.75, 2.5, 4.5]


@pytest.mark.parametrize(("threshold", "named"), [(0, "0"), (-1.5, "-1.5"), (np.nan, "nan")])
def test_a_huber_threshold_is_positive(threshold, named):
    with pytest.raises(ValueError, match=rf"threshold must lie in \(0, inf\), got {named}$"):
        qjax.huber(threshold)


@pytest.mark.parametrize(("loss", "value"), [(None, 9.0), (qjax.huber(1.0), 2.5)])
def test_the_scalar_head(loss, value):
    head = qjax.scalar() if loss is None else qjax.scalar(loss)
    out = jnp.array([1.0, 5.0])
    np.testing.assert_array_equal(head.q(out), out)
    assert head.target(jnp.float32(1), jnp.float32(0.5), out, jnp.array([0.0, 1.0])) == 3.5
    found, priority = head.loss(out, jnp.int32(1), jnp.float32(2))
    assert (found, priority) == (value, 3)


# Against rlax ------------------------------------------------------------------------------------------------


def samples(count=200):
    rng = np.random.default_rng(3)
    q, next_q, online = rng.normal(size=(3, count, ACTIONS)).astype(np.float32)
    action = rng.integers(0, ACTIONS, count).astype(np.int32)
    reward = rng.normal(size=count).astype(np.float32)
    discount = np.where(rng.random(count) < 0.3, 0, GAMMA).astype(np.float32)
    return jax.device_put((q, action, reward, discount, next_q, online))


def our_errors(weights_of):
    @jax.vmap
    def error(q, action, reward, discount, next_q, online):
        weights = weights_of(next_q, online)
        return qjax.td_error(q, action, qjax.td_target(reward, discount, next_q, weights))

    return error(*samples())


def test_q_learning_agrees_with_rlax():
    theirs = jax.vmap(rlax.q_learning)(*samples()[:5])
    ours = our_errors(lambda next_q, online: qjax.maximum(KEY, ANY, online, next_q, START))
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_double_q_learning_agrees_with_rlax():
    theirs = jax.vmap(rlax.double_q_learning)(*samples())
    ours = our_errors(lambda next_q, online: qjax.double(KEY, ANY, online, next_q, START))
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_expected_sarsa_agrees_with_rlax():
    policy = qjax.epsilon_greedy(0.2)
    # One network, so the policy's values are those it averages; theirs takes the probabilities as given.
    q, action, reward, discount, next_q, _ = samples()
    probabilities = 0.2 / ACTIONS + 0.8 * jax.nn.one_hot(next_q.argmax(-1), ACTIONS)
    theirs = jax.vmap(rlax.expected_sarsa)(q, action, reward, discount, next_q, probabilities)
    ours = our_errors(lambda next_q, online: qjax.expected(policy)(KEY, ANY, next_q, next_q, START))
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("threshold", [0.5, 1.0])
def test_huber_agrees_with_rlax(threshold):
    delta = jnp.linspace(-3, 3, 61)
    np.testing.assert_allclose(qjax.huber(threshold)(delta), rlax.huber_loss(delta, threshold), rtol=1e-5)


# Bad input by hand -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("agent", [qjax.dqn(qjax.MLP(2), SGD), qjax.tabular(4, 2, 0.1)])
def test_a_legacy_key_is_refused_by_every_piece(agent):
    legacy = jax.random.PRNGKey(0)
    pieces = [
        lambda: agent.init(legacy, jnp.zeros((1, 4))),
        lambda: agent.learn(legacy, None, None, START),
        lambda: qjax.ring(8, 4).sample(legacy, None, None, START),
        lambda: qjax.make("CartPole-v1").reset(legacy),
    ]
    for piece in pieces:
        with pytest.raises(TypeError, match=r"jax.random.key\(seed\) makes it, got uint32\[2\]"):
            piece()


def test_a_network_of_no_width_is_refused():
    for network, named in (
        ((2, (0,)), "a hidden width must be at least 1, got 0"),
        ((-1,), "got -1"),
    ):
        with pytest.raises(ValueError, match=named):
            qjax.MLP(*network)


def test_a_discrete_observation_needs_an_encoding():
    with pytest.raises(TypeError, match=r"use qjax.encoded\(network, env.encode\)"):
        qjax.dqn(qjax.MLP(4), SGD).init(KEY, jnp.zeros(1, jnp.int32))


def test_a_policy_of_the_wrong_width_is_refused():
    env = qjax.make("CartPole-v1")
    agent, wide = qjax.dqn(qjax.MLP(2, (4,)), SGD), lambda q, time: jnp.ones(3) / 3
    loop = qjax.make_loop(env, agent, wide, qjax.ring(8, 4), gamma=0.9)
    with pytest.raises(ValueError, match=r"policy gives probabilities float32\[3\]; CartPole-v1 has 2 actions"):
        loop.init(KEY)
