"""Heads of distributions and Munchausen's reward: values and gradients against rlax, and NumPy loops in float64."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import rlax
from compilation import FUSED
from jax import lax
from scipy import special

import qjax
from qjax.objectives import heads
from qjax.types import Batch, Quantiles, Time, Transition

ACTIONS, ATOMS, GAMMA, COUNT = 3, 7, 0.9, 60
LOW, HIGH = -2.0, 3.0
KEY = jax.random.key(0)
START = Time(jnp.float32(0), jnp.int32(0), jnp.float32(0))
ANY = Transition(*[jnp.zeros(())] * 6)  # what these target policies do not read
TARGET_POLICIES = {"maximum": qjax.maximum, "double": qjax.double, "expected": qjax.expected(qjax.boltzmann(1.0))}
SUPPORT = np.linspace(LOW, HIGH, ATOMS)


def samples(width=ATOMS, seed=0, count=COUNT):
    """Outputs before and after, the online network's after, actions, rewards and discounts.

    A third terminates (discount 0); truncated steps bootstrap as others do. Rewards reach beyond the support on
    both sides, and some terminal ones lie exactly on an atom.
    """
    rng = np.random.default_rng(seed)
    out, next_out, online = 2 * rng.normal(size=(3, count, ACTIONS, width))
    action = rng.integers(0, ACTIONS, count)
    reward = 3 * rng.normal(size=count)
    discount = np.where(np.arange(count) % 3 == 0, 0, GAMMA)
    reward[::6] = SUPPORT[rng.integers(0, ATOMS, reward[::6].size)]
    floats = (np.float32(x) for x in (out, next_out, online, reward, discount))
    out, next_out, online, reward, discount = jax.device_put(list(floats))
    return out, jnp.asarray(action, jnp.int32), reward, discount, next_out, online


def loss_of(head, target_policy):
    """`(out, action, reward, discount, next_out, online) -> loss` of one transition, as `td_loss` has it."""

    def loss(out, action, reward, discount, next_out, online):
        weights = target_policy(KEY, ANY, head.q(online), head.q(next_out), START)
        return head.loss(out, action, head.target(reward, discount, next_out, weights))[0]

    return loss


def check_same(ours, theirs, arguments, axes=0):
    """The values and the gradients with respect to the first argument agree."""
    both = [jax.jit(jax.vmap(jax.value_and_grad(f), axes))(*arguments) for f in (ours, theirs)]
    for found, expected in zip(*both, strict=True):
        assert np.abs(expected).max() > 0.1
        np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-5)


# Categorical -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target_policy", TARGET_POLICIES)
def test_categorical_agrees_with_rlax(target_policy):
    support = jnp.asarray(SUPPORT, jnp.float32)

    def theirs(out, action, reward, discount, next_out, online):
        arguments = support, out, action, reward, discount, support, next_out
        q = (jax.nn.softmax(online) * support).sum(-1)
        if target_policy == "maximum":
            return rlax.categorical_q_learning(*arguments)
        if target_policy == "double":
            return rlax.categorical_double_q_learning(*arguments, q)
        # It has no expected update of distributions: this is that of a state, the next state's being the mixture.
        mixture = jax.nn.softmax(q) @ jax.nn.softmax(next_out)
        return rlax.categorical_td_learning(support, out[action], reward, discount, support, jnp.log(mixture))

    check_same(loss_of(qjax.categorical(LOW, HIGH, ATOMS), TARGET_POLICIES[target_policy]), theirs, samples())


def algorithm_1(reward, discount, mass):
    """Bellemare et al. 2017, in float64; an atom that falls on a place goes there, which as printed it does not."""
    projected, width = np.zeros(ATOMS), (HIGH - LOW) / (ATOMS - 1)
    for j in range(ATOMS):
        b = (np.clip(reward + discount * SUPPORT[j], LOW, HIGH) - LOW) / width
        below, above = int(np.floor(b)), int(np.ceil(b))
        projected[below] += mass[j] * (1 if below == above else above - b)
        projected[above] += mass[j] * (b - below)
    return projected


def test_a_categorical_target_of_a_mixture_is_the_mixture():
    _, _, reward, discount, next_out, _ = samples()
    weights = np.random.default_rng(1).dirichlet(np.ones(ACTIONS), COUNT).astype(np.float32)
    target = jax.jit(jax.vmap(qjax.categorical(LOW, HIGH, ATOMS).target))
    found = target(reward, discount, next_out, weights)
    probabilities = special.softmax(np.asarray(next_out, np.float64), axis=-1)
    expected = [
        sum(w * algorithm_1(float(r), float(d), p) for w, p in zip(ws, ps, strict=True))
        for r, d, ws, ps in zip(reward, discount, weights, probabilities, strict=True)
    ]
    np.testing.assert_allclose(found, expected, atol=2e-6)
    np.testing.assert_allclose(found.sum(-1), 1, atol=1e-5)


def test_a_terminal_reward_on_an_atom_puts_all_mass_there():
    head = qjax.categorical(-1.0, 1.0, 3)
    for reward, expected in ((0.0, [0, 1, 0]), (1.0, [0, 0, 1]), (-5.0, [1, 0, 0]), (0.5, [0, 0.5, 0.5])):
        y = head.target(jnp.float32(reward), jnp.float32(0), jnp.ones((1, 3)), jnp.ones(1))
        np.testing.assert_allclose(y, expected, atol=1e-7)


def test_a_floor_of_probabilities():
    """Beyond [least, 1 - least] a probability counts as the bound, and passes no gradient."""
    p, y, least = np.array([0.0001, 0.0099, 0.99]), np.array([0.2, 0.3, 0.5]), 0.001
    out = jnp.asarray(np.log(p)[None], jnp.float32)
    loss = lambda out: qjax.categorical(0.0, 1.0, 3, least).loss(out, jnp.int32(0), jnp.asarray(y, jnp.float32))[0]
    expected = -(y * np.log(np.clip(p, least, 1 - least))).sum()
    np.testing.assert_allclose(loss(out), expected, rtol=1e-5)
    # d/d logit_k of -sum_i y_i log p_i over the i within the bounds: -(y_k - p_k sum y)
    within = np.array([0.0, 0.3, 0.5])
    np.testing.assert_allclose(jax.grad(loss)(out)[0], p * within.sum() - within, rtol=1e-4, atol=1e-6)


def test_the_categorical_value_is_the_mean_and_the_priority_the_divergence():
    head = qjax.categorical(0.0, 10.0, 3)
    out = jnp.log(jnp.array([[0.2, 0.3, 0.5], [1.0, 1e-20, 1e-20]]))
    np.testing.assert_allclose(head.q(out), [0.3 * 5 + 0.5 * 10, 0], rtol=1e-5, atol=1e-6)
    found = head.loss(out, jnp.int32(0), jnp.array([0.5, 0.5, 0.0]))
    cross_entropy = -0.5 * np.log(0.2 * 0.3)
    np.testing.assert_allclose(found, [cross_entropy, cross_entropy - np.log(2)], rtol=1e-5)
    # Nothing is left to learn where they agree; and rounding makes no negative priority of that.
    loss, priority = jax.vmap(lambda out: head.loss(out, jnp.int32(0), jax.nn.softmax(out[0])))(
        jax.random.normal(jax.random.key(0), (200, 2, 3))
    )
    assert (loss > 0.1).all() and (priority >= 0).all() and (priority < 1e-6).all()


def test_the_support_may_be_swept():
    out, action, reward, _, next_out, online = (x[0] for x in samples())
    arguments = out, action, reward, jnp.float32(GAMMA), next_out, online
    swept = lambda low, high: loss_of(qjax.categorical(low, high, ATOMS), qjax.maximum)(*arguments)
    lows, highs = [-2.0, 0.0], [3.0, 50.0]
    found = jax.jit(jax.vmap(swept))(jnp.array(lows), jnp.array(highs))
    np.testing.assert_allclose(found, [swept(*x) for x in zip(lows, highs, strict=True)], rtol=1e-5)


# Quantiles ---------------------------------------------------------------------------------------------------


def quantiles_of_rlax(target_policy, kappa, out, levels, action, reward, discount, next_out, online):
    """Its expected update takes the probabilities as given; its kappa may be 0, for no square at all, ours not."""
    first = out.T, levels, action, reward, discount
    if target_policy == "expected":
        return rlax.quantile_expected_sarsa(*first, next_out.T, jax.nn.softmax(online.mean(-1)), kappa)
    return rlax.quantile_q_learning(
        *first, (next_out if target_policy == "maximum" else online).T, next_out.T, kappa
    )


@pytest.mark.parametrize("kappa", [1.0, 0.4])
@pytest.mark.parametrize("target_policy", TARGET_POLICIES)
def test_quantile_agrees_with_rlax(target_policy, kappa):
    levels = (jnp.arange(ATOMS) + 0.5) / ATOMS
    theirs = lambda out, *rest: quantiles_of_rlax(target_policy, kappa, out, levels, *rest)
    check_same(loss_of(qjax.quantile(kappa), TARGET_POLICIES[target_policy]), theirs, samples())


@pytest.mark.parametrize("target_policy", TARGET_POLICIES)
def test_implicit_quantiles_agree_with_rlax(target_policy):
    # Levels and their number differ between the prediction and the target.
    rng = np.random.default_rng(2)
    levels = jnp.asarray(rng.random((COUNT, ATOMS)), jnp.float32)
    out, action, reward, discount, *_ = samples()
    _, _, _, _, next_out, online = samples(width=4)
    head = qjax.quantile()
    anywhere = jnp.asarray(rng.random(4), jnp.float32)

    def ours(out, levels, action, reward, discount, next_out, online):
        after = Quantiles(next_out, anywhere), Quantiles(online, anywhere)
        return loss_of(head, TARGET_POLICIES[target_policy])(
            Quantiles(out, levels), action, reward, discount, *after
        )

    theirs = lambda *arguments: quantiles_of_rlax(target_policy, 1.0, *arguments)
    check_same(ours, theirs, (out, levels, action, reward, discount, next_out, online))


def test_no_atom_of_a_mixture_is_an_average():
    # Two actions of returns 0 and 10, equally likely: nothing lies at 5.
    y = qjax.quantile().target(
        jnp.float32(1), jnp.float32(0.5), jnp.array([[0.0, 0], [10, 10]]), jnp.array([0.5, 0.5])
    )
    assert y.values.tolist() == [1, 1, 6, 6]
    assert y.mass.tolist() == [0.25] * 4


def test_boolean_weights_are_one_action_as_numbers_are():
    out, action, reward, discount, next_out, online = samples()
    as_numbers = lambda *x: qjax.double(*x).astype(jnp.float32)
    for head in (qjax.quantile(), qjax.categorical(LOW, HIGH, ATOMS)):
        arguments = out, action, reward, discount, next_out, online
        check_same(loss_of(head, qjax.double), loss_of(head, as_numbers), arguments)
    weights = jnp.array([False, True, False])
    assert qjax.quantile().target(reward[1], discount[1], next_out[1], weights).values.shape == (ATOMS,)


def test_the_quantile_value_is_the_mean_and_the_priority_the_loss():
    head = qjax.quantile()
    out = jnp.array([[1.0, 3.0], [5.0, 9.0]])
    assert head.q(out).tolist() == head.q(Quantiles(out, jnp.array([0.1, 0.2]))).tolist() == [2, 7]
    # u = 4 - 1 = 3 at level 1/4, and 4 - 3 = 1 at level 3/4.
    assert [float(x) for x in head.loss(out, jnp.int32(0), heads.Atoms(jnp.array([4.0]), jnp.ones(1)))] == [
        0.25 * 2.5 + 0.75 * 0.5
    ] * 2


# The loss over pairs -----------------------------------------------------------------------------------------


def plain_loss(predictions, levels, values, mass, kappa):
    """All pairs, as published."""
    u = values[:, None] - predictions
    size = jnp.abs(u)
    huber = jnp.where(size <= kappa, u**2 / 2, kappa * (size - kappa / 2))
    return (mass[:, None] * jnp.abs(levels - (u < 0)) * huber).sum()


def pairs(lanes=5):
    """Predictions and atoms on a grid of halves: many u are 0, and many are +- kappa, exactly."""
    rng = np.random.default_rng(0)
    predictions, values = rng.integers(-4, 5, (2, lanes, 20)) / 2
    mass = rng.dirichlet(np.ones(20), lanes)
    levels = rng.random((lanes, 20))
    return jax.device_put([np.float32(x) for x in (predictions, levels, values, mass)])


@pytest.mark.parametrize("platform", ["cpu", "default"])
def test_the_derivative_is_that_of_the_plain_formula_ties_included(platform, monkeypatch):
    branch = lambda *arguments, **branches: branches[platform](*arguments)
    monkeypatch.setattr(lax, "platform_dependent", branch)
    arguments = (*pairs(), jnp.array([1.0, 0.5, 2.0, 0.25, 1.5]))  # a swept kappa
    u = np.asarray(arguments[2])[:, :, None] - np.asarray(arguments[0])[:, None]
    kappa = np.asarray(arguments[4])[:, None, None]
    assert ((u == 0).any((1, 2)) & (u == kappa).any((1, 2)) & (u == -kappa).any((1, 2)))[[0, 1, 2, 4]].all()
    check_same(heads.quantile_loss, plain_loss, arguments)


def test_both_ways_to_sum_have_the_derivatives_that_differences_have():
    predictions, levels, values, mass = (np.asarray(x[0], np.float64) for x in pairs())
    predictions = predictions + 0.13  # no kink is crossed
    gradient = jax.grad(heads.quantile_loss)(*(jnp.float32(x) for x in (predictions, levels, values, mass, 0.7)))

    def loss(predictions):
        total = 0.0
        for i, theta in enumerate(predictions):
            for y, m in zip(values, mass, strict=True):
                u = y - theta
                huber = u * u / 2 if abs(u) <= 0.7 else 0.7 * (abs(u) - 0.35)
                total += m * abs(levels[i] - (u < 0)) * huber
        return total

    step = 1e-5 * np.eye(predictions.size)
    expected = [(loss(predictions + e) - loss(predictions - e)) / 2e-5 for e in step]
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-5)


def largest(function, *shapes):
    """Return the entries of the largest array in the compiled program."""
    text = jax.jit(function).lower(*(jax.ShapeDtypeStruct(s, d) for s, d in shapes)).compile(FUSED).as_text()
    return max(np.prod([int(n) for n in shape.split(",")]) for shape in re.findall(r"\[([\d,]+)\]", text))


def test_nothing_of_the_size_of_all_pairs_is_kept():
    lanes, batch, n = 2, 128, 200

    def gradient(loss):
        def mean(out, next_out, action, weights, kappa):
            head = qjax.quantile(kappa)

            def one(out, next_out, action, weights):
                y = head.target(jnp.float32(0), jnp.float32(1), next_out, weights)
                if loss is None:
                    return head.loss(out, action, y)[0]
                return loss(out[action], heads.midpoints(n), *y, kappa)

            return jax.vmap(one)(out, next_out, action, weights).mean()

        return jax.vmap(jax.value_and_grad(mean))

    f32 = jnp.float32
    outs = ((lanes, batch, 2, n), f32)
    shapes = (outs, outs, ((lanes, batch), jnp.int32), ((lanes, batch, 2), bool), ((lanes,), f32))
    assert largest(gradient(None), *shapes) == lanes * batch * 2 * n  # the outputs themselves
    assert largest(gradient(plain_loss), *shapes) >= lanes * batch * n * n  # so the look can fail


# Munchausen, which rlax has not ------------------------------------------------------------------------------


# ---- rescaled values


def test_rescaling_is_the_published_one_and_has_its_inverse():
    h, inverse = qjax.signed_hyperbolic()
    x = jnp.concatenate([-jnp.logspace(-3, 5, 50), jnp.zeros(1), jnp.logspace(-3, 5, 50)])
    np.testing.assert_allclose(h(x), rlax.signed_hyperbolic(x), rtol=1e-6)
    np.testing.assert_allclose(inverse(h(x)), x, rtol=1e-4, atol=1e-6)
    assert inverse(-jnp.inf) == -jnp.inf  # which masks an action


@pytest.mark.parametrize("weights", [jnp.array([False, True, False]), jnp.array([0.2, 0.3, 0.5])])
def test_a_rescaled_target_is_h_of_the_target_of_values(weights):
    """Scalar; and quantiles and atoms that stand for one certain return, which must tell the same."""
    h = qjax.signed_hyperbolic(0.01).apply
    reward, discount, value = jnp.float32(3.0), jnp.float32(0.9), jnp.array([40.0, -7.0, 2.0])
    y = qjax.scalar(rescale=qjax.signed_hyperbolic(0.01)).target(reward, discount, h(value), weights)
    np.testing.assert_allclose(y, h(qjax.td_target(reward, discount, value, weights)), rtol=1e-5)
    np.testing.assert_allclose(qjax.scalar(rescale=qjax.signed_hyperbolic(0.01)).q(h(value)), value, rtol=1e-4)

    quantile = qjax.quantile(rescale=qjax.signed_hyperbolic(0.01))
    atoms = quantile.target(reward, discount, jnp.repeat(h(value)[:, None], 4, 1), weights)
    of_action = h(reward + discount * value)
    np.testing.assert_allclose((atoms.values * atoms.mass).sum(), (weights * of_action).sum(), rtol=1e-4)

    low, high, places = -5.0, 15.0, jnp.linspace(-5, 15, 401)
    categorical = qjax.categorical(low, high, 401, rescale=qjax.signed_hyperbolic(0.01))
    logits = jnp.where(jnp.arange(401) == jnp.abs(places - h(value)[:, None]).argmin(-1)[:, None], 0.0, -1e9)
    np.testing.assert_allclose(categorical.q(logits), value, atol=1.0)
    mean = (categorical.target(reward, discount, logits, weights) * places).sum()
    np.testing.assert_allclose(mean, (weights * of_action).sum(), atol=0.1)


def munchausen_in_numpy(temperature, alpha, low):
    """Return the policy and the reward's terms in float64."""

    def log_policy(q):
        return special.log_softmax(np.asarray(q, np.float64) / temperature, axis=-1)

    def bonus(q, action):
        return alpha * np.clip(temperature * log_policy(q)[np.arange(len(q)), action], low, 0)

    def entropy(q):
        return -(temperature * np.exp(log_policy(q)) * log_policy(q)).sum(-1)

    return lambda q: np.exp(log_policy(q)), bonus, entropy


def table_batch(seed=0, count=24):
    """Transitions among the rows of a table; a third terminates, a third is truncated."""
    rng = np.random.default_rng(seed)
    obs, next_obs = rng.integers(0, 8, (2, 1, count)).astype(np.int32)
    kind = np.arange(count)[None] % 3
    discount = np.where(kind == 0, 0, GAMMA).astype(np.float32)
    action = rng.integers(0, ACTIONS, (1, count)).astype(np.int32)
    data = Transition(obs, action, rng.normal(size=(1, count)).astype(np.float32), discount, next_obs, kind < 2)
    index = np.arange(count, dtype=np.int32)
    return jax.device_put(Batch(data, np.ones((1, count), np.float32), index, index))


@pytest.mark.parametrize(
    ("settings", "scale"),
    [({}, 0.02), ({}, 100.0), ({"temperature": 0.5, "alpha": 0.7, "low": -0.3}, 1.0), ({"alpha": 0.0}, 0.05)],
    ids=["close values", "far values", "others", "soft dqn"],
)
def test_munchausen_learns_from_the_published_target(settings, scale):
    rng = np.random.default_rng(1)
    online, target = scale * rng.normal(size=(2, 8, ACTIONS))
    agent = qjax.dqn(qjax.table(8, ACTIONS), optax.sgd(1.0), **qjax.munchausen(**settings))
    batch = table_batch()
    state = agent.init(KEY, jnp.zeros(1, jnp.int32))
    state = state._replace(params=jnp.asarray(online, jnp.float32), target_params=jnp.asarray(target, jnp.float32))
    after, info = jax.jit(agent.learn)(KEY, state, batch, START)

    policy, bonus, entropy = munchausen_in_numpy(**{"temperature": 0.03, "alpha": 0.9, "low": -1.0, **settings})
    x = jax.tree.map(lambda x: np.asarray(x[0]), batch.data)
    q_next = np.float64(np.float32(target))[x.next_obs]
    soft = (policy(q_next) * q_next).sum(-1) + entropy(q_next)
    y = x.reward + bonus(np.float32(target)[x.obs], x.action) + x.discount * soft
    delta = y - online[x.obs, x.action]
    np.testing.assert_allclose(info["priority"], np.abs(delta), rtol=1e-4, atol=2e-5)
    gradient = np.zeros((8, ACTIONS))
    np.add.at(gradient, (x.obs, x.action), -2 * delta / delta.size)
    np.testing.assert_allclose(state.params - after.params, gradient, rtol=1e-4, atol=2e-5 * max(scale, 1))


def test_munchausens_policy_is_accurate_at_small_temperatures():
    q = jnp.array([700.0, 699.99, 699.9, 600.0])
    parts = qjax.munchausen(0.03)
    policy, bonus, _ = munchausen_in_numpy(0.03, 0.9, -1.0)
    weights = parts["target_policy"](KEY, ANY, q, q, START)
    np.testing.assert_allclose(weights, policy(q), rtol=1e-5, atol=1e-12)
    for action in range(4):
        step = ANY._replace(action=jnp.int32(action))
        found = parts["reward"](step, q, q, weights, START)
        np.testing.assert_allclose(found, bonus(q[None], action)[0], rtol=1e-5)
    # At the smallest float32, where dividing would overflow, it is the greedy policy and no NaN.
    tiny = qjax.munchausen(1e-37)
    assert tiny["target_policy"](KEY, ANY, q, q, START).tolist() == [1, 0, 0, 0]
    step = ANY._replace(action=jnp.int32(3), discount=jnp.float32(1))
    assert float(tiny["reward"](step, q, q, jnp.eye(4)[0], START)) == np.float32(-0.9)


def test_munchausen_mixes_distributions():
    # The target is that of the mixture under the soft policy, with a reward that has the bonus.
    rng = np.random.default_rng(4)
    parts, settings = qjax.munchausen(0.5), (0.5, 0.9, -1.0)
    policy, bonus, entropy = munchausen_in_numpy(*settings)
    q, next_out = rng.normal(size=(1, ACTIONS)), np.float32(rng.normal(size=(ACTIONS, ATOMS)))
    step = Transition(0, jnp.int32(1), jnp.float32(0.3), jnp.float32(GAMMA), 0, False)
    for head in (qjax.quantile(), qjax.categorical(LOW, HIGH, ATOMS)):
        q_next = head.q(jnp.asarray(next_out))
        weights = parts["target_policy"](KEY, step, q_next, q_next, START)
        reward = parts["reward"](step, jnp.asarray(q[0], jnp.float32), q_next, weights, START)
        expected = 0.3 + bonus(q, [1])[0] + GAMMA * entropy(np.asarray(q_next)[None])[0]
        np.testing.assert_allclose(reward, expected, rtol=1e-5)
        found = head.target(reward, step.discount, jnp.asarray(next_out), weights)
        mixed = policy(np.asarray(q_next))
        if isinstance(found, heads.Atoms):
            np.testing.assert_allclose(found.values, (expected + GAMMA * next_out).ravel(), rtol=1e-4, atol=1e-6)
            np.testing.assert_allclose(found.mass, np.repeat(mixed / ATOMS, ATOMS), rtol=1e-5)
        else:
            mass = (mixed[:, None] * special.softmax(next_out.astype(np.float64), axis=-1)).sum(0)
            np.testing.assert_allclose(found, algorithm_1(expected, GAMMA, mass), atol=1e-6)


def test_munchausens_numbers_may_be_swept():
    q, step = jnp.array([0.1, 0.2, 0.0]), ANY._replace(action=jnp.int32(2), discount=jnp.float32(GAMMA))

    def reward(temperature, alpha, low):
        parts = qjax.munchausen(temperature, alpha, low)
        return parts["reward"](step, q, q, parts["target_policy"](KEY, step, q, q, START), START)

    settings = [(0.03, 0.9, -1.0), (0.5, 0.5, -0.1), (0.1, 0.0, -2.0)]
    found = jax.jit(jax.vmap(reward))(*jnp.array(settings).T)
    np.testing.assert_allclose(found, [reward(*x) for x in settings], rtol=1e-5, atol=1e-7)


# Bad input ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("network", "head", "named"),
    [
        (
            qjax.MLP(3, (4,), atoms=32),
            qjax.categorical(0.0, 1.0),
            r"of 51 atoms needs .*\[A, 51\].*float32\[3, 32\]",
        ),
        (qjax.MLP(3, (4,)), qjax.categorical(0.0, 1.0), r"of 51 atoms needs an output \[A, 51\].*is float32\[3\]"),
        (qjax.MLP(3, (4,), levels=8), qjax.categorical(0.0, 1.0), r"51 atoms.*\(float32\[3, 32\], float32\[32\]\)"),
        (qjax.MLP(3, (4,)), qjax.quantile(), r"quantile head needs an output \[A, n\].*is float32\[3\]"),
        (qjax.MLP(3, (4,), atoms=32), qjax.scalar(), r"one value per action, \[A\].*output float32\[3, 32\] gives"),
        (qjax.MLP(3, (4,), levels=8), None, r"output \(float32\[3, 32\], float32\[32\]\) gives"),
    ],
)
def test_a_head_that_does_not_fit_the_output_is_refused(network, head, named):
    with pytest.raises(ValueError, match=named):
        qjax.dqn(network, optax.sgd(1.0), head=head).init(KEY, jnp.zeros((1, 4)))


def test_quantiles_need_a_level_each():
    with pytest.raises(ValueError, match=r"\[A, n\] at levels \[n\].*\(float32\[3, 5\], float32\[4\]\)"):
        qjax.quantile().q(Quantiles(jnp.zeros((3, 5)), jnp.zeros(4)))


def test_a_loss_is_one_number():
    head = qjax.scalar()._replace(loss=lambda out, action, y: (out - y, out[action]))
    with pytest.raises(ValueError, match=r"head's loss must be one number for one transition, got float32\[3\]"):
        qjax.dqn(qjax.MLP(3, (4,)), optax.sgd(1.0), head=head).init(KEY, jnp.zeros((1, 4)))


@pytest.mark.parametrize(
    ("build", "error", "named"),
    [
        (
            lambda: qjax.categorical(1.0, 1.0),
            ValueError,
            "v_min.* must be below .*v_max.*, got low 1.0 and high 1.0",
        ),
        (lambda: qjax.categorical(3, -2), ValueError, "got low 3 and high -2"),
        (lambda: qjax.categorical(0.0, float("inf")), ValueError, "high .* got inf"),
        (lambda: qjax.categorical(float("nan"), 1.0), ValueError, "low .* got nan"),
        (lambda: qjax.categorical("a", 1.0), TypeError, "low .* must be a number, got 'a'"),
        (lambda: qjax.categorical(0.0, 1.0, 1), ValueError, "atoms must be at least 2, got 1"),
        (lambda: qjax.quantile(0.0), ValueError, r"kappa must lie in \(0, inf\), got 0.0"),
        (lambda: qjax.munchausen(0.0), ValueError, r"temperature must lie in \(0, inf\), got 0.0"),
        (lambda: qjax.munchausen(alpha=1.5), ValueError, r"alpha must lie in \[0, 1\], got 1.5"),
        (lambda: qjax.munchausen(low=0.5), ValueError, r"low must lie in \[-inf, 0\], got 0.5"),
    ],
)
def test_bad_numbers_are_named(build, error, named):
    with pytest.raises(error, match=named):
        build()
