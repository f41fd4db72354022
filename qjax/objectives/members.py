"""Several networks under one head: their values are averaged, or for each action the least of them counts.

A network of `of_members` gives `Members` of outputs where its parameters are `Members`, and one output where they
are one network's. So one network can learn from targets of several.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from qjax.objectives.returns import at_action
from qjax.types import Head, Network, Quantiles, Weights


class Members(NamedTuple):
    """What several networks have, side by side: their parameters, or their outputs."""

    each: Any
    """Leaves `[K, ...]`."""


def of_members(network: Network) -> Network:
    """Return a network that gives `Members` of outputs for `Members` of parameters, all with the same noise."""

    def apply(params, obs, noise):
        if not isinstance(params, Members):
            return network.apply(params, obs, noise)
        return Members(jax.vmap(lambda each: network.apply(each, obs, noise))(params.each))

    return network._replace(apply=apply)


def mean_of_members(head: Head) -> Head:
    """Return a head that values actions by the members' mean, and whose targets are the mixture of the members'."""
    return _over_members(head, lambda q: q.mean(0), lambda q: jnp.full(q.shape, 1 / q.shape[0]))


def least_of_members(head: Head) -> Head:
    """Return a head that values each action by the least of its values, and whose targets are that member's."""

    def whose(q: Float[Array, "K A"]) -> Bool[Array, "K A"]:
        return jnp.arange(q.shape[0])[:, None] == q.argmin(0)

    return _over_members(head, lambda q: q.min(0), whose)


def _over_members(head: Head, combined: Callable[[Any], Any], shares: Callable[[Any], Any]) -> Head:
    """Return a head that also takes `Members` of outputs.

    A target of several members is that of a mixture of their actions, which any head has: it is given members and
    actions together as actions.

    Args:
        head: of one output.
        combined: `q -> q`, of the members' values `[K, A]` those of the actions, `[A]`.
        shares: `q -> shares`, `[K, A]`: how much of an action's target each member is; they sum to 1 over members.

    """

    def q(out: Any) -> Any:
        return combined(jax.vmap(head.q)(out.each)) if isinstance(out, Members) else head.q(out)

    def as_actions(out: Any, weights: Weights) -> tuple[Any, Any]:
        if not isinstance(out, Members):
            return out, weights
        share = shares(jax.vmap(head.q)(out.each))
        if weights.dtype == bool:  # of one action: then no head looks at the others
            pick = jax.vmap(lambda x: at_action(x, weights.argmax()))
            return _mapped(pick, out.each), pick(share.astype(jnp.float32)).astype(share.dtype)
        return _mapped(lambda x: x.reshape(-1, *x.shape[2:]), out.each), (weights * share).reshape(-1)

    def over(function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda reward, discount, out, weights: function(reward, discount, *as_actions(out, weights))

    return head._replace(q=q, target=over(head.target), report=head.report and over(head.report))


def _mapped(function: Callable[[Any], Any], out: Any) -> Any:
    """Return what a function makes of outputs `[K, A, ...]`; members share the levels of quantiles."""
    if isinstance(out, Quantiles):
        return Quantiles(function(out.values), out.levels[0])
    return jax.tree.map(function, out)
