"""Heads for recorded data: losses and gradients against NumPy in float64, and what they choose."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from recorded_data import at_random
from scipy import special

import qjax
from qjax.types import Time, Transition

ACTIONS = 4
START = Time(jnp.float32(0), jnp.int32(0), jnp.float32(0))
HEADS = {
    "scalar": (qjax.scalar(), ()),
    "categorical": (qjax.categorical(-2.0, 3.0, 7), (7,)),
    "quantile": (qjax.quantile(), (5,)),
    "hl-gauss": (qjax.hl_gauss(-2.0, 3.0, 7), (7,)),
}


def outputs(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(ACTIONS, *shape)), jnp.float32)


def target_of(head, next_out):
    return head.target(jnp.float32(0.5), jnp.float32(0.9), next_out, jnp.ones(ACTIONS) / ACTIONS)


@pytest.mark.parametrize("name", HEADS)
def test_conservative_adds_what_the_paper_says_to_any_head(name):
    inner, shape = HEADS[name]
    head, out, y = qjax.conservative(inner, 0.7), outputs(*shape), target_of(inner, outputs(*shape, seed=1))
    for action in range(ACTIONS):
        q = np.asarray(inner.q(out), np.float64)
        own, priority = inner.loss(out, jnp.int32(action), y)
        found, same = head.loss(out, jnp.int32(action), y)
        np.testing.assert_allclose(found, own + 0.7 * (special.logsumexp(q) - q[action]), rtol=1e-5)
        assert same == priority
    np.testing.assert_array_equal(head.q(out), inner.q(out))


def test_conservative_pushes_values_down_by_the_softmax_and_the_datas_up():
    out, y = outputs(), jnp.float32(0.3)
    slope = jax.grad(lambda out: qjax.conservative(alpha=2.0).loss(out, jnp.int32(1), y)[0])(out)
    expected = 2 * (special.softmax(np.asarray(out, np.float64)) - np.eye(ACTIONS)[1])
    expected[1] += 2 * (float(out[1]) - 0.3)
    np.testing.assert_allclose(slope, expected, rtol=1e-4, atol=1e-6)


def test_conservative_counts_no_masked_action():
    out = outputs().at[2].set(-jnp.inf)
    loss, slope = jax.value_and_grad(lambda out: qjax.conservative().loss(out, jnp.int32(0), jnp.float32(0))[0])(
        out
    )
    rest = np.delete(np.asarray(out, np.float64), 2)
    np.testing.assert_allclose(loss, rest[0] ** 2 + special.logsumexp(rest) - rest[0], rtol=1e-5)
    assert slope[2] == 0 and np.isfinite(slope).all()


def test_cloning_is_the_cross_entropy_whatever_is_paid():
    head, out = qjax.behaviour_cloning(), outputs()
    y = target_of(head, outputs(seed=1))
    loss, slope = jax.value_and_grad(lambda out: head.loss(out, jnp.int32(2), y)[0])(out)
    p = special.softmax(np.asarray(out, np.float64))
    np.testing.assert_allclose(loss, -np.log(p[2]), rtol=1e-5)
    np.testing.assert_allclose(slope, p - np.eye(ACTIONS)[2], atol=1e-6)
    np.testing.assert_allclose(head.q(out), np.log(p), rtol=1e-5)
    assert y == 0


def test_batch_constrained_values_likely_actions_alone():
    logits = np.log([0.5, 0.3, 0.14, 0.06])
    out = jnp.asarray(np.stack([[1.0, 2.0, 3.0, 4.0], logits], 1), jnp.float32)
    for threshold, likely in ((0.0, 4), (0.13, 3), (0.3, 2), (0.7, 1), (1.0, 1)):
        q = qjax.batch_constrained(threshold).q(out)
        assert q.tolist() == [1.0, 2.0, 3.0, 4.0][:likely] + [-np.inf] * (4 - likely)


def test_batch_constrained_targets_are_the_published_ones():
    """Of the likely actions the online network's best; the target network values it, however unlikely there."""
    head = qjax.batch_constrained(0.3)
    online = jnp.array([[1.0, 0.0], [5.0, -9.0], [2.0, 0.0]])  # the second is best, but unlikely
    target = jnp.array([[7.0, 0.0], [8.0, 0.0], [9.0, -9.0]])
    row = Transition(*[jnp.zeros(())] * 6)
    weights = qjax.double(jax.random.key(0), row, head.q(online), head.q(target), START)
    assert weights.tolist() == [False, False, True]
    assert float(head.target(jnp.float32(1), jnp.float32(0.5), target, weights)) == 1 + 0.5 * 9


def test_batch_constrained_losses_are_those_of_a_slow_sum():
    out, y = outputs(2), jnp.float32(3.0)
    for action in range(ACTIONS):
        values, logits = np.asarray(out, np.float64).T
        delta = abs(3.0 - values[action])
        own = 0.5 * delta**2 if delta <= 1 else delta - 0.5
        expected = own - special.log_softmax(logits)[action] + 0.01 * (logits**2).mean()
        loss, priority = qjax.batch_constrained().loss(out, jnp.int32(action), y)
        np.testing.assert_allclose([loss, priority], [expected, delta], rtol=1e-5)
    with pytest.raises(ValueError, match=r"needs an output \[A, 2\].*float32\[4, 3\]"):
        qjax.batch_constrained().q(outputs(3))


def test_batch_constrained_never_takes_an_illegal_action():
    out = jnp.full((3, 2), -jnp.inf).at[1].set(jnp.array([0.5, -4.0]))
    assert qjax.batch_constrained(0.0).q(out).tolist() == [-np.inf, 0.5, -np.inf]
    loss, slope = jax.value_and_grad(
        lambda out: qjax.batch_constrained().loss(out, jnp.int32(1), jnp.float32(1))[0]
    )(out)
    assert np.isfinite(loss) and np.isfinite(slope[1]).all() and (slope[0] == 0).all()


def test_actions_that_are_not_to_be_chosen_have_values_all_the_same():
    """Losses and what is logged are of those, so that both are numbers; with a threshold of 0 all may be chosen."""
    out = jnp.array([[1.0, 0.0], [2.0, -200.0], [0.5, -1.0]])
    head = qjax.batch_constrained(0.5)
    assert head.q(out).tolist() == [1.0, -np.inf, -np.inf] and head.values(out).tolist() == [1.0, 2.0, 0.5]
    assert qjax.batch_constrained(0.0).q(out).tolist() == [1.0, 2.0, 0.5]
    assert qjax.scalar().values(out[:, 0]).tolist() == [1.0, 2.0, 0.5]
    both, plain = qjax.conservative(head, 1.0).loss, head.loss
    more = both(out, jnp.int32(1), jnp.float32(0))[0] - plain(out, jnp.int32(1), jnp.float32(0))[0]
    np.testing.assert_allclose(more, special.logsumexp([1.0, 2.0, 0.5]) - 2.0, rtol=1e-4)


@pytest.mark.parametrize("target_policy", [qjax.double, qjax.expected(qjax.epsilon_greedy(0.05))])
@pytest.mark.parametrize("trace", [qjax.retrace(), qjax.tree_backup(), qjax.watkins_trace(), qjax.peng_trace()])
def test_off_policy_returns_of_restricted_actions_are_numbers(trace, target_policy):
    """Though the online network chooses an action that the target network would not."""
    env = qjax.make("CartPole-v1")
    net = qjax.encoded(qjax.MLP(2, (4,), atoms=2), env.encode)
    agent = qjax.dqn(
        net, optax.adam(1e-2), head=qjax.batch_constrained(0.99), target_policy=target_policy, trace=trace,
        target=qjax.periodic(5, "update"),
    )  # fmt: skip
    memory = qjax.recorded(at_random(env, 60), 0.9, 8, window=4)
    loop = qjax.make_loop(env, agent, qjax.greedy, memory, gamma=0.9)
    lane = jax.jit(loop.run, static_argnums=2)(loop.init(jax.random.key(0)), qjax.clock.at(0), 30)
    assert lane.stats.diverged_at == 0 and np.isfinite(lane.stats.sums["q"].total)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(lane.agent.params))
