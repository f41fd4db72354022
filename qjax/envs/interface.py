"""What an environment object must be, checked before anything runs: its methods, and by shapes what they return."""

import sys
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import jax
import jax.numpy as jnp

from qjax.core.checks import check_callable, check_index, check_whole, describe
from qjax.core.deferred import deferred
from qjax.core.random import root_key
from qjax.core.returned import check_scalar, returning_arrays, told
from qjax.core.text import telling
from qjax.envs.names import construct, known

DRAWN_WITH = ("matplotlib", "matplotlib.colors", "matplotlib.pyplot", "seaborn")
"""What gymnax imports to draw with, which takes many times as long as all the rest of it."""
METHODS = {
    "reset": "(key, params) -> (obs, state)",
    "step": "(key, state, action, params) -> (obs, state, reward, terminated, truncated, info)",
    "action_space": "(params) -> space",
    "observation_space": "(params) -> space",
}


def check_object(name: str, env: Any) -> None:
    """Check that an object has gymnax's interface.

    Raises:
        TypeError: it has not; what to use in the place of a class, or of an object of gymnasium's, is said.

    """
    cls = env if isinstance(env, type) else type(env)
    if {each.__module__.partition(".")[0] for each in cls.__mro__} & {"gymnasium", "gym"}:
        raise TypeError(f"{cls.__name__} runs on the host, one step at a time; {_in_place_of(env, cls)}")
    if isinstance(env, type):
        raise TypeError(f"{env.__name__} is a class; give an object of it, {env.__name__}()")
    for method, signature in METHODS.items():
        if not callable(getattr(env, method, None)):
            raise TypeError(
                f"{name} has no {method}: give a name, a TabularMDP, or an object with the interface of gymnax's"
            )
        check_callable(f"{name}.{method}", getattr(env, method), signature)


def _in_place_of(env: Any, cls: type) -> str:
    """Return what to use in the place of a class, an object or a specification of gymnasium's."""
    inner: Any = getattr(env, "unwrapped", env)
    if type(inner).__module__.startswith("gymnax"):
        return "give qjax.make the gymnax environment that it wraps"
    spec: Any = env if hasattr(env, "entry_point") else getattr(env, "spec", None)
    if spec is None and not hasattr(inner, "P"):
        spec = _spec_of(cls)
    if spec is not None and (name := spec.id) in known():
        hosts = ("render_mode", "num_envs", "vectorization_mode")
        given = {key: value for key, value in spec.kwargs.items() if key not in hosts}
        bins = [] if _is_discrete(name) else ["action_bins=..."]
        words = ", ".join([repr(name), *(f"{key}={value!r}" for key, value in given.items()), *bins])
        several = ", and num_envs of qjax.make_loop for several" if hasattr(env, "num_envs") else ""
        return f"use qjax.make({words}){several}"
    if hasattr(inner, "P"):
        return "use qjax.make(qjax.mdp.from_gymnasium(env), max_steps_in_episode=...)"
    return "qjax needs one written in JAX, with gymnax's interface"


def _spec_of(cls: type) -> Any:
    """Return gymnasium's specification of the environments of a class, of several the newest plain one, or None."""
    registry = getattr(sys.modules.get("gymnasium"), "registry", {})
    own = [spec for spec in registry.values() if spec.entry_point == f"{cls.__module__}:{cls.__qualname__}"]
    return max(own, key=lambda spec: (-len(spec.id), spec.id), default=None)


def _is_discrete(name: str) -> bool:
    """Return whether an environment of this name has discrete actions."""
    env, params, _ = construct(name, {})
    return hasattr(env.action_space(params), "n")


def check_environment(made: Any, env: Any, params: Any, space: Any, asked: str = "") -> Any:
    """Check, by shapes alone, that a scan over an environment's steps would run; return what it observes.

    Args:
        made: the `Env`.
        env: the object it is made from.
        params: its parameters.
        space: its observation space.
        asked: with what it was asked for, as the end of a sentence.

    Returns:
        One observation as `jax.ShapeDtypeStruct`, or a pytree of these.

    Raises:
        ValueError: an observation has not the shape of the observation space, or is no array.
        TypeError: another shape or dtype is not what it should be, or changes from step to step.

    """
    key, action = jax.eval_shape(lambda: root_key(0)), jax.ShapeDtypeStruct((), jnp.int32)
    first = _shapes(f"{made.name}.reset", asked, lambda key: env.reset(key, params), key)
    if not isinstance(first, tuple) or len(first) != 2:
        raise TypeError(f"{made.name}.reset must return (obs, state), it returned {told(first)}")
    obs, state = first
    returned = _shapes(f"{made.name}.step", asked, lambda *at: env.step(*at, params), key, state, action)
    count = len(returned) if isinstance(returned, tuple) else 1
    if count != 6 or not isinstance(returned[-1], dict) or "final_observation" not in returned[-1]:
        five = "; gymnax's old five are taken where the class has a step_env of its own" if count == 5 else ""
        raise TypeError(
            f"{made.name}.step must return (obs, state, reward, terminated, truncated, info) with"
            f' info["final_observation"], as gymnax 1.0 does; it returned {count} value{"s" * (count != 1)}{five}'
        )
    after, later, reward, terminated, truncated, info = returned
    _check_observations(made, space, obs, {"step": after, "final_observation": info["final_observation"]})
    check_scalar(made.name, "reward", reward, "a number")
    check_scalar(made.name, "terminated", terminated, "a bool")
    check_scalar(made.name, "truncated", truncated, "a bool")
    _check_state(made.name, state, later)
    return obs


def _shapes(what: str, asked: str, function: Any, *args: Any) -> Any:
    """Return the shapes of what a function returns."""
    with telling(f"{what}{asked} fails"):
        try:
            return jax.eval_shape(returning_arrays(what, function), *args)
        except jax.errors.JAXTypeError as error:
            said = f"{what} cannot be compiled: {str(error).splitlines()[0]}"
        except TypeError as error:
            if not str(error).startswith(f"{what} must return"):
                raise
            said = str(error)
    raise TypeError(said)


def _check_observations(made: Any, space: Any, first: Any, others: dict[str, Any]) -> None:
    """Check that all observations are alike, that one array is as its space says, and all are numbers."""
    shape = getattr(space, "shape", None)
    structure: Any = jax.tree.structure(first)
    if not structure.num_leaves:
        raise ValueError(f"{made.name}: reset gives {first!r} as an observation; at least one array is needed")
    if shape is not None and getattr(first, "shape", None) != tuple(shape):
        found = f"of shape {first.shape}" if hasattr(first, "shape") else f"of {describe(first)}"
        raise ValueError(
            f"{made.name}: reset gives an observation {found}, its observation space says one of shape"
            f" {tuple(shape)}"
        )
    for where, found in others.items():
        same: Any = jax.tree.structure(found)
        if same != structure or jax.tree.map(lambda x: (x.shape, x.dtype), found) != jax.tree.map(
            lambda x: (x.shape, x.dtype), first
        ):
            raise TypeError(
                f"{made.name}: {where} gives an observation of {describe(found)}, reset one of {describe(first)}"
            )
    kinds = (jnp.integer,) if made.num_states is not None else (jnp.integer, jnp.floating, jnp.bool_)
    if not all(any(jnp.issubdtype(x.dtype, kind) for kind in kinds) for x in jax.tree.leaves(first)):
        wanted = "whole numbers from 0" if made.num_states is not None else "real numbers"
        raise TypeError(f"{made.name}: observations are {describe(first)}; {wanted} are needed")


def _check_state(name: str, before: Any, after: Any) -> None:
    """Check that a step leaves the state's structure, shapes and dtypes as `reset` makes them."""
    old: Any = jax.tree.structure(before)
    new: Any = jax.tree.structure(after)
    if old != new:
        raise TypeError(f"{name}: step returns a state with the structure {new}, reset one with {old}")
    for (path, x), y in zip(jax.tree.leaves_with_path(before), jax.tree.leaves(after), strict=True):
        if (x.shape, x.dtype) != (y.shape, y.dtype):
            raise TypeError(
                f"{name}: the state{jax.tree_util.keystr(path)} is {describe(x)} after reset, {describe(y)} after a"
                " step; a scan needs them alike"
            )


def check_action(name: str, action: Any, num_actions: int) -> None:
    """Check that an action is one whole number, and one of an environment's where it is concrete.

    Raises:
        TypeError: it is no whole number, traced or not.
        ValueError: there is no such action.

    """
    check_whole(f"an action of {name}", action)
    check_index(f"an action of {name}", action, num_actions)


def check_gymnax() -> None:
    """Import gymnax, and check that its files are its own.

    Raises:
        ImportError: they are those of stable-gymnax, an old copy that pip writes over them; what to do is said.

    """
    with jax.ensure_compile_time_eval():  # its modules make arrays: no tracers, where a traced function comes first
        if "gymnax" not in sys.modules:  # another version of it may use more at once, and is then imported whole
            with suppress(ImportError, AttributeError), deferred(*DRAWN_WITH):
                import gymnax  # noqa: F401
        from gymnax.environments.environment import Environment
    try:
        version("stable-gymnax")
    except PackageNotFoundError:
        return
    if not hasattr(Environment, "is_truncated"):
        raise ImportError(
            "stable-gymnax, which popgym-arcade brings, has overwritten gymnax with an old copy:"
            " pip uninstall stable-gymnax, then pip install --force-reinstall --no-deps 'gymnax>=1.0.1,<1.1'"
        )
