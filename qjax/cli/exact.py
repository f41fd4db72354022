"""How far what a run has learned is from the exact solution of its environment."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import qjax
from qjax.mdp import examples, solve


def table_of(agent: qjax.Agent, state: Any, num_states: int) -> Any:
    """Return the values that an agent acts on, `[S, A]`: of two tables their mean."""
    return jax.vmap(agent.values, in_axes=(None, None, 0))(None, state, jnp.arange(num_states))


def report_of(build: Callable[[Any], qjax.Loop], gammas: Any) -> Callable[[Any, Any, Any, Any], dict[str, Any]]:
    """Return the report that `qjax.sweep` logs: `qjax.solve.report` of the values that an agent acts on.

    Args:
        build: `hyper -> loop`, on one environment whatever the setting.
        gammas: gamma, or all those of the settings, which then have a `gamma`.

    Raises:
        TypeError: the environment's MDP is not known.
        ValueError: a gamma lies outside [0, 1], or is 1 and from some state no policy can reach an end.

    """
    mdp, several = examples.from_env(build(None).env), np.atleast_1d(np.asarray(gammas, np.float32))
    solutions = jax.tree.map(lambda *x: jnp.stack(x), *(solve.exact(mdp, float(gamma)) for gamma in several))

    def report(hyper: Any, lane: Any, clock: Any, key: Any) -> dict[str, Any]:
        gamma = float(several[0]) if len(several) == 1 else hyper["gamma"]
        solution = jax.tree.map(lambda x: x[jnp.argmax(several == gamma)], solutions)
        return solve.report(solution, mdp, table_of(build(hyper).agent, lane.agent, len(mdp.start)), gamma)

    return report
