"""The benchmarks' baselines compute what they are compared with."""

import jax
import jax.numpy as jnp
import numpy as np

import qjax
from benchmarks.baselines import plain_recurrent_pqn as plain
from qjax.agents.pqn import shuffled
from qjax.networks.recurrent import RecurrentParams
from qjax.types import Batch, Time, Transition

KEY = jax.random.key(0)


def as_recurrent_params(params):
    dense, norm, cell, output = (params["params"][x] for x in ("Dense_0", "LayerNorm_0", "Cell_0", "Dense_1"))
    torso = {"Dense_0": dense, "LayerNorm_0": norm}
    return RecurrentParams({"params": torso}, {"params": cell["GRUCell_0"]}, {"params": {"Dense_0": output}})


def as_batch(carry, rows, after):
    following = jnp.concatenate([rows.obs[1:], after.obs[None]])  # wrong where one terminates: nothing may read it
    discount = plain.GAMMA * (1 - rows.terminated.astype(jnp.float32))
    data = Transition(rows.obs, rows.action, rows.reward, discount, following, rows.terminated)
    envs = jnp.arange(plain.ENVS)
    return Batch(data, jnp.ones(rows.reward.shape), envs, envs, carry.hidden)


def test_plain_recurrent_pqn_takes_the_steps_of_qjaxs():
    """From a second rollout, before which its actors remember something, and both with the default constants."""
    agent, *_, envs, rollout, _, _ = qjax.algorithms.parts("recurrent-pqn", qjax.make("MemoryChain-bsuite"))
    steps = qjax.algorithms.config("recurrent-pqn").steps
    assert (envs, rollout, steps) == (plain.ENVS, plain.ROLLOUT, plain.TOTAL)
    _, _, order_key, _ = jax.random.split(KEY, 4)
    order = shuffled(order_key, plain.ENVS, "", plain.EPOCHS, plain.MINIBATCHES)

    @jax.jit
    def both(key):
        carry = plain.collect(plain.init(key))[0]
        after, rows, value = plain.collect(carry)
        # As qjax's actors, who begin anew in the tick in which an episode ends.
        carry = carry._replace(hidden=jnp.where(carry.begun[:, None], 0, carry.hidden))
        state = agent.init(KEY, carry.obs)._replace(params=as_recurrent_params(carry.params))
        found, _ = agent.learn(KEY, state, as_batch(carry, rows, after), Time(0, 0, 0, envs=plain.ENVS))
        expected, _ = plain.learn(carry.params, carry.opt_state, carry.hidden, rows, value, order)
        return found.params, as_recurrent_params(expected), state.params, rows.terminated, carry.begun

    found, expected, before, terminated, begun = both(KEY)
    assert terminated.any() and not begun.all()
    moved = jax.tree.map(lambda x, y: abs(x - y).max(), expected, before)
    assert all(x > 1e-4 for x in jax.tree.leaves(moved)), moved
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-3, atol=1e-6), found, expected)
