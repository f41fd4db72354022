"""DQN and PQN with recurrent networks: R2D2, DRQN, and PQN with an RNN.

Learning goes over the rows of a sequence again, from what the actor remembered before the first one, and begins
anew after the last row of an episode. What the cell gives then stands in the place of observations, so losses,
heads and target policies are those of `dqn` and `pqn`.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Bool, Float, Key

from qjax.agents.dqn import check_trace, dqn, gradient_step, mean_loss, off_policy_batch, td_loss
from qjax.agents.pqn import pqn, return_loss, rollout_returns, shuffled
from qjax.core.checks import check_flag, check_key, check_range, check_size, describe
from qjax.core.default_rules import makes_usual
from qjax.networks.recurrent import as_recurrent
from qjax.objectives.heads import scalar
from qjax.objectives.off_policy import Trace
from qjax.objectives.returns import n_step_transition
from qjax.objectives.rewards import environment_reward
from qjax.objectives.target_policies import maximum
from qjax.replay.delayed import windows
from qjax.types import (
    Agent,
    Batch,
    Carry,
    Head,
    Network,
    Noise,
    Params,
    RecurrentNetwork,
    Reward,
    Sync,
    TargetPolicy,
    Time,
    Transition,
)

_OVER_ROWS = Noise(shared=None, per_sample=0)  # type: ignore[arg-type]


class Hidden(NamedTuple):
    """What the cell gives for one observation."""

    online: Any
    """Under the parameters that learn."""
    target: Any
    """Under those of the target network."""


def unrolled(
    network: RecurrentNetwork,
    params: Params,
    carry: Carry,
    rows: Transition,
    learned: Bool[Array, " T"],
    noise: Noise,
) -> tuple[Any, Any]:
    """Return what the cell gives at each of T consecutive rows of one environment, and at each true successor.

    The successor is read with the carry of its own episode, which begins anew only after that. Where a row is not
    learned from, no gradient goes back through the carry: that is burn-in.

    Args:
        network: recurrent.
        params: its parameters.
        carry: before the first row.
        rows: leaves `[T, ...]`.
        learned: whether a row is learned from.
        noise: for reading observations: a key for each row, and a shared one.

    """
    read = jax.vmap(lambda noise, obs: network.features(params, obs, noise), in_axes=(_OVER_ROWS, 0))

    def step(carry, row):
        x, last, learned = row
        y, after = network.cell(params, carry, x)
        after = jax.tree.map(lambda x: jnp.where(learned, x, lax.stop_gradient(x)), after)
        return jax.tree.map(partial(jnp.where, last), network.begin(params), after), (y, after)

    _, (y, after) = lax.scan(step, carry, (read(noise, rows.obs), rows.last, learned))
    following, _ = jax.vmap(partial(network.cell, params))(after, read(noise, rows.next_obs))
    return y, following


def unrolled_streams(
    network: RecurrentNetwork,
    key: Key[Array, ""],
    params: Params,
    carry: Carry,
    rows: Transition,
    learned: Bool[Array, "T B"],
) -> tuple[Any, Any]:
    """Return `unrolled` of B streams, leaves `[T, B, ...]`."""
    shared_key, per_sample_key = jax.random.split(key)

    def stream(carry, rows, learned, per_sample):
        return unrolled(network, params, carry, rows, learned, Noise(shared_key, per_sample))

    per_sample = jax.random.split(per_sample_key, learned.shape)
    return jax.vmap(stream, in_axes=(0, 1, 1, 1), out_axes=1)(carry, rows, learned, per_sample)


def n_step_rows(rows: Transition, n: int) -> Transition:
    """Return the n-step transition from each of T consecutive rows; at their end those of the rows there are.

    A return ends with its episode, and with the last row, from whose successor it bootstraps.
    """
    count = rows.reward.shape[0]
    # Rows are told by their number, so that windows of what the cell gave are never made.
    numbered = rows._replace(obs=(), next_obs=jnp.arange(count), last=rows.last.at[-1].set(True))
    of_each = jax.tree.map(partial(windows, wait=n - 1), numbered)
    folded = jax.vmap(n_step_transition, in_axes=1)(of_each)
    return folded._replace(obs=rows.obs, next_obs=jax.tree.map(lambda x: x[folded.next_obs], rows.next_obs))


def _n_step_batch(n: int, key: Any, params: Any, target_params: Any, batch: Batch, time: Time) -> Batch:
    """Return a batch with the n-step transitions from its rows."""
    if n == 1:
        return batch
    return batch._replace(data=jax.vmap(partial(n_step_rows, n=n), in_axes=1, out_axes=1)(batch.data))


def sequence_priority(priority: Float[Array, "T B"], learned: Bool[Array, "T B"], eta: Any) -> Float[Array, " B"]:
    """Return eta max_t p_t + (1 - eta) mean_t p_t over the learned rows (Kapturowski et al. 2019, section 2.3)."""
    found = jnp.where(learned, priority, 0)
    return eta * found.max(0) + (1 - eta) * found.sum(0) / jnp.maximum(learned.sum(0), 1)


def carry_before(network: RecurrentNetwork, params: Params, batch: Batch, stored: bool) -> Carry:
    """Return what is remembered before a batch's first rows, `[B, ...]`, as stored or as at an episode's start.

    Raises:
        ValueError: it is to be the stored one, and the memory stores none.

    """
    begun, streams = network.begin(params), batch.weight.shape[1]
    structures: list[Any] = [jax.tree.structure(each) for each in (begun, batch.carry)]
    if not stored:
        return jax.tree.map(lambda x: jnp.broadcast_to(x, (streams, *x.shape)), begun)
    if structures[0] != structures[1]:
        raise ValueError(
            f"a recurrent agent learns from what it remembered, {describe(begun)}, which the memory does not store:"
            " take qjax.sequences(...) or qjax.online()"
        )
    return batch.carry


def sequence_loss(
    network: RecurrentNetwork,
    loss_of_row: Any,
    look_ahead: Callable[..., Batch],
    key: Key[Array, ""],
    target_params: Params,
    carry_of: Callable[[Params], Carry],
    batch: Batch,
    time: Time,
    params: Params,
) -> tuple[Float[Array, ""], dict[str, Float[Array, "T B"]]]:
    """Return the mean loss of the rows that are learned from, and the info of all rows.

    `loss_of_row` is as `td_loss`, of what the cell gives (`Hidden`), `look_ahead` makes its targets longer:
    `(key, params, target_params, batch, time) -> batch`, and `carry_of` gives the carry before the first rows under
    a network's parameters.
    """
    unroll_key, loss_key = jax.random.split(key)
    learned = batch.weight > 0
    pairs = [
        unrolled_streams(network, key, p, carry_of(p), batch.data, learned)
        for key, p in zip(jax.random.split(unroll_key), (params, target_params), strict=True)
    ]
    obs, following = (Hidden(*each) for each in zip(*pairs, strict=True))
    weight = batch.weight * (batch.weight.size / jnp.maximum(learned.sum(), 1))
    batch = batch._replace(data=batch.data._replace(obs=obs, next_obs=following), weight=weight)
    # Parameters come with the name of what the cell gave under them, which is what the output reads.
    online, target = (params, "online"), (target_params, "target")
    batch = look_ahead(jax.random.fold_in(loss_key, 0), online, target, batch, time)
    loss, info = mean_loss(loss_of_row, loss_key, target, batch, time, online)
    return loss, {name: x.reshape(weight.shape) for name, x in info.items()}


def rollouts_loss(
    network: RecurrentNetwork,
    head: Head,
    key: Key[Array, ""],
    minibatch: tuple[Carry, Transition, Float[Array, "T B"], Float[Array, "T B"]],
    params: Params,
) -> tuple[Float[Array, ""], dict[str, Float[Array, "T B"]]]:
    """Return the mean loss of rollouts, and the info of each row, by `return_loss`.

    A minibatch is the carry before the rollouts, their rows, and the rows' returns and weights.
    """
    unroll_key, shared_key, per_sample_key = jax.random.split(key, 3)
    carry, rows, target, weight = minibatch
    y, _ = unrolled_streams(network, unroll_key, params, carry, rows, weight > 0)

    def one(per_sample, *row):
        return return_loss(_after_the_cell(network), head, Noise(shared_key, per_sample), params, *row)

    keys = jax.random.split(per_sample_key, weight.shape)
    loss, info = jax.vmap(jax.vmap(one))(keys, y, rows.action, target, weight)
    return loss.mean(), info


def _after_the_cell(network: RecurrentNetwork) -> Network:
    """Return what comes after the cell as a network of what the cell gives."""
    return Network(network.init, network.output, network.masks)


def _output_of_hidden(network: RecurrentNetwork) -> Network:
    """Return what comes after the cell as a network of `Hidden`; its parameters say which of the two they read."""

    def apply(params, hidden, noise):
        return network.output(params[0], getattr(hidden, params[1]), noise)

    return Network(network.init, apply, network.masks)


def _at_the_start(network: RecurrentNetwork) -> Network:
    """Return a recurrent network as one that reads every observation as an episode's first."""

    def apply(params, obs, noise):
        return network.apply(params, network.begin(params), obs, noise)[0]

    return Network(network.init, apply, network.masks)


def _remembering(agent: Agent, network: RecurrentNetwork, head: Head) -> Agent:
    """Return an agent that acts with what it remembers; it learns from single rows, in the order of a sequence."""

    def act(noise, state, carry, obs):
        out, carry = network.apply(state.params, carry, obs, noise)
        return head.q(out), carry

    def begin(key, state):
        return network.begin(state.params)

    return agent._replace(act=act, begin=begin, one_step="a recurrent network")


@makes_usual
def recurrent_dqn(
    network: Any,
    optimizer: optax.GradientTransformation,
    *,
    n: int = 1,
    head: Head | None = None,
    target_policy: TargetPolicy = maximum,
    reward: Reward = environment_reward,
    target: Sync | None = None,
    eta: Any = 0.9,
    stored_state: bool = True,
    trace: Trace | None = None,
) -> Agent:
    """Return a DQN agent with a recurrent network; its state is a `DQNState`.

    For `qjax.sequences`, whose rows before the burn-in ends have weight 0: they bring both networks' carry up to
    date, from the stored one, and no gradient goes back through them. `learn` takes one optimiser step on the mean
    over the other rows of weight times the loss of `td_loss`.

    With n = 5, `double`, a rescaled head (`qjax.scalar(rescale=qjax.signed_hyperbolic())`) and prioritized
    sequences this is R2D2 (Kapturowski et al. 2019); with `stored_state=False` sequences begin as episodes do, as
    in DRQN (Hausknecht and Stone 2015, bootstrapped random updates).

    Args:
        network: `qjax.recurrent(cell, network)`, or any object that `qjax.as_recurrent` takes.
        optimizer: an optax optimiser.
        n: steps of the targets, fewer at an episode's and a sequence's end.
        head: how the output stands for Q; default `scalar()`, the squared error.
        target_policy: which next actions the target counts.
        reward: the environment's, or one with a bonus, which is that of single steps.
        target: how the target parameters follow; default a copy every 500 environment steps.
        eta: weight of the largest priority of a sequence's rows against their mean, in [0, 1].
        stored_state: whether sequences begin with what the actor remembered, or as an episode does.
        trace: how far targets look ahead, in place of n steps, as for `dqn`.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: eta lies outside [0, 1], n is less than 1, a reward with a bonus comes with n above 1, or a
            trace with that or a noisy network; (at trace time) the memory does not store the carry; and as for
            `dqn`.

    """
    net, n = as_recurrent(network), check_size("n", n)
    check_range("eta", eta, 0, 1)
    stored_state = check_flag("stored_state", stored_state)
    head = scalar() if head is None else head
    agent = dqn(_at_the_start(net), optimizer, head=head, target_policy=target_policy, reward=reward, target=target)
    if n > 1 and reward is not environment_reward:
        raise ValueError(f"a reward with a bonus is that of single steps, got n = {n}")
    if trace is not None:
        check_trace(trace, net, reward)
        if n > 1:
            raise ValueError(f"a trace looks ahead in the place of n steps, got n = {n}")
    output = _output_of_hidden(net)
    of_row = partial(td_loss, output, head, target_policy, reward)
    look_ahead = partial(_n_step_batch, n)
    if trace is not None:
        look_ahead = partial(off_policy_batch, output, head, target_policy, trace)

    def learn(key, state, batch, time):
        check_key(key)
        carry_of = partial(carry_before, net, batch=batch, stored=stored_state)
        loss_of = partial(sequence_loss, net, of_row, look_ahead, key, state.target_params, carry_of, batch, time)
        state, loss, info = gradient_step(optimizer, loss_of, state)
        learned = batch.weight > 0
        priority = sequence_priority(info.pop("priority"), learned, eta)
        means = {name: jnp.where(learned, x, 0).sum() / jnp.maximum(learned.sum(), 1) for name, x in info.items()}
        return state, {"loss": loss, **means, "priority": priority}

    reads = trace is not None and trace.reads_probability
    return _remembering(agent, net, head)._replace(learn=learn, reads_probability=reads)


@makes_usual
def recurrent_pqn(
    network: Any,
    optimizer: optax.GradientTransformation,
    *,
    lam: Any = 0.65,
    epochs: int = 4,
    minibatches: int = 4,
    head: Head | None = None,
    target_policy: TargetPolicy = maximum,
) -> Agent:
    """Return a PQN agent with a recurrent network (Gallici et al. 2024); its state is a `PQNState`.

    As `pqn`, for `online()`, but a minibatch has whole rollouts of some environments, each unrolled from what its
    actor remembered before it.

    Args:
        network: `qjax.recurrent(cell, network)`, or any object that `qjax.as_recurrent` takes.
        optimizer: an optax optimiser.
        lam: lambda, in [0, 1].
        epochs: passes over the rollout.
        minibatches: optimiser steps of a pass, each on as many environments.
        head: how the output stands for Q; default `scalar()`, the squared error.
        target_policy: which next actions the returns count.

    Raises:
        TypeError: an argument is not of its kind.
        ValueError: (at trace time) the environments do not divide into the minibatches, or the memory does not
            store the carry; and as for `pqn`.

    """
    net, head = as_recurrent(network), scalar() if head is None else head
    agent = pqn(
        _at_the_start(net), optimizer, lam=lam, epochs=epochs, minibatches=minibatches, head=head,
        target_policy=target_policy,
    )  # fmt: skip
    output = _after_the_cell(net)

    def learn(key, state, batch, time):
        check_key(key)
        unroll_key, target_key, order_key, noise_key = jax.random.split(key, 4)
        carry, streams = carry_before(net, state.params, batch, stored=True), batch.weight.shape[1]
        slots = shuffled(order_key, streams, f"{streams} environments", epochs, minibatches)
        _, following = unrolled_streams(net, unroll_key, state.params, carry, batch.data, batch.weight > 0)
        successors = batch._replace(data=batch.data._replace(next_obs=following))
        target = rollout_returns(output, head, target_policy, lam, target_key, state.params, successors, time)

        def step(state, xs):
            key, slot = xs
            rows = jax.tree.map(lambda x: x[:, slot], (batch.data, target, batch.weight))
            minibatch = (jax.tree.map(lambda x: x[slot], carry), *rows)
            loss_of = partial(rollouts_loss, net, head, key, minibatch)
            state, loss, info = gradient_step(optimizer, loss_of, state)
            return state, (loss, info)

        state, (loss, info) = lax.scan(step, state, (jax.random.split(noise_key, len(slots)), slots))
        # Of the last pass, in the order of the batch.
        priority = info.pop("priority")[-minibatches:].max(1)
        priority = jnp.zeros(streams).at[slots[-minibatches:]].set(priority)
        return state, {"loss": loss.mean(), **{name: x.mean() for name, x in info.items()}, "priority": priority}

    return _remembering(agent, net, head)._replace(learn=learn)
