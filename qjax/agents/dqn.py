"""Deep Q-networks and every variant that keeps their shape: a network, a target network, a gradient step."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Float, Key

from qjax.agents.acting import memoryless
from qjax.core.annotations import checked
from qjax.core.checks import check_callable, check_key, check_record
from qjax.core.default_rules import makes_usual, usual
from qjax.core.returned import check_returned
from qjax.core.text import shown
from qjax.networks.networks import as_network
from qjax.objectives.heads import check_head, scalar
from qjax.objectives.off_policy import Trace, off_policy_returns
from qjax.objectives.returns import at_action, expected_value, left_out
from qjax.objectives.rewards import environment_reward
from qjax.objectives.target_networks import periodic
from qjax.objectives.target_policies import maximum
from qjax.types import (
    Agent,
    Batch,
    Head,
    Network,
    NetworkLike,
    Noise,
    Params,
    Reward,
    State,
    Sync,
    TargetPolicy,
    Time,
    Transition,
)


class DQNState(NamedTuple):
    """The state of a `dqn` agent."""

    params: Params
    """Parameters of the network that learns and acts."""
    target_params: Params
    """Parameters of the target network."""
    opt_state: optax.OptState
    """State of the optimiser."""
    sync_state: State
    """State of what moves the target network: a count of steps, or nothing."""


@usual
@checked
def td_loss(
    network: Network,
    head: Head,
    target_policy: TargetPolicy,
    reward: Reward,
    noise: Noise,
    params: Params,
    target_params: Params,
    transition: Transition,
    time: Time,
    weight: Float[Array, ""] | float = 1.0,
) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
    """Return the loss of one transition under `params` times its weight, and its priority, value and head's report.

    With the scalar head, `maximum` and squared errors this is ( r + gamma max_a' Q(s',a'; theta-) - Q(s,a;
    theta) )**2 (Mnih et al. 2015, equation 2), without a half and without a mean; the target carries no gradient.

    The network's four roles draw their noise independently: the prediction, the online choice of the next
    action, the target network's choice, and its evaluation. Passes that the target policy does not read are dropped
    by the compiler. Of a transition with weight 0 nothing reaches the gradient, though its action be masked.
    """
    roles = [Noise(*keys) for keys in zip(*(jax.random.split(key, 5) for key in noise), strict=True)]
    predict_noise, online_noise, choose_noise, evaluate_noise, (_, target_policy_key) = roles

    out = without_gradient(weight, network.apply(params, transition.obs, predict_noise))
    q_online = head.q(network.apply(params, transition.next_obs, online_noise))
    q_choose = head.q(network.apply(target_params, transition.next_obs, choose_noise))
    next_out = network.apply(target_params, transition.next_obs, evaluate_noise)
    q_before = head.q(network.apply(target_params, transition.obs, choose_noise))

    weights = target_policy(target_policy_key, transition, q_online, q_choose, time)
    check_returned("the weights of target_policy", weights, q_choose.shape)
    r = check_returned("what reward returns", reward(transition, q_before, q_choose, weights, time), ())
    y = lax.stop_gradient(head.target(r, transition.discount, next_out, weights))
    loss, priority = head.loss(out, transition.action, y)
    q = at_action(head.values(out), transition.action)
    logged = {} if head.report is None else head.report(r, transition.discount, next_out, weights)
    info = {"priority": priority, "q": q, **logged}
    return weight * left_out(weight, loss), {name: left_out(weight, x) for name, x in info.items()}


def off_policy_batch(
    network: Network,
    head: Head,
    target_policy: TargetPolicy,
    trace: Trace,
    key: Key[Array, ""],
    params: Params,
    target_params: Params,
    batch: Batch,
    time: Time,
) -> Batch:
    """Return a batch of consecutive rows, `[T, B]`, whose rewards are the off-policy returns from each row on.

    They bootstrap by themselves, so discounts are 0. Values are the target network's, and the target policy chooses
    as it does for single steps; see `qjax.objectives.off_policy`.
    """
    data, (rows, streams) = batch.data, batch.weight.shape
    noise_key, policy_key = jax.random.split(key)
    shared, per_sample_key = jax.random.split(noise_key)

    def at_successor(per_sample: Any, policy_key: Any, env: Any, transition: Transition, taken: Any) -> Any:
        noise = Noise(shared, per_sample)
        out, target_out = (network.apply(p, transition.next_obs, noise) for p in (params, target_params))
        q_online, q, values = head.q(out), head.q(target_out), head.values(target_out)
        weights = target_policy(policy_key, transition, q_online, q, time._replace(env=env))
        check_returned("the weights of target_policy", weights, q.shape)
        c, b = trace.step(values, weights, *taken)
        # Nothing is looked ahead to beyond an action that is not to be chosen.
        return expected_value(weights, values), jnp.where(q[taken[0]] > -jnp.inf, c, 0.0), b

    # What was taken at a row's successor is the next row's, where the episode goes on.
    taken = jax.tree.map(lambda x: jnp.roll(x, -1, axis=0), (data.action, data.probability))
    per_sample, policy_keys = (jax.random.split(x, (rows, streams)) for x in (per_sample_key, policy_key))
    env = jnp.broadcast_to(batch.env, (rows, streams))
    value, c, b = jax.vmap(jax.vmap(at_successor))(per_sample, policy_keys, env, data, taken)
    of_stream = jax.vmap(off_policy_returns, in_axes=1, out_axes=1)
    returns = lax.stop_gradient(of_stream(data.reward, data.discount, data.last, value, c, b))
    return batch._replace(data=data._replace(reward=returns, discount=jnp.zeros_like(data.discount)))


def check_trace(trace: Any, network: Any, reward: Reward) -> None:
    """Check that off-policy returns can be taken of a network's values and of rewards.

    Raises:
        TypeError: it is no trace.
        ValueError: the network has noisy layers, or the reward a bonus.

    """
    check_record("trace", trace, Trace)
    if network.noisy:
        raise ValueError("a trace compares values of several steps, and a noisy network's differ by their noise")
    if reward is not environment_reward:
        raise ValueError("a reward with a bonus is that of single steps, and takes no trace")


def without_gradient(weight: Any, out: Any) -> Any:
    """Return a network's output, through which no gradient goes where the transition's weight is 0.

    The gradient of a loss that is infinite or NaN would be NaN, whatever it is multiplied by.
    """
    return jax.tree.map(lambda x: jnp.where(weight > 0, x, lax.stop_gradient(x)), out)


def mean_loss(
    of_one: Callable[..., Any], key: Key[Array, ""], target_params: Params, batch: Batch, time: Time, params: Params
) -> tuple[Float[Array, ""], dict[str, Float[Array, " size"]]]:
    """Return the mean loss of a batch's transitions, `of_one` as `td_loss`, and the info of each."""
    rows, streams = batch.weight.shape
    size = rows * streams
    data = jax.tree.map(lambda x: x.reshape(size, *x.shape[2:]), batch.data)
    env = jnp.broadcast_to(batch.env, (rows, streams)).reshape(size)
    keys: Key[Array, " 2"] = jax.random.split(key)
    noise = Noise(keys[0], jax.random.split(keys[1], size))

    def one(per_sample: Any, transition: Transition, env: Any, weight: Any) -> Any:
        arguments = (Noise(noise.shared, per_sample), params, target_params, transition)
        return of_one(*arguments, time._replace(env=env), weight)

    loss, info = jax.vmap(one)(noise.per_sample, data, env, batch.weight.reshape(size))
    return loss.mean(), info


def gradient_step(
    optimizer: optax.GradientTransformation, loss: Callable[[Params], tuple[Any, Any]], state: Any
) -> tuple[Any, Float[Array, ""], Any]:
    """Return a state with `params` and `opt_state` after one step on `loss(params) -> (loss, info)`, and both."""
    (value, info), gradient = jax.value_and_grad(loss, has_aux=True)(state.params)
    updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
    return state._replace(params=optax.apply_updates(state.params, updates), opt_state=opt_state), value, info


def hidden_of(network: Network) -> Any:
    """Return the `Agent.hidden` of an agent whose state has the network's `params`, None where it knows none."""
    known = network.hidden
    return None if known is None else lambda state, obs: known(state.params, obs)


def check_optimizer(optimizer: Any) -> None:
    """Check that an optimiser has optax's two functions.

    Raises:
        TypeError: it has not.

    """
    if not all(callable(getattr(optimizer, name, None)) for name in ("init", "update")):
        raise TypeError(f"optimizer must be one of optax's, optax.adam(1e-3) for instance, got {shown(optimizer)}")


@makes_usual
def dqn(
    network: NetworkLike,
    optimizer: optax.GradientTransformation,
    *,
    head: Head | None = None,
    target_policy: TargetPolicy = maximum,
    reward: Reward = environment_reward,
    target: Sync | None = None,
    trace: Trace | None = None,
) -> Agent:
    """Return a DQN agent (Mnih et al. 2015); its state is a `DQNState`.

    `learn` takes one optimiser step on mean_b weight_b loss_b, the mean over the transitions of the batch, with
    the loss of `td_loss`: r + gamma max_a' Q(s', a'; theta-) is the target of the default.

    Args:
        network: any object with `init(key, obs) -> params` and `apply(params, obs) -> out` for one observation (a
            flax module), or a `qjax.Network`, whose `apply` also takes noise.
        optimizer: an optax optimiser.
        head: how the output stands for Q; default `scalar()`, the squared error.
        target_policy: which next actions the target counts; `double` makes it Double DQN.
        reward: the environment's, or one with a bonus; a bonus is that of single steps, so no n-step memory fits.
        target: how the target parameters follow; default a copy every 500 environment steps.
        trace: how far targets look ahead over a memory's consecutive rows, `qjax.ring(..., window=8)` or
            `qjax.sequences(...)`: `qjax.retrace()`, `qjax.tree_backup()`, ...; default one step.

    Raises:
        TypeError: the network lacks `init` or `apply`, or an argument is not of its kind.
        ValueError: a trace comes with a noisy network or a bonus; (in `init`, at trace time) the head finds no
            action values `[A]` in the network's output, its size is not the output's, or its loss not one number.

    """
    net = as_network(network)
    check_optimizer(optimizer)
    check_callable("target_policy", target_policy, "(key, transition, q_online, q_target, time) -> weights")
    check_callable("reward", reward, "(transition, q, q_next, weights, time) -> reward")
    head = scalar() if head is None else head
    sync_target = periodic(500) if target is None else target
    check_record("head", head, Head)
    check_record("target", sync_target, Sync)
    if trace is not None:
        check_trace(trace, net, reward)

    def init(key, obs):
        check_key(key)
        one = jax.tree.map(lambda x: x[0], obs)
        params = net.init(key, one)
        check_head(net, head, params, one)
        # A copy: two names for one buffer could not both be donated.
        return DQNState(params, jax.tree.map(jnp.copy, params), optimizer.init(params), sync_target.init())

    def values(noise, state, obs):
        return head.q(net.apply(state.params, obs, noise))

    def learn(key, state, batch, time):
        check_key(key)
        if trace is not None:
            key, own = jax.random.split(key)
            networks = (own, state.params, state.target_params)
            batch = off_policy_batch(net, head, target_policy, trace, *networks, batch, time)
        of_one = partial(td_loss, net, head, target_policy, reward)
        loss_of = partial(mean_loss, of_one, key, state.target_params, batch, time)
        state, loss, info = gradient_step(optimizer, loss_of, state)
        priority = info.pop("priority").reshape(batch.weight.shape).max(0)
        return state, {"loss": loss, **{name: x.mean() for name, x in info.items()}, "priority": priority}

    def sync(key: Any, state: DQNState, elapsed: Time) -> Any:
        sync_state, new = sync_target.step(state.sync_state, state.params, state.target_params, elapsed)
        return state._replace(target_params=new, sync_state=sync_state)

    one_step = "" if reward is environment_reward else "a reward with a bonus"
    return Agent(
        init, memoryless(values), learn, sync, one_step=one_step if trace is None else "a trace", masks=net.masks,
        reads_probability=trace is not None and trace.reads_probability, hidden=hidden_of(net),
    )  # fmt: skip
