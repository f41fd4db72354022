"""PQN: Q-learning on rollouts, with lambda-returns, without replay and without a target network."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Float, Int, Key

from qjax.agents.acting import memoryless
from qjax.agents.dqn import check_optimizer, gradient_step, hidden_of, without_gradient
from qjax.core.checks import check_callable, check_key, check_range, check_record, check_size
from qjax.core.default_rules import makes_usual
from qjax.core.returned import check_returned
from qjax.exploration.policies import uniform
from qjax.networks.networks import as_network
from qjax.objectives.heads import check_head, scalar
from qjax.objectives.returns import at_action, expected_value, lambda_returns, left_out
from qjax.objectives.target_policies import maximum
from qjax.replay.packing import pack
from qjax.types import (
    Agent,
    Batch,
    Head,
    Network,
    NetworkLike,
    Noise,
    Params,
    TargetPolicy,
    Time,
    Transition,
)


class PQNState(NamedTuple):
    """The state of a `pqn` agent."""

    params: Params
    """Of the network."""
    opt_state: optax.OptState
    """The optimiser's."""


def successor_value(
    network: Network,
    head: Head,
    target_policy: TargetPolicy,
    noise: Noise,
    params: Params,
    transition: Transition,
    time: Time,
) -> Float[Array, ""]:
    """Return sum_a' w(a') Q(s', a') at the true successor, with the weights of `target_policy` on the same values.

    There is one network, which chooses and evaluates in one pass: `target_policy` gets its values twice, and so
    `double` is `maximum` here.
    """
    target_policy_key, per_sample = jax.random.split(noise.per_sample)
    q = head.q(network.apply(params, transition.next_obs, noise._replace(per_sample=per_sample)))
    weights = check_returned(
        "the weights of target_policy", target_policy(target_policy_key, transition, q, q, time), q.shape
    )
    return expected_value(weights, q)


def rollout_returns(
    network: Network,
    head: Head,
    target_policy: TargetPolicy,
    lam: Any,
    key: Key[Array, ""],
    params: Params,
    batch: Batch,
    time: Time,
) -> Float[Array, "T B"]:
    """Return the lambda-returns of all rows and streams of a batch under `params`."""
    shared_key, per_sample_key = jax.random.split(key)

    def stream(per_sample, data, env):
        def one(per_sample, transition):
            return successor_value(
                network, head, target_policy, Noise(shared_key, per_sample), params, transition, at
            )

        at = time._replace(env=env)
        return lambda_returns(data.reward, data.discount, data.last, jax.vmap(one)(per_sample, data), lam)

    per_sample = jax.random.split(per_sample_key, batch.weight.shape)
    return jax.vmap(stream, in_axes=(1, 1, 0), out_axes=1)(per_sample, batch.data, batch.env)


def return_loss(
    network: Network,
    head: Head,
    noise: Noise,
    params: Params,
    obs: Any,
    action: Any,
    target: Float[Array, ""],
    weight: Any = 1.0,
) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
    """Return the loss of Q(obs, action) against a return times its weight; its priority, value and head's report.

    The head is given the return as the reward of a step that terminates. With the scalar head the loss is
    loss(target - Q(s, a)); a head of distributions learns that of the returns themselves.
    """
    out = without_gradient(weight, network.apply(params, obs, noise))
    q = head.q(out)
    alone = (target, jnp.float32(0), out, uniform(q))
    y = lax.stop_gradient(head.target(*alone))
    loss, priority = head.loss(out, action, y)
    logged = {} if head.report is None else head.report(*alone)
    info = {"priority": priority, "q": at_action(q, action), **logged}
    return weight * left_out(weight, loss), {name: left_out(weight, x) for name, x in info.items()}


def minibatch_step(
    network: Network,
    head: Head,
    optimizer: optax.GradientTransformation,
    key: Key[Array, ""],
    state: PQNState,
    minibatch: tuple[Any, Int[Array, " B"], Float[Array, " B"], Float[Array, " B"]],
) -> tuple[PQNState, tuple[Float[Array, ""], dict[str, Float[Array, " B"]]]]:
    """Return the state after one optimiser step on (obs, action, return, weight), its mean loss and its info."""
    shared, per_sample = jax.random.split(key)
    obs, action, target, weight = minibatch

    def mean_loss(params):
        def one(per_sample, *transition):
            return return_loss(network, head, Noise(shared, per_sample), params, *transition)

        loss, info = jax.vmap(one)(jax.random.split(per_sample, weight.size), obs, action, target, weight)
        return loss.mean(), info

    state, loss, info = gradient_step(optimizer, mean_loss, state)
    return state, (loss, info)


def shuffled(key: Key[Array, ""], size: int, what: str, epochs: int, minibatches: int) -> Int[Array, "steps size"]:
    """Return which of the `size` parts of a rollout make each minibatch, shuffled anew in each epoch.

    Raises:
        ValueError: the rollout, of `what`, does not divide into the minibatches.

    """
    if size % minibatches:
        raise ValueError(f"a rollout of {what} does not divide into {minibatches} minibatches")
    order = jax.vmap(lambda key: jax.random.permutation(key, size))(jax.random.split(key, epochs))
    return order.reshape(epochs * minibatches, size // minibatches)


@makes_usual
def pqn(
    network: NetworkLike,
    optimizer: optax.GradientTransformation,
    *,
    lam: Any = 0.65,
    epochs: int = 4,
    minibatches: int = 4,
    head: Head | None = None,
    target_policy: TargetPolicy = maximum,
) -> Agent:
    """Return a PQN agent (Gallici et al. 2024); its state is a `PQNState`.

    For `online()` and rollouts of T steps in N environments. `learn` computes the lambda-returns of the rollout
    once, from the network as it is then (`qjax.lambda_returns`), and takes one optimiser step on each of
    `minibatches` minibatches of the shuffled transitions, `epochs` times over, on mean_b weight_b loss_b with the
    loss of `return_loss`. There is no target network; normalisation inside the network (LayerNorm) stands in its
    place. An update of the loop's clock is one `learn`; an optax schedule counts epochs x minibatches steps for it.

    Args:
        network: any object with `init(key, obs) -> params` and `apply(params, obs) -> out` for one observation (a
            flax module), or a `qjax.Network`, whose `apply` also takes noise.
        optimizer: an optax optimiser; published: RAdam, after clipping the gradient's global norm to 10.
        lam: lambda, in [0, 1].
        epochs: passes over the rollout.
        minibatches: optimiser steps of a pass.
        head: how the output stands for Q; default `scalar()`, the squared error.
        target_policy: which next actions the returns count; any, given the one network's values twice.

    Raises:
        TypeError: the network lacks `init` or `apply`, an argument is not of its kind, or a size is traced or no
            whole number.
        ValueError: lambda lies outside [0, 1], or a size is not positive; (at trace time) the head finds no action
            values `[A]` in the network's output, or the rollout does not divide into the minibatches.

    """
    check_range("lambda", lam, 0, 1)
    epochs, minibatches = check_size("epochs", epochs), check_size("minibatches", minibatches)
    net = as_network(network)
    check_optimizer(optimizer)
    check_callable("target_policy", target_policy, "(key, transition, q_online, q_target, time) -> weights")
    head = scalar() if head is None else head
    check_record("head", head, Head)

    def init(key, obs):
        check_key(key)
        one = jax.tree.map(lambda x: x[0], obs)
        params = net.init(key, one)
        check_head(net, head, params, one)
        return PQNState(params, optimizer.init(params))

    def values(noise, state, obs):
        return head.q(net.apply(state.params, obs, noise))

    def learn(key, state, batch, time):
        check_key(key)
        target_key, order_key, noise_key = jax.random.split(key, 3)
        (rows, streams), size = batch.weight.shape, batch.weight.size
        what = f"{rows} steps x {streams} environments = {size} transitions"
        slots = shuffled(order_key, size, what, epochs, minibatches)
        target = rollout_returns(net, head, target_policy, lam, target_key, state.params, batch, time)
        packed = pack((batch.data.obs, batch.data.action, target, batch.weight), axes=2)

        def step(state, xs):
            key, slot = xs
            return minibatch_step(net, head, optimizer, key, state, packed.at(slot))

        state, (loss, info) = lax.scan(step, state, (jax.random.split(noise_key, len(slots)), slots))
        # Of the last pass, in the order of the batch.
        priority = jnp.zeros(batch.weight.size).at[slots[-minibatches:]].set(info.pop("priority")[-minibatches:])
        priority = priority.reshape(batch.weight.shape).max(0)
        logged = {name: x.mean() for name, x in info.items()}
        return state, {"loss": loss.mean(), **logged, "priority": priority}

    return Agent(init, memoryless(values), learn, one_step="lambda-returns", masks=net.masks, hidden=hidden_of(net))
