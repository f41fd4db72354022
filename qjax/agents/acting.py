"""How an agent that remembers nothing acts."""

from collections.abc import Callable
from typing import Any

from qjax.core.checks import check_callable
from qjax.core.default_rules import makes_usual
from qjax.types import Act


@makes_usual
def memoryless(values: Callable[[Any, Any, Any], Any]) -> Act:
    """Return the `Agent.act` of an agent that remembers nothing, and so passes `()` on.

    Args:
        values: `(noise, state, obs) -> q`, the values of the actions, `[A]`.

    Raises:
        TypeError: it is no function, or takes other arguments.

    """
    check_callable("values", values, "(noise, state, obs) -> q")

    def act(noise, state, carry, obs):
        return values(noise, state, obs), carry

    return act
