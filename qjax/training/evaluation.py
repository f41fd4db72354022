"""Evaluation: whole episodes, a fixed number of them, on keys and environments of their own."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Key

from qjax.core import sums
from qjax.core.checks import check_callable, check_key, check_listed, check_record, check_size, check_table
from qjax.core.default_rules import usual
from qjax.core.random import root_key
from qjax.core.returned import check_returned, resetting, stepping
from qjax.core.sums import Sum
from qjax.core.text import shown
from qjax.envs.legal import among_legal
from qjax.exploration.policies import as_stateful, draw, greedy
from qjax.training.carry import begin, remembers
from qjax.types import Agent, Carry, Env, Policy, State, Time

EVALUATION = 2**32 - 1
"""Folded into the root key in place of a lane's number: the stream of keys for evaluation."""
BEGIN = 2**32 - 1
"""Folded into an evaluation's key in place of a tick: the keys with which its actors begin."""


@usual
def evaluation_key(seed: int | Key[Array, ""], number: Any) -> Key[Array, ""]:
    """Return the key that `evaluate_seeds` gives to seed `number` of a sweep from root `seed`."""
    return jax.random.fold_in(jax.random.fold_in(root_key(seed), EVALUATION), number)


class Episodes(NamedTuple):
    """Episodes of one agent."""

    returns: Float[Array, " E"]
    """Sum of each episode's rewards, undiscounted."""
    lengths: Int[Array, " E"]
    """Steps of each episode."""
    ended: Bool[Array, " E"]
    """False where `max_steps` cut an episode that the environment had not ended."""


@usual
def evaluate(
    env: Env,
    agent: Agent,
    state: State,
    key: Any,
    episodes: int,
    policy: Policy = greedy,
    max_steps: int | None = None,
) -> Episodes:
    """Run `episodes` whole episodes of an agent side by side, each from its own reset, and return all of them.

    No episode is left out for being long, so the mean is not biased towards short ones. Networks act without
    noise. vmap over `state` and `key` for many agents.

    Args:
        env: the environment.
        agent: who acts.
        state: its state.
        key: a typed key.
        episodes: E.
        policy: default greedy, ties broken at random.
        max_steps: default the environment's own limit.

    Raises:
        ValueError: there is no limit on an episode's steps, `episodes` or `max_steps` is not positive, or a table
            has not the states and actions of the environment.
        TypeError: `key` is not a typed key.

    """
    played = play(env, agent, state, key, episodes, policy, max_steps)
    return played.run(played.given, played.start).episodes


class PlayState(NamedTuple):
    """Where episodes stand between two steps."""

    tick: Int[Array, ""]
    """Steps so far."""
    limit: Any
    """The tick at which the loop ends."""
    obs: Any
    """What is acted on next: of a new episode where one has ended."""
    env_state: Any
    """State of the environments."""
    carry: Carry
    """What the actors remember of their episodes."""
    action: Int[Array, " E"]
    """The last action."""
    final_obs: Any
    """What it led to, before any reset; at the start the first observation."""
    rest: Float[Array, " E"]
    """What the returns' rounding left out (`qjax.core.sums`)."""
    episodes: Episodes
    """Returns and lengths so far, and which episodes have ended."""


class Played(NamedTuple):
    """Episodes about to be played."""

    start: PlayState
    """Before the first step."""
    given: Any
    """What does not change: the agent's state and the key."""
    running: Callable[[PlayState], Any]
    """Whether an episode goes on, and the limit is not reached."""
    run: Callable[[Any, PlayState], PlayState]
    """`(given, now) -> then`, to the end of all episodes or to the limit."""


def play(
    env: Env, agent: Agent, state: State, key: Any, episodes: int, policy: Policy, max_steps: int | None
) -> Played:
    """Return what `evaluate` runs; its arguments."""
    check_key(key)
    episodes = check_size("episodes", episodes)
    check_record("env", env, Env)
    check_record("agent", agent, Agent)
    check_callable("policy", policy, "(q, time) -> probabilities")
    check_table("an agent", agent.table, env)
    limit = _limit(env, max_steps)
    reset_key, run_key = jax.random.split(key)
    obs, env_state = jax.vmap(resetting(env))(jax.random.split(reset_key, episodes))

    def running(now: PlayState) -> Any:
        return (now.tick < now.limit) & ~now.episodes.ended.all()

    advance = partial(_advance, env, agent, policy)
    none = Episodes(jnp.zeros(episodes, jnp.float32), jnp.zeros(episodes, jnp.int32), jnp.zeros(episodes, bool))
    action, state = jnp.zeros(episodes, jnp.int32), jax.tree.map(jnp.asarray, state)  # a `Result`'s are NumPy's
    carry: Carry = ()
    if remembers(agent):
        carry = begin(agent, jax.random.split(jax.random.fold_in(run_key, BEGIN), episodes), state)
    return Played(
        start=PlayState(jnp.int32(0), jnp.asarray(limit), obs, env_state, carry, action, obs, none.returns, none),
        given=(state, run_key),
        running=running,
        run=lambda given, now: lax.while_loop(running, partial(advance, given), now),
    )


def _limit(env: Env, max_steps: int | None) -> int:
    """Return the most steps of an episode."""
    limit = env.max_steps if max_steps is None else check_size("max_steps", max_steps)
    if limit is None:
        raise ValueError(f"{env.name} has no limit on an episode's steps: give max_steps")
    return limit


def _advance(env: Env, agent: Agent, policy: Policy, given: Any, now: PlayState) -> PlayState:
    """Step every episode once; those that have ended add nothing."""
    acts = among_legal(env, as_stateful("policy", policy))

    def probabilities_of(obs: Any, q: Any, time: Time) -> Any:
        return check_returned("what the policy returns", acts(obs, None, (), q, time)[0], q.shape)

    # A policy that explores by the clock sees its end: evaluation follows training.
    time = Time(jnp.float32(1e9), jnp.int32(2**30), jnp.float32(1e9), jnp.int32(0))
    state, run_key = given
    tick, limit, obs, env_state, carry, _, _, rest, result = now
    episodes = len(result.returns)
    act_key, step_key = jax.random.split(jax.random.fold_in(run_key, tick))
    q, carry = jax.vmap(agent.act, in_axes=(None, None, 0, 0))(None, state, carry, obs)
    probabilities = jax.vmap(probabilities_of, in_axes=(0, 0, None))(obs, q, time)
    action = jax.vmap(draw)(jax.random.uniform(act_key, (episodes,)), probabilities)
    step = jax.vmap(stepping(env))(jax.random.split(step_key, episodes), env_state, action)
    returns, rest = sums.plus(Sum(result.returns, rest), jnp.where(result.ended, 0, step.reward))
    result = Episodes(
        returns=returns,
        lengths=result.lengths + ~result.ended,
        ended=result.ended | step.terminated | step.truncated,
    )
    final_obs = jax.tree.map(lambda x, like: jnp.asarray(x, like.dtype), step.final_obs, obs)
    return PlayState(tick + 1, limit, step.obs, step.state, carry, action, final_obs, rest, result)


@usual
def evaluate_seeds(
    env: Env,
    agent: Agent,
    states: State,
    seeds: Sequence[int] | np.ndarray,
    seed: int | Key[Array, ""],
    episodes: int,
    policy: Policy = greedy,
    batch_size: int = 64,
    max_steps: int | None = None,
) -> Episodes:
    """Evaluate the agents of a sweep, `batch_size` of them at a time; fields are `[lanes, E]`.

    Args:
        env: the environment.
        agent: who acts.
        states: the agents' states, `[lanes, ...]`.
        seeds: the lanes' seeds, `[lanes]`.
        seed: the sweep's own. Evaluation draws from a stream of its own, which no lane trains on.
        episodes: E.
        policy: default greedy, ties broken at random.
        batch_size: agents side by side.
        max_steps: default the environment's own limit.

    Raises:
        ValueError: there is no limit on an episode's steps, a size is not positive, or the states are of another
            number of lanes than the seeds.

    """
    batch_size = check_size("batch_size", batch_size)
    given = check_listed("seeds", seeds, "numbers")
    numbers = [check_size("seeds (each)", number, least=0, most=EVALUATION) for number in given]
    for state in jax.tree.leaves(states):
        if not getattr(state, "shape", ()) or len(state) != len(numbers):
            raise ValueError(f"states must be arrays of {len(numbers)} lanes, got {shown(state)}")
    keys = jax.vmap(lambda s: evaluation_key(seed, s))(jnp.asarray(np.array(numbers, np.uint32)))

    @jax.jit
    def run(states: State, keys: Any) -> Episodes:
        def one(x: Any) -> Episodes:
            return evaluate(env, agent, x[0], x[1], episodes, policy, max_steps)

        return lax.map(one, (states, keys), batch_size=batch_size)

    return run(states, keys)
