"""Finite MDPs as arrays, and what can be computed of them exactly, on the device."""

import copy
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from qjax.checks import check_range, check_size
from qjax.envs import Env


class TabularMDP(NamedTuple):
    """A finite MDP with `S` states, `A` actions and at most `K` outcomes per state and action."""

    successor: Int[Array, "S A K"]
    probability: Float[Array, "S A K"]
    reward: Float[Array, "S A K"]
    terminated: Bool[Array, "S A K"]
    start: Float[Array, " S"]
    """Distribution of the first state."""


def frozen_lake(env: Env) -> TabularMDP:
    """Return the transition table of a FrozenLake environment, read off its own moves.

    Outcomes stand in gymnasium's order: the action before, the action, the action after, with probabilities
    (1 - p) / 2, p, (1 - p) / 2; one outcome where the lake is not slippery. Holes and the goal are absorbing.

    Raises:
        TypeError: the environment is not gymnax's FrozenLake.

    """
    lake: Any = env.unwrapped
    if not all(hasattr(lake, name) for name in ("desc", "is_slippery", "success_rate", "n_states")):
        raise TypeError(f"{env.name} is not a FrozenLake")
    states, actions = jnp.arange(lake.n_states), jnp.arange(lake.num_actions)
    sure = copy.copy(lake)
    sure.is_slippery = False
    key = jax.random.key(0)  # an outcome of the deterministic twin draws nothing
    _, first = lake.reset_env(key, env.params)

    def move(state, action):
        ended = lake.is_terminated(first.replace(position=state), env.params)
        obs, _, reward, terminated, _ = sure.step_env(key, first.replace(position=state), action, env.params)
        return jnp.where(ended, state, obs), jnp.where(ended, 0.0, reward), ended | terminated

    if lake.is_slippery:
        slip = (1 - lake.success_rate) / 2
        offsets, probability = jnp.array([-1, 0, 1]), jnp.array([slip, lake.success_rate, slip])
    else:
        offsets, probability = jnp.array([0]), jnp.array([1.0])
    taken = (actions[:, None] + offsets) % lake.num_actions  # [A, K]
    successor, reward, terminated = jax.vmap(lambda s: jax.vmap(jax.vmap(lambda a: move(s, a)))(taken))(states)
    return TabularMDP(
        successor.astype(jnp.int32),
        jnp.broadcast_to(probability.astype(jnp.float32), successor.shape),
        reward.astype(jnp.float32),
        terminated,
        jax.nn.one_hot(first.position, lake.n_states),
    )


def backup(mdp: TabularMDP, values: Float[Array, " S"], gamma: Any) -> Float[Array, "S A"]:
    """Return Q(s, a) = sum_k p_k [ r_k + gamma (1 - terminated_k) V(s'_k) ].

    Source: Sutton and Barto 2018, equation 4.6.
    """
    future = jnp.where(mdp.terminated, 0, values[mdp.successor])
    return (mdp.probability * (mdp.reward + gamma * future)).sum(-1)


def value_iteration(
    mdp: TabularMDP, gamma: Any, tolerance: float = 1e-7, max_iterations: int = 100_000
) -> Float[Array, "S A"]:
    """Return the optimal action values Q*, by value iteration (Sutton and Barto 2018, section 4.4).

    Stops when no value changes by more than `tolerance`, or after `max_iterations` sweeps.

    Raises:
        ValueError: gamma lies outside [0, 1].

    """
    check_range("gamma", gamma, 0, 1)

    def unsettled(carry):
        _, change, iteration = carry
        return (change > tolerance) & (iteration < max_iterations)

    def improve(carry):
        values, _, iteration = carry
        new = backup(mdp, values, gamma).max(-1)
        return new, jnp.abs(new - values).max(), iteration + 1

    start = (jnp.zeros(mdp.start.shape, jnp.float32), jnp.float32(jnp.inf), jnp.int32(0))
    values, _, _ = lax.while_loop(unsettled, improve, start)
    return backup(mdp, values, gamma)


def policy_values(mdp: TabularMDP, policy: Float[Array, "S A"], gamma: Any) -> Float[Array, " S"]:
    """Return V of a policy, the solution of (I - gamma P) V = r (Sutton and Barto 2018, equation 4.4).

    Episodes end only where the MDP does: a time limit does not count, as it does not for a bootstrapping learner.

    Raises:
        ValueError: gamma lies outside [0, 1].

    """
    check_range("gamma", gamma, 0, 1)
    step, reward = _under(mdp, policy)
    return jnp.linalg.solve(jnp.eye(len(reward)) - gamma * step, reward)


def expected_return(mdp: TabularMDP, policy: Float[Array, "S A"], steps: int) -> Float[Array, ""]:
    """Return the expected undiscounted return of a policy's first `steps` steps, by forward recursion.

    The state's distribution is carried forward from `mdp.start`; what terminates leaves it. On the lake, whose
    only reward is 1 at the goal, this is the probability of success within the time limit.

    Raises:
        ValueError: `steps` is not positive.

    """
    check_size("steps", steps)
    step, reward = _under(mdp, policy)

    def body(_, carry):
        mass, total = carry
        return mass @ step, total + mass @ reward

    return lax.fori_loop(0, steps, body, (mdp.start, jnp.float32(0)))[1]


def best_return(mdp: TabularMDP, steps: int) -> Float[Array, ""]:
    """Return the largest expected undiscounted return of `steps` steps, by backward recursion.

    The policy that reaches it may depend on the time left, so no policy of the state alone does better.
    """
    check_size("steps", steps)
    values = lax.fori_loop(0, steps, lambda _, v: backup(mdp, v, 1.0).max(-1), jnp.zeros(mdp.start.shape))
    return mdp.start @ values


def _under(mdp: TabularMDP, policy: Float[Array, "S A"]) -> tuple[Float[Array, "S S"], Float[Array, " S"]]:
    """Return a policy's transition matrix, without the mass that terminates, and its expected rewards."""
    weight = policy[..., None] * mdp.probability
    reward = (weight * mdp.reward).sum((1, 2))
    going = jnp.where(mdp.terminated, 0, weight)
    states = jnp.arange(len(reward))[:, None, None]
    step = jnp.zeros((len(reward), len(reward))).at[states, mdp.successor].add(going)
    return step, reward
