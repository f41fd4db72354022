"""Legal actions: which an environment lets be taken, and what never takes another."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from qjax.core.checks import check_callable, check_record
from qjax.core.default_rules import usual
from qjax.core.returned import told
from qjax.core.text import telling
from qjax.exploration.policies import legal_or_all
from qjax.types import Env, State, StatefulPolicy, Time


@usual
def legal_table(env: Env) -> Bool[Array, "S A"]:
    """Return which actions an environment with discrete observations lets be taken in each state, all for none.

    `tabular(..., initial=jnp.where(legal_table(env), 0.0, -jnp.inf))` never takes or counts another.

    Raises:
        TypeError: it is no environment, or its observations are not discrete.

    """
    check_record("env", env, Env)
    if env.num_states is None:
        raise TypeError(f"{env.name} has no discrete observations, so no table of its legal actions")
    if env.legal is None:
        return jnp.ones((env.num_states, env.num_actions), bool)
    return legal_or_all(jax.vmap(env.legal)(jnp.arange(env.num_states)))


def among_legal(env: Env, policy: StatefulPolicy) -> Callable[..., tuple[Float[Array, " A"], State]]:
    """Return `(obs, key, state, q, time) -> (probabilities, state)` of a policy that never takes an illegal action.

    It sees illegal actions masked. What a policy that does not look at values gives to them is shared among the
    legal ones.
    """
    legal = env.legal
    if legal is None:
        return lambda obs, key, state, q, time: policy.act(key, state, q, time)

    def act(obs: Any, key: Any, state: Any, q: Any, time: Time) -> Any:
        mask = legal_or_all(legal(obs))
        found, state = policy.act(key, state, jnp.where(mask, q, -jnp.inf), time)
        found = jnp.where(mask, found, 0)
        total = found.sum()
        return jnp.where(total > 0, found / total, mask / mask.sum()), state

    return act


def check_legal(env: Env) -> None:
    """Check, by shapes, what an environment says of legal actions.

    Raises:
        TypeError: it is no function, or fails.
        ValueError: it is not one flag for each action.

    """
    if env.legal is None:
        return
    check_callable("legal", env.legal, "(obs) -> mask")
    with telling(f"{env.name}: legal(obs) fails on {told(env.obs_spec)}"):
        found: Any = jax.eval_shape(env.legal, env.obs_spec)
    if getattr(found, "shape", None) != (env.num_actions,) or found.dtype != bool:
        raise ValueError(
            f"{env.name}: legal(obs) must be bool[{env.num_actions}], a flag for each action, not {told(found)}"
        )
