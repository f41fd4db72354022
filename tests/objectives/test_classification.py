"""Heads that learn values as a classifier: values and gradients against NumPy in float64, and rlax."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import rlax
from scipy import special, stats

import qjax

LOW, HIGH, BINS, ACTIONS = -2.0, 3.0, 10, 3
H = qjax.signed_hyperbolic()
KINDS = {"hl-gauss": qjax.hl_gauss, "two-hot": qjax.two_hot}
RESCALED = pytest.mark.parametrize("rescale", [None, H], ids=["plain", "rescaled"])
ALL = pytest.mark.parametrize("kind", KINDS)


def slow_centers(kind):
    edges = np.linspace(LOW, HIGH, BINS + 1)
    return (edges[:-1] + edges[1:]) / 2 if kind == "hl-gauss" else np.linspace(LOW, HIGH, BINS)


def slow_labels(kind, y, smoothing=0.75):
    """The label of a target, bin by bin, in float64."""
    y, width = np.clip(float(y), LOW, HIGH), (HIGH - LOW) / BINS
    found = np.zeros(BINS)
    if kind == "hl-gauss":
        normal = stats.norm(y, smoothing * width)
        for i in range(BINS):
            found[i] = normal.cdf(LOW + (i + 1) * width) - normal.cdf(LOW + i * width)
        return found / found.sum()
    centers = slow_centers(kind)
    above = int(np.clip(np.searchsorted(centers, y), 1, BINS - 1))
    share = (y - centers[above - 1]) / (centers[above] - centers[above - 1])
    found[above - 1], found[above] = 1 - share, share
    return found


def samples(count=80):
    """Outputs, and rewards that reach beyond the support on both sides; a third of the transitions terminates."""
    rng = np.random.default_rng(0)
    out, next_out = 2 * rng.normal(size=(2, count, ACTIONS, BINS))
    discount = np.where(np.arange(count) % 3 == 0, 0, 0.9)
    reward = 2 * rng.normal(size=count)
    reward[:6] = LOW, HIGH, LOW - 100, HIGH + 100, 0.5, LOW + 0.5
    discount[:6] = 0
    floats = (jnp.asarray(x, jnp.float32) for x in (out, next_out, reward, discount))
    return *floats, jnp.asarray(rng.integers(0, ACTIONS, count), jnp.int32)


@RESCALED
@ALL
def test_values_targets_losses_and_gradients_are_those_of_a_slow_loop(kind, rescale):
    head = KINDS[kind](LOW, HIGH, BINS, rescale=rescale)
    h, inverse = (rescale.apply, rescale.inverse) if rescale else (float, float)
    out, next_out, reward, discount, action = samples()
    weights = jnp.array([0.5, 0.0, 0.5])

    def loss(out, next_out, reward, discount, action):
        y = head.target(reward, discount, next_out, weights)
        return head.loss(out, action, y)[0]

    found = jax.jit(jax.vmap(jax.value_and_grad(loss)))(out, next_out, reward, discount, action)
    for i in range(len(reward)):
        p, p_next = (special.softmax(np.asarray(x[i], np.float64), axis=-1) for x in (out, next_out))
        q = [float(inverse(m)) for m in p_next @ slow_centers(kind)]
        np.testing.assert_allclose(head.q(next_out[i]), q, rtol=2e-5, atol=1e-6)
        y = float(h(float(reward[i]) + float(discount[i]) * (q[0] + q[2]) / 2))
        label = slow_labels(kind, y)
        chosen = p[action[i]]
        np.testing.assert_allclose(found[0][i], -(label * np.log(chosen)).sum(), rtol=1e-4, atol=1e-5)
        slope = np.zeros((ACTIONS, BINS))
        slope[action[i]] = chosen - label
        np.testing.assert_allclose(found[1][i], slope, atol=2e-5)
        target = head.target(reward[i], discount[i], next_out[i], weights)
        np.testing.assert_allclose(
            head.loss(out[i], action[i], target)[1], abs(y - chosen @ slow_centers(kind)), rtol=1e-4, atol=1e-5
        )
        clipped = head.report(reward[i], discount[i], next_out[i], weights)["clipped"]
        if min(abs(y - LOW), abs(y - HIGH)) > 1e-2:
            assert clipped == (y < LOW or y > HIGH)


def test_two_hot_labels_are_rlaxs():
    head, zeros = qjax.two_hot(LOW, HIGH, BINS), jnp.zeros((1, BINS))
    for y in np.float32([LOW, HIGH, 0.0, 0.3, -1.7, LOW - 5, HIGH + 5]):
        label = rlax.transform_to_2hot(jnp.float32(y), LOW, HIGH, BINS)
        # The loss's gradient is softmax - label.
        slope = jax.grad(lambda out, y=y: head.loss(out, jnp.int32(0), jnp.float32(y))[0])(zeros)
        np.testing.assert_allclose(1 / BINS - slope[0], label, atol=2e-5)


@pytest.mark.parametrize("smoothing", [0.1, 0.75, float(BINS)])
def test_gaussian_labels_of_any_width_are_distributions(smoothing):
    head, zeros = qjax.hl_gauss(LOW, HIGH, BINS, smoothing), jnp.zeros((1, BINS))
    for y in np.float32([LOW, HIGH, 0.0, 0.25, 1e6, -1e6]):
        slope = jax.grad(lambda out, y=y: head.loss(out, jnp.int32(0), jnp.float32(y))[0])(zeros)
        np.testing.assert_allclose(1 / BINS - slope[0], slow_labels("hl-gauss", y, smoothing), atol=2e-6)


@ALL
def test_an_action_of_minus_infinity_is_masked(kind):
    head = KINDS[kind](LOW, HIGH, BINS)
    out = jnp.stack([jnp.full(BINS, -jnp.inf), jnp.zeros(BINS)])
    assert head.q(out).tolist() == [-np.inf, pytest.approx(0.5)]
    y = head.target(jnp.float32(1), jnp.float32(0.9), out, jnp.array([False, True]))
    assert float(y) == pytest.approx(1.45)
    slope = jax.grad(lambda out: head.loss(out, jnp.int32(1), y)[0])(out)
    assert (slope[0] == 0).all() and np.isfinite(slope[1]).all()


@ALL
def test_it_learns_the_mean_of_what_it_sees(kind):
    """Of random rewards with mean 1: the labels' mean is that, to what the support's ends cut off."""
    head, rng = KINDS[kind](-4.0, 6.0, 40), np.random.default_rng(0)
    rewards = jnp.asarray(rng.normal(1, 0.5, 2_000), jnp.float32)
    optimizer = optax.adam(0.05)

    def mean_loss(out):
        y = jax.vmap(lambda r: head.target(r, jnp.float32(0), out, jnp.ones(1)))(rewards)
        return jax.vmap(lambda y: head.loss(out, jnp.int32(0), y)[0])(jax.lax.stop_gradient(y)).mean()

    def step(carry, _):
        out, state = carry
        updates, state = optimizer.update(jax.grad(mean_loss)(out), state)
        return (optax.apply_updates(out, updates), state), None

    out = jnp.zeros((1, 40))
    (out, _), _ = jax.lax.scan(step, (out, optimizer.init(out)), length=1_000)
    assert float(head.q(out)[0]) == pytest.approx(float(rewards.mean()), abs=0.01)


@ALL
def test_the_network_must_have_as_many_outputs(kind):
    with pytest.raises(ValueError, match=rf"(?i){kind} head of 10 atoms needs an output \[A, 10\]"):
        KINDS[kind](LOW, HIGH, BINS).q(jnp.zeros((2, 5)))
