"""Gradient corrections: Q-learning that follows a true gradient, and so diverges nowhere."""

from functools import partial
from typing import Any, NamedTuple

import jax
import optax
from jax import lax
from jaxtyping import Array, Float

from qjax.agents.acting import memoryless
from qjax.agents.dqn import check_optimizer, gradient_step
from qjax.core.checks import check_key, check_range
from qjax.core.default_rules import makes_usual
from qjax.networks.networks import as_network
from qjax.objectives.heads import check_head, scalar
from qjax.objectives.returns import at_action, bootstrapped, left_out
from qjax.types import Agent, Batch, NetworkLike, Params, Time, Transition


class QRCParams(NamedTuple):
    """The parameters of a `qrc` agent."""

    values: Params
    """Of the network of action values."""
    errors: Params
    """Of the one that learns the expected error of each action."""


class QRCState(NamedTuple):
    """The state of a `qrc` agent."""

    params: QRCParams
    """Both networks'."""
    opt_state: optax.OptState
    """The optimiser's."""


@makes_usual
def qrc(
    network: NetworkLike,
    optimizer: optax.GradientTransformation,
    beta: Any = 1.0,
    errors: NetworkLike | None = None,
) -> Agent:
    """Return Q-learning with regularised corrections (Ghiassian et al. 2020, QRC); its state is a `QRCState`.

    A second network h learns the expected error delta = r + gamma max_a' Q(s', a') - Q(s, a) of each action. Values
    follow delta grad Q(s, a) - gamma h(s, a) grad max_a' Q(s', a'), which is a gradient, and h follows (delta -
    h(s, a)) grad h(s, a) - beta theta_h. There is no target network. For any memory of single steps. (In the
    paper h is a second output of the same layers, which its gradient does not reach.)

    Args:
        network: any whose output is one value for each action.
        optimizer: an optax optimiser, of both networks.
        beta: weight of the regularisation of h, at least 0.
        errors: the network of h, with as many outputs; default one of the same form.

    Raises:
        TypeError: a network lacks `init` or `apply`, or the optimiser is none.
        ValueError: beta is negative; (in `init`) a network's output is not `[A]`.

    """
    check_range("beta", beta, 0, float("inf"))
    net = as_network(network)
    other, head = net if errors is None else as_network(errors), scalar()
    check_optimizer(optimizer)

    def init(key: Any, obs: Any) -> QRCState:
        check_key(key)
        one = jax.tree.map(lambda x: x[0], obs)
        params = QRCParams(net.init(key, one), other.init(jax.random.fold_in(key, 1), one))
        for each, own in zip((net, other), params, strict=True):
            check_head(each, head, own, one)
        return QRCState(params, optimizer.init(params))

    def values(noise: Any, state: QRCState, obs: Any) -> Any:
        return net.apply(state.params.values, obs, noise)

    def of_row(params: QRCParams, transition: Transition, weight: Any) -> tuple[Float[Array, ""], Any]:
        outs = (each.apply(p, transition.obs, None) for each, p in zip((net, other), params, strict=True))
        q, h = (at_action(out, transition.action) for out in outs)
        following = net.apply(params.values, transition.next_obs, None).max()
        # Where the step terminated nothing follows, not even minus infinity.
        target = bootstrapped(transition.reward, transition.discount, following)
        delta = lax.stop_gradient(target - q)
        corrected = lax.stop_gradient(h) * target - delta * q
        loss = corrected + (delta - h) ** 2 / 2
        return weight * left_out(weight, loss), (left_out(weight, delta**2), left_out(weight, q), abs(delta))

    def learn(key: Any, state: QRCState, batch: Batch, time: Time) -> Any:
        def loss_of(params: QRCParams) -> tuple[Any, Any]:
            loss, told = jax.vmap(jax.vmap(partial(of_row, params)))(batch.data, batch.weight)
            return loss.mean() + beta / 2 * optax.tree.norm(params.errors, squared=True), told

        state, _, (squared, q, error) = gradient_step(optimizer, loss_of, state)
        return state, {"loss": squared.mean(), "q": q.mean(), "priority": error.max(0)}

    return Agent(init, memoryless(values), learn, one_step="gradient corrections", masks=net.masks)
