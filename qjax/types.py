"""The vocabulary: records of pure functions, and the arrays that pass between them.

A record (`Agent`, `Memory`, `Head`, ...) is a NamedTuple of pure functions; a state is a pytree of arrays.
Functions are written for one transition, one environment and one seed; `jax.vmap` stands at the call site.

Axes: `T` steps of a rollout, `N` environments of one lane, `B` streams of a batch, `A` actions. This module
imports nothing from the package.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from jaxtyping import Array, Bool, Float, Int, Key, PyTree, UInt32

State = Any
"""A pytree of arrays whose structure only its own record knows."""

Params = Any
"""Network parameters: a pytree of arrays."""


class Transition(NamedTuple):
    """One step of one environment; leading axes `[T, N]` in a rollout block, `[T, B]` in a batch."""

    obs: PyTree[Array]
    action: Int[Array, "*axes"]
    reward: Float[Array, "*axes"]
    discount: Float[Array, "*axes"]
    """gamma * (1 - terminated): an episode cut by a time limit still bootstraps."""
    next_obs: PyTree[Array]
    """The true successor, never the observation after an automatic reset."""
    last: Bool[Array, "*axes"]
    """terminated | truncated: multi-step returns and traces stop here."""
    next_action: Any = ()
    """The executed next action, -1 where the episode ended; only where a memory adds it (SARSA)."""


class Clock(NamedTuple):
    """Ticks since the start as one 64-bit number in two words (see `qjax.clock`)."""

    high: UInt32[Array, ""]
    low: UInt32[Array, ""]


class Time(NamedTuple):
    """What schedules, policies and target policies read.

    `step` counts environment steps of one lane and `update` its learner updates, both float32 (exact to 2**24,
    then to one part in 10**7); `episode` counts the lane's finished episodes; `env` is the environment's index
    within the lane, and `envs` their number, a static whole number, or None where there is no lane. Where a record
    takes elapsed time, the first three are differences.
    """

    step: Any
    episode: Any
    update: Any
    env: Any = 0
    envs: Any = None


class Noise(NamedTuple):
    """Keys for networks that need randomness."""

    shared: Key[Array, "..."]
    """One for a whole batch (the weights of a noisy layer)."""
    per_sample: Key[Array, "..."]
    """One for each transition (the quantile levels of an implicit quantile network)."""


class Batch(NamedTuple):
    """What a memory hands to an agent: `T` consecutive rows of `B` streams."""

    data: Transition
    """Leaves `[T, B, ...]`."""
    weight: Float[Array, "T B"]
    """Multiplies each transition's loss; 0 leaves a transition out."""
    slot: Int[Array, " B"]
    """Where the streams stand in the memory, for `Memory.update`."""
    env: Int[Array, " B"]
    """The environment each stream was recorded in."""


class Network(NamedTuple):
    """A function approximator for one observation."""

    init: Callable[[Key[Array, ""], PyTree[Array]], Params]
    """`(key, obs) -> params`"""
    apply: Callable[[Params, PyTree[Array], Noise | None], PyTree[Array]]
    """`(params, obs, noise) -> out`; noise is None where the deterministic network is wanted."""


NetworkLike = Any
"""A `Network`, or any object with `init(key, obs) -> params` and `apply(params, obs) -> out`, such as a flax
module. Checked where it is taken, by `qjax.as_network`."""


class Sync(NamedTuple):
    """How target parameters follow the online ones."""

    init: Callable[[], State]
    step: Callable[[State, Params, Params, Time], tuple[State, Params]]
    """`(state, online, target, elapsed) -> (state, target)`"""


class Quantiles(NamedTuple):
    """Output of an implicit quantile network: quantiles of each action's return, and where they stand."""

    values: Float[Array, "A n"]
    levels: Float[Array, " n"]
    """In [0, 1)."""


Weights = Float[Array, " A"] | Bool[Array, " A"]
"""A distribution over actions. A boolean one has all its weight on one action, so heads need not look at others."""


class Head(NamedTuple):
    """How a network's output stands for action values."""

    q: Callable[[Any], Float[Array, " A"]]
    """`out -> q`"""
    target: Callable[[Float[Array, ""], Float[Array, ""], Any, Weights], Any]
    """`(reward, discount, next_out, weights) -> y`: y may be weighted atoms, so mixtures stay mixtures."""
    loss: Callable[[Any, Int[Array, ""], Any], tuple[Float[Array, ""], Float[Array, ""]]]
    """`(out, action, y) -> (loss, priority)`"""
    report: Callable[[Float[Array, ""], Float[Array, ""], Any, Weights], dict[str, Array]] | None = None
    """`(reward, discount, next_out, weights) -> numbers` of a target to log; None for nothing."""


Policy = Callable[[Float[Array, " A"], Time], Float[Array, " A"]]
"""`(q, time) -> probabilities`. The same function acts (it is sampled) and gives expectations."""

Schedule = Callable[[Time], Float[Array, ""]]
"""`time -> value`"""

TargetPolicy = Callable[[Key[Array, ""], Transition, Float[Array, " A"], Float[Array, " A"], Time], Weights]
"""`(key, transition, q_online, q_target, time) -> weights`: a distribution over next actions, from both
networks' values of the successor."""

Reward = Callable[[Transition, Float[Array, " A"], Float[Array, " A"], Weights, Time], Float[Array, ""]]
"""`(transition, q, q_next, weights, time) -> reward`: the environment's own, or one with a bonus. `q` and
`q_next` are the target network's values of the observation and of the successor."""


def no_update(state: State, *_: Any) -> State:
    """Return the state as it is: the `Agent.sync` and `Memory.update` of those that need none."""
    return state


class Agent(NamedTuple):
    """What acts and learns. It knows no loop and no environment."""

    init: Callable[[Key[Array, ""], PyTree[Array]], State]
    """`(key, obs) -> state`, with `obs` `[N, ...]`: one observation for each environment of the lane."""
    values: Callable[[Noise | None, State, PyTree[Array]], Float[Array, " A"]]
    """`(noise, state, obs) -> q`, for one observation."""
    learn: Callable[[Key[Array, ""], State, Batch, Time], tuple[State, dict[str, Array]]]
    """`(key, state, batch, time) -> (state, info)`. `info["priority"]` is `[B]`; every scalar is logged,
    among them `loss` and `q`, the mean value of the batch's actions."""
    sync: Callable[[State, Time], State] = no_update
    """`(state, elapsed) -> state`: moves the target; the identity where there is none."""
    zero_weight_noop: bool = False
    """Whether `learn` leaves the state as it is where every weight is 0, and there is nothing to sync. A loop then
    stops a finished lane by its weights, where others need a select over the whole state."""
    table: tuple[int, int] | None = None
    """States and actions of the table that it has, which an environment must have, too; None where it has none."""
    one_step: str = ""
    """What it has that takes transitions of a single step, such as eligibility traces; empty where any will do."""
    in_order: bool = False
    """Whether it takes each step of an environment once, one after the other."""


class Memory(NamedTuple):
    """Where transitions wait until they are learned from."""

    init: Callable[[Transition], State]
    """`block -> state`; of the block `[T, N, ...]` only shapes and dtypes are read."""
    add: Callable[[State, Transition, Clock], State]
    """`(state, block, clock) -> state`; `clock` is the tick of the block's first row."""
    sample: Callable[[Key[Array, ""], State, Clock, Time], Batch]
    """`(key, state, clock, time) -> batch`; `clock` is the number of rows added so far."""
    update: Callable[[State, Int[Array, " B"], Float[Array, " B"]], State] = no_update
    """`(state, slot, priority) -> state`: the identity unless the memory is prioritized."""
    table: tuple[int, int] | None = None
    """As an agent's: of a model of the environment."""
    steps: int = 1
    """Steps of a transition: its reward is the sum of theirs."""
    replays: bool = False
    """Whether it draws what it holds, in place of handing on each step once, in order."""


class Step(NamedTuple):
    """What one step of an environment returns."""

    obs: PyTree[Array]
    """The next observation to act on: the reset one where the episode ended."""
    state: Any
    reward: Float[Array, ""]
    terminated: Bool[Array, ""]
    truncated: Bool[Array, ""]
    final_obs: PyTree[Array]
    """The true successor, before any reset."""


class Env(NamedTuple):
    """One environment that resets itself, as pure functions with its parameters bound."""

    name: str
    reset: Callable[[Key[Array, ""]], tuple[PyTree[Array], Any]]
    """`key -> (obs, state)`"""
    step: Callable[[Key[Array, ""], Any, Int[Array, ""]], Step]
    """`(key, state, action) -> Step`"""
    encode: Callable[[PyTree[Array]], Float[Array, "..."]]
    """`obs -> features`: discrete as one-hot, boxes and images as they are, float32."""
    num_actions: int
    num_states: int | None
    """Number of discrete observations; None for boxes."""
    obs_shape: tuple[int, ...]
    max_steps: Any
    """The environment's own limit on an episode's steps, where it has one."""
    unwrapped: Any
    """The gymnax environment object."""
    params: Any
    """Its parameters."""
    rewards: tuple[Any, Any] | None = None
    """The least and the largest reward of a step, where they are known; what changes rewards says its own."""
