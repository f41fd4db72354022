"""Learning from a stream: every step once, as it comes, without replay, batches or target networks."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import PyTree

from qjax.agents.acting import memoryless
from qjax.agents.dqn import check_optimizer, hidden_of
from qjax.core.checks import check_key, check_range
from qjax.core.default_rules import makes_usual
from qjax.networks.networks import as_network
from qjax.networks.optimizers import obgd
from qjax.objectives.heads import check_head, scalar
from qjax.objectives.returns import at_action, bootstrapped
from qjax.types import Agent, Batch, NetworkLike, Params, Time, Transition


class StreamQState(NamedTuple):
    """The state of a `stream_q` agent."""

    params: Params
    """Of the network."""
    trace: PyTree[Any]
    """Eligibility of each parameter: decayed gradients of the values of the actions taken."""
    opt_state: optax.OptState
    """The optimiser's."""


@makes_usual
def stream_q(network: NetworkLike, optimizer: optax.GradientTransformation | None = None, lam: Any = 0.8) -> Agent:
    """Return Stream Q(lambda) (Elsayed et al. 2024): Q-learning with eligibility traces over network parameters.

    For `online()` and one environment. With delta = r + gamma max_a' Q(s', a') - Q(s, a) the trace is z <- gamma
    lambda z + grad Q(s, a), and the optimiser is given the gradient -delta z, with delta as `td_error`. The trace
    is cut where an episode ends, and after an action that was not greedy.

    Published with `qjax.normalized(..., rewards=True)` around it and a network of sparse weights with LayerNorm, as
    `qjax.MLP(actions, initializer="sparse", norm=True)`; the paper's LayerNorm has no parameters, its ReLU leaks.

    Args:
        network: any whose output is one value for each action.
        optimizer: one of optax's; default `qjax.obgd()`, whose steps are bounded.
        lam: lambda, in [0, 1].

    Raises:
        TypeError: the network lacks `init` or `apply`, or the optimiser is none.
        ValueError: lambda lies outside [0, 1]; (in `init`, at trace time) the network's output is not `[A]`, or
            there are several environments.

    """
    check_range("lambda", lam, 0, 1)
    net, steps = as_network(network), obgd() if optimizer is None else optimizer
    check_optimizer(steps)
    extended, head = optax.with_extra_args_support(steps), scalar()

    def init(key: Any, obs: Any) -> StreamQState:
        check_key(key)
        if (envs := len(jax.tree.leaves(obs)[0])) != 1:
            raise ValueError(f"a stream is of one environment, got {envs}: take num_envs=1, and more seeds")
        one = jax.tree.map(lambda x: x[0], obs)
        params = net.init(key, one)
        check_head(net, head, params, one)
        return StreamQState(params, jax.tree.map(jnp.zeros_like, params), steps.init(params))

    def values(noise: Any, state: StreamQState, obs: Any) -> Any:
        return net.apply(state.params, obs, noise)

    def follow(state: StreamQState, row: tuple[Transition, Any]) -> tuple[StreamQState, Any]:
        transition, weight = row

        def chosen(params: Params) -> Any:
            q = net.apply(params, transition.obs, None)
            return at_action(q, transition.action), q

        (value, q), gradient = jax.value_and_grad(chosen, has_aux=True)(state.params)
        following = net.apply(state.params, transition.next_obs, None).max()
        delta = bootstrapped(transition.reward, transition.discount, following) - value
        trace = jax.tree.map(jnp.add, state.trace, gradient)
        downhill = jax.tree.map(lambda z: -delta * z, trace)
        updates, opt_state = extended.update(downhill, state.opt_state, state.params, td_error=delta)
        cut = transition.last | (value < q.max())
        faded = jax.tree.map(lambda z: jnp.where(cut, 0, transition.discount * lam * z), trace)
        new = StreamQState(optax.apply_updates(state.params, updates), faded, opt_state)
        kept = jax.tree.map(lambda x, y: jnp.where(weight > 0, x, y), new, state)
        return kept, (jnp.where(weight > 0, delta, 0), value)

    def learn(key: Any, state: StreamQState, batch: Batch, time: Time) -> Any:
        rows = jax.tree.map(lambda x: x[:, 0], (batch.data, batch.weight))
        state, (delta, value) = lax.scan(follow, state, rows)
        return state, {"loss": (delta**2).mean(), "q": value.mean(), "priority": abs(delta).max()[None]}

    return Agent(
        init, memoryless(values), learn, zero_weight_noop=True, one_step="eligibility traces", in_order=True,
        masks=net.masks, hidden=hidden_of(net),
    )  # fmt: skip
