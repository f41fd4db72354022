"""Where finite MDPs come from: gymnasium's tables, gymnax's FrozenLake, and at random."""

import copy
import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Int, Key

from qjax.core.checks import (
    LARGEST,
    check_flag,
    check_key,
    check_map,
    check_range,
    check_record,
    check_size,
    check_text,
    concrete,
)
from qjax.core.default_rules import usual
from qjax.core.random import root_key, unrolled
from qjax.core.text import given, shown, telling
from qjax.mdp.arrays import TabularMDP, from_outcomes
from qjax.mdp.environment import MDPEnvironment
from qjax.mdp.lakes import lake_map, map_of, rewards_of
from qjax.types import Env


@usual
def from_table(table: Mapping[int, Mapping[int, Sequence[Any]]], start: Any) -> TabularMDP:
    """Return the MDP of a table as gymnasium's toy-text environments have it, outcome for outcome in its order.

    Args:
        table: `table[state][action]` lists `(probability, successor, reward, terminated)`. Where it lists fewer
            outcomes than elsewhere, outcomes of probability 0 follow, which stay where they are and terminate.
        start: distribution of the first state `[S]`.

    Raises:
        ValueError: states or actions are not numbered from 0, or what `from_outcomes` refuses.

    """
    if not isinstance(table, Mapping) or not all(isinstance(row, Mapping) for row in table.values()):
        raise TypeError(f"table must be a mapping from states to mappings from actions, got {shown(table)}")
    states, actions = len(table), len(next(iter(table.values()), ()))
    for s, row in table.items():
        if s not in range(states) or sorted(row) != list(range(actions)):
            raise ValueError(
                f"a table's states must be 0 to {states - 1} and each one's actions 0 to {actions - 1},"
                f" got state {s} with actions {sorted(row)}"
            )
    outcomes = max((len(listed) for row in table.values() for listed in row.values()), default=0)
    shape = (states, actions, outcomes)
    successor = np.broadcast_to(np.arange(states)[:, None, None], shape).copy()
    probability, reward, terminated = np.zeros(shape), np.zeros(shape), np.ones(shape, bool)
    for s, row in table.items():
        for a, listed in row.items():
            for k, outcome in enumerate(listed):
                probability[s, a, k], successor[s, a, k], reward[s, a, k], terminated[s, a, k] = outcome
    return from_outcomes(successor, probability, reward, terminated, start)


@usual
def from_gymnasium(env: Any) -> TabularMDP:
    """Return the MDP of a gymnasium environment that has a table: FrozenLake, CliffWalking, Taxi.

    Its time limit is not in its table; `toy_text` keeps it.

    Raises:
        TypeError: the environment has no table.
        ValueError: its moves are not those of its table, or its map has no goal, or no path to one.

    """
    inner = getattr(env, "unwrapped", env)
    name = type(inner).__name__
    if not hasattr(inner, "P") or not hasattr(inner, "initial_state_distrib"):
        raise TypeError(f"{name} has no table; gymnasium's FrozenLake, CliffWalking and Taxi have one")
    if getattr(inner, "fickle_passenger", False):
        raise ValueError(f"{name}'s fickle passenger is not in its table, and what is observed is then no MDP")
    if hasattr(inner, "desc") and not hasattr(inner, "locs"):  # Taxi has a picture, too, and places in it
        check_map(["".join(tile.decode() for tile in row) for row in inner.desc])
    return from_table(inner.P, inner.initial_state_distrib)


@usual
def toy_text(name: str, **kwargs: Any) -> MDPEnvironment:
    """Return gymnasium's toy-text environment of this id as arrays, with its time limit.

    gymnasium is imported here; it comes with gymnax. A fickle passenger's mood is in the state and not in what is
    observed, so that Taxi with one is no MDP to those who learn in it.

    Args:
        name: "FrozenLake-v1", "CliffWalking-v1", "Taxi-v4", ...
        kwargs: arguments of gymnasium's environment, such as `is_slippery`, `desc`, `is_rainy`; its probabilities
            may be traced, and a map that is to be drawn has a `map_seed`, as in `qjax.make`.

    Raises:
        ImportError: gymnasium is not installed.
        TypeError: the environment has no table, or not these arguments, or a flag is neither True nor False.
        ValueError: a probability lies outside [0, 1], a map is not rectangular or has other tiles than S, F, H and
            G, or as `from_gymnasium`.

    """
    try:
        import gymnasium
    except ImportError:
        raise ImportError(f"{name} is read from gymnasium's own table: pip install gymnasium") from None
    check_text("name", name)
    kwargs = {key: _argument(key, value) for key, value in kwargs.items()}
    if name.startswith("FrozenLake") and {"desc", "map_name", "map_seed"} & kwargs.keys():
        # Before gymnasium trips over it, or draws another one each time.
        kwargs["desc"] = map_of(kwargs.get("desc"), kwargs.pop("map_name", "4x4"), kwargs.pop("map_seed", 0))
    fickle, chance = kwargs.pop("fickle_passenger", False), kwargs.pop("fickle_probability", 0.3)
    traced = {key: value for key, value in kwargs.items() if not concrete(value)}
    with telling(f"gymnasium has no {shown(name)}{given(kwargs)}"):
        env = gymnasium.make(name, **{key: value for key, value in kwargs.items() if key not in traced})
    limit = None if env.spec is None else env.spec.max_episode_steps
    mdp = from_gymnasium(env)
    for key, value in traced.items():
        mdp = _with_intended(mdp, value, 1 if key == "success_rate" else 0)
    if not fickle:
        return MDPEnvironment(mdp, max_steps=limit, name=name)
    observations = np.tile(np.arange(len(mdp.start)), 2)
    return MDPEnvironment(_with_fickle_passenger(mdp, chance), limit, name=name, observations=observations)


def _argument(key: str, value: Any) -> Any:
    """Return an argument of gymnasium's, checked where its name says what it is."""
    if key in ("success_rate", "rainy_probability", "fickle_probability"):
        check_range(key, value, 0, 1)
    elif not concrete(value):
        raise TypeError(f"{key} is static here: only probabilities of gymnasium's tables may be traced")
    if key in ("is_slippery", "is_rainy", "fickle_passenger"):
        return check_flag(key, value)
    if key == "max_episode_steps" and not (value is None or np.array_equal(value, -1)):
        return check_size(key, value)
    return rewards_of(value) if key == "reward_schedule" else value


def _with_intended(mdp: TabularMDP, rate: Any, place: int) -> TabularMDP:
    """Return the MDP with another probability of what is meant, where there are three outcomes; it stands there."""
    three = (np.asarray(mdp.probability) > 0).sum(-1, keepdims=True) == 3
    share = jnp.where(jnp.arange(3) == place, rate, (1 - rate) / 2)
    return mdp._replace(probability=jnp.where(three, share, mdp.probability))


def _with_fickle_passenger(mdp: TabularMDP, chance: Any) -> TabularMDP:
    """Return gymnasium's taxi whose passenger, with this probability, once changes its mind; states are doubled.

    In an episode of the second half it has not yet done so, and will where the taxi first moves with it: its
    destination is then one of the other three.
    """
    states = len(mdp.start)
    xp: Any = np if concrete(mdp, chance) else jnp
    here = np.arange(states)[:, None, None, None]
    successor, probability = np.asarray(mdp.successor)[..., None], mdp.probability[..., None]
    moved = (here // 4 % 5 == 4) & (here // 20 != successor // 20)  # a state is ((row, column), passenger, goal)
    elsewhere = successor - here % 4 + (here + np.arange(1, 4)) % 4
    same = probability * np.array([1.0, 0, 0])
    later: Any = np.concatenate(
        [np.broadcast_to(successor, elsewhere.shape), np.where(moved, elsewhere, successor + states)]
    )
    p = xp.concatenate([same, xp.where(moved, probability / 3, same)])

    def twice(x: Any) -> Any:
        return np.concatenate([np.repeat(np.asarray(x), 3, -1)] * 2)

    shape = (2 * states, *successor.shape[1:2], -1)
    start = xp.concatenate([(1 - chance) * xp.asarray(mdp.start), chance * xp.asarray(mdp.start)])
    return TabularMDP(later.reshape(shape), p.reshape(shape), twice(mdp.reward), twice(mdp.terminated), start)


@usual
def from_env(env: Env) -> TabularMDP:
    """Return the MDP of an environment whose MDP is known: its own arrays, or those of gymnax's FrozenLake.

    Raises:
        TypeError: the environment is neither, or none, or wrapped.

    """
    check_record("env", env, Env)
    if env.wrappers:
        raise TypeError(f"the MDP of {env.name} is not known: a wrapper may have changed it")
    if getattr(env.unwrapped, "observations", None) is not None:
        raise TypeError(f"what is observed of {env.name} is no MDP: its states look alike")
    if hasattr(env.params, "mdp"):
        return env.params.mdp
    if not _is_lake(env.unwrapped):
        raise TypeError(f"the MDP of {env.name} is not known; an MDPEnvironment's is, and gymnax's FrozenLake's")
    return frozen_lake(env)


@usual
def frozen_lake(env: Env) -> TabularMDP:
    """Return the MDP of gymnax's FrozenLake, read off its own moves.

    Outcomes stand in gymnasium's order: the action before, the action, the action after, with probabilities
    (1 - p) / 2, p, (1 - p) / 2; one outcome where the lake is not slippery. Holes and the goal are absorbing.

    Raises:
        TypeError: the environment is not gymnax's FrozenLake.
        ValueError: its map has no path to a goal.

    """
    check_record("env", env, Env)
    lake: Any = env.unwrapped
    if not _is_lake(lake):
        raise TypeError(f"{env.name} is not a FrozenLake")
    check_map(lake_map(lake))
    states, actions = jnp.arange(lake.n_states), jnp.arange(lake.num_actions)
    sure = copy.copy(lake)
    sure.is_slippery = False
    key = root_key(0)  # an outcome of the deterministic twin draws nothing
    _, first = lake.reset_env(key, env.params)

    def move(state, action):
        ended = lake.is_terminated(first.replace(position=state), env.params)
        obs, _, reward, terminated, _ = sure.step_env(key, first.replace(position=state), action, env.params)
        return jnp.where(ended, state, obs), jnp.where(ended, 0.0, reward), ended | terminated

    if lake.is_slippery:
        rate = getattr(env.params, "success_rate", None)
        rate = lake.success_rate if rate is None else rate  # gymnax's own lake has it itself
        slip = (1 - rate) / 2
        offsets, probability = jnp.array([-1, 0, 1]), jnp.array([slip, rate, slip])
    else:
        offsets, probability = jnp.array([0]), jnp.array([1.0])
    starts = (lake.desc.reshape(-1) == 0).astype(jnp.float32)
    taken = (actions[:, None] + offsets) % lake.num_actions  # [A, K]
    successor, reward, terminated = jax.vmap(lambda s: jax.vmap(jax.vmap(lambda a: move(s, a)))(taken))(states)
    return TabularMDP(
        successor.astype(jnp.int32),
        jnp.broadcast_to(probability.astype(jnp.float32), successor.shape),
        reward.astype(jnp.float32),
        terminated,
        starts / starts.sum(),
    )


def _is_lake(env: Any) -> bool:
    return all(hasattr(env, name) for name in ("desc", "is_slippery", "n_states"))


@usual
def garnet(key: Key[Array, ""], states: int, actions: int, branching: int, termination: Any = 0.0) -> TabularMDP:
    """Return a random MDP with `branching` different successors of each state and action, drawn on the device.

    Successors are drawn without replacement. Their probabilities are the parts into which `branching - 1` uniform
    points cut the unit interval (Archibald, McKinnon and Thomas 1995, "On the generation of Markov decision
    processes"). The reward of a state and an action is standard normal, the same for all its outcomes (as in
    Bhatnagar et al. 2009, "Natural actor-critic algorithms"; for noise see `MDPEnvironment`). The first state is
    uniform.

    Args:
        key: a typed key; vmap over keys for many MDPs.
        states: S.
        actions: A.
        branching: K, at most S.
        termination: probability with which each outcome is made one that ends the episode; 0 as in the papers.

    Raises:
        TypeError: a size is traced or no whole number, or `key` is no typed key.
        ValueError: a size is not positive, branching exceeds the states, or termination lies outside [0, 1].

    """
    check_key(key)
    shape = (check_size("states", states), check_size("actions", actions), check_size("branching", branching))
    if shape[2] > shape[0]:
        raise ValueError(f"branching {branching} exceeds the {states} states")
    if (outcomes := math.prod(shape)) > LARGEST:
        of = f"{states} states x {actions} actions x branching {branching}"
        raise ValueError(f"{of} make {outcomes} outcomes, not below 2**31")
    check_range("termination", termination, 0, 1)
    return _garnet(key, shape, termination)


@partial(jax.jit, static_argnames="shape")
def _garnet(key: Key[Array, ""], shape: tuple[int, int, int], termination: Any) -> TabularMDP:
    states, actions, branching = shape
    # JAX's own threefry, a loop for each draw, would take three times as long to compile.
    successor_key, uniform_key, reward_key = jax.random.split(unrolled(key), 3)
    uniform = jax.random.uniform(uniform_key, (states, actions, 2 * branching - 1))
    cuts, lots = jnp.sort(uniform[..., : branching - 1]), uniform[..., branching - 1 :]
    zero = jnp.zeros((states, actions, 1))
    reward = jax.random.normal(reward_key, (states, actions, 1))
    return TabularMDP(
        _different(successor_key, shape),
        jnp.diff(jnp.concatenate([zero, cuts, zero + 1], -1)),
        jnp.broadcast_to(reward, shape),
        lots < termination,
        jnp.full(states, 1 / states, jnp.float32),
    )


def _different(key: Key[Array, ""], shape: tuple[int, int, int]) -> Int[Array, "S A K"]:
    """Return for each row K different states, by Floyd's algorithm (Bentley and Floyd 1987).

    Step i draws a number of those up to i; where it has been drawn before, i itself is taken, which cannot have
    been. Its cost does not depend on the number of states, and the bias of the remainder is below S / 2**32.
    """
    states, _, outcomes = shape
    limits = jnp.arange(states - outcomes, states, dtype=jnp.int32)
    drawn = (jax.random.bits(key, shape, jnp.uint32) % (limits + 1).astype(jnp.uint32)).astype(jnp.int32)

    def body(i, chosen):
        again = (chosen == drawn[..., i, None]).any(-1)
        return chosen.at[..., i].set(jnp.where(again, limits[i], drawn[..., i]))

    return lax.fori_loop(0, outcomes, body, jnp.full(shape, -1, jnp.int32))
