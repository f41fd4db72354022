"""What wrappers share: their words in a name, and a state of their own that begins again with every episode."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from qjax.core.checks import check_record, concrete
from qjax.core.default_rules import usual
from qjax.core.text import shown
from qjax.types import Env


class WrapperState(NamedTuple):
    """The state of a wrapped environment."""

    env: Any
    """Of what is wrapped."""
    own: Any
    """The wrapper's."""


def words(name: str, *values: Any) -> str:
    """Return a wrapper with its arguments as a command line has it, `frame_stack=4`; traced ones are left out."""
    if not values or not concrete(values):
        return name
    plain = [value.tolist() if hasattr(value, "tolist") else value for value in values]
    parts = plain[0] if len(plain) == 1 and isinstance(plain[0], list | tuple) else plain
    return f"{name}={','.join(shown(part).replace(' ', '').strip(QUOTES) for part in parts)}"


QUOTES = "'\""


def wrapped(env: Env, word: str, **changes: Any) -> Env:
    """Return an environment with other fields, and a word more in its name.

    Raises:
        TypeError: it is no `Env`, but for instance the object that `qjax.make` takes.

    """
    check_record("env", env, Env)
    made = {name: usual(value) if callable(value) else value for name, value in changes.items()}
    return env._replace(name=f"{env.name} {word}", wrappers=(*env.wrappers, word), **made)


def where(ended: Any, new: Any, old: Any) -> Any:
    """Return one pytree or the other."""
    return jax.tree.map(lambda x, y: jnp.where(ended, x, y), new, old)


def observing(env: Env, word: str, first: Callable[..., Any], then: Callable[..., Any], **changes: Any) -> Env:
    """Return an environment whose observation is made of its own and of what came before it in the episode.

    Args:
        env: the environment.
        word: the wrapper.
        first: `obs -> (seen, own)` at an episode's start.
        then: `(own, action, reward, obs) -> (seen, own)` after a step, of its true successor.
        changes: other fields.

    """

    def reset(key: Any) -> Any:
        obs, inner = env.reset(key)
        seen, own = first(obs)
        return seen, WrapperState(inner, own)

    def step(key: Any, state: WrapperState, action: Any) -> Any:
        made = env.step(key, state.env, action)
        later = then(state.own, action, made.reward, made.final_obs)
        obs, own = where(made.terminated | made.truncated, first(made.obs), later)
        return made._replace(obs=obs, state=WrapperState(made.state, own), final_obs=later[0])

    check_record("env", env, Env)
    spec = jax.eval_shape(lambda obs: usual(first)(obs)[0], env.obs_spec)
    return wrapped(env, word, **{"reset": reset, "step": step, "obs_spec": spec, "num_states": None, **changes})


def legal_of(env: Env, before: Callable[[Any], Any]) -> Callable[[Any], Any] | None:
    """Return the `legal` of observations that hold those of `env`, which `before` takes out."""
    legal = env.legal
    return None if legal is None else lambda obs: legal(before(obs))


def original_of(env: Env, before: Callable[[Any], Any]) -> Callable[[Any], Any] | None:
    """Return the `original` of such observations."""
    original = env.original
    return None if original is None else lambda obs: original(before(obs))
