"""The vocabulary: records of pure functions, and the arrays that pass between them.

A record (`Agent`, `Memory`, `Head`, ...) is a NamedTuple of pure functions; a state is a pytree of arrays.
Functions are written for one transition, one environment and one seed; `jax.vmap` stands at the call site.

Axes: `T` steps of a rollout, `N` environments of one lane, `B` streams of a batch, `A` actions. This module
imports nothing from the package.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, Protocol, runtime_checkable

from jax.tree_util import register_dataclass
from jaxtyping import Array, Bool, Float, Int, Key, PyTree, UInt32

State = Any
"""A pytree of arrays whose structure only its own record knows."""

Params = Any
"""Network parameters: a pytree of arrays."""

Carry = Any
"""What an actor remembers within an episode, a pytree of arrays: a recurrent network's state, for instance. `()`
where it remembers nothing."""


class Transition(NamedTuple):
    """One step of one environment; leading axes `[T, N]` in a rollout block, `[T, B]` in a batch."""

    obs: PyTree[Array]
    """What was acted on."""
    action: Int[Array, "*axes"]
    """The action that was executed."""
    reward: Float[Array, "*axes"]
    """The reward of the step."""
    discount: Float[Array, "*axes"]
    """gamma * (1 - terminated): an episode cut by a time limit still bootstraps."""
    next_obs: PyTree[Array]
    """The true successor, never the observation after an automatic reset."""
    last: Bool[Array, "*axes"]
    """terminated | truncated: multi-step returns and traces stop here."""
    next_action: Any = ()
    """The executed next action, -1 where the episode ended; only where a memory adds it (SARSA)."""
    probability: Any = ()
    """With which the action was taken; only where the agent reads it (`Agent.reads_probability`)."""


class Clock(NamedTuple):
    """Ticks since the start as one 64-bit number in two words (see `qjax.clock`)."""

    high: UInt32[Array, ""]
    """The upper 32 bits."""
    low: UInt32[Array, ""]
    """The lower 32 bits."""


class Time(NamedTuple):
    """Where a lane stands in time: what schedules, policies and target policies read.

    Where a record takes elapsed time, the first three are differences. A float32 is exact to 2**24, then to one
    part in 10**7.
    """

    step: Any
    """Environment steps of the lane, float32."""
    episode: Any
    """Episodes that the lane has finished."""
    update: Any
    """Learner updates of the lane, float32."""
    env: Any = 0
    """The environment's index within the lane."""
    envs: Any = None
    """Environments of the lane: a static whole number, or None where there is no lane."""


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
    """Where the streams stand in the memory, for `Memory.update`; of what is learned from once, its own number."""
    env: Int[Array, " B"]
    """The environment each stream was recorded in."""
    carry: Carry = ()
    """What the actor of each stream remembered before its first row, `[B, ...]`; `()` where the memory drops it."""


class Scaled(NamedTuple):
    """A normalised observation and itself, for agents that mask: what is legal is read from the second."""

    obs: PyTree[Array]
    """As it is learned from."""
    original: PyTree[Array]
    """As the environment gave it."""


@partial(register_dataclass, data_fields=["units"], meta_fields=["incoming", "outgoing"])
@dataclass(frozen=True)
class HiddenLayer:
    """A hidden layer of a network: what it gives for one observation, and which parameters make and read that."""

    units: Any
    """`[..., n]`, its units after the activation function; of a convolution at each place of the image."""
    incoming: tuple[str, ...]
    """What makes them, by paths in the parameters such as "params/Dense_0", that of a normalisation among them: the
    last axis of all arrays there is that of the units."""
    outgoing: tuple[str, ...]
    """What reads them: the kernels there, matrices, have a row for each unit, or one for each place and unit."""


class Network(NamedTuple):
    """A function approximator for one observation."""

    init: Callable[[Key[Array, ""], PyTree[Array]], Params]
    """`(key, obs) -> params`: initial parameters, for observations of the shape of this one."""
    apply: Callable[[Params, PyTree[Array], Noise | None], PyTree[Array]]
    """`(params, obs, noise) -> out`, of one observation: what its head reads, one value for each action, `[A]`, or
    for instance atoms, `[A, n]`. `noise` is None where the deterministic network is wanted."""
    masks: bool = False
    """Whether its output for an illegal action is minus infinity; then `obs` may be `Scaled`."""
    noisy: bool = False
    """Whether it explores by noise of its own, which is drawn anew for each of its values."""
    hidden: Callable[[Params, PyTree[Array]], tuple[HiddenLayer, ...]] | None = None
    """`(params, obs) -> layers`: its hidden layers for one observation, without noise; None where not known."""


class RecurrentNetwork(NamedTuple):
    """A function approximator that remembers, in three parts, of which only the cell goes step by step."""

    init: Callable[[Key[Array, ""], PyTree[Array]], Params]
    """`(key, obs) -> params`: initial parameters, for observations of the shape of this one."""
    begin: Callable[[Params], Carry]
    """`params -> carry`: what the cell remembers at an episode's start."""
    features: Callable[[Params, PyTree[Array], Noise | None], PyTree[Array]]
    """`(params, obs, noise) -> x`: what the cell reads of one observation."""
    cell: Callable[[Params, Carry, PyTree[Array]], tuple[PyTree[Array], Carry]]
    """`(params, carry, x) -> (y, carry)`: one step."""
    output: Callable[[Params, PyTree[Array], Noise | None], PyTree[Array]]
    """`(params, y, noise) -> out`: what the head reads of what the cell gave, as `Network.apply` returns it."""
    masks: bool = False
    """As a network's."""
    noisy: bool = False
    """As a network's, wherever in it."""

    def apply(self, params: Params, carry: Carry, obs: Any, noise: Noise | None) -> tuple[Any, Carry]:
        """Return the output for one observation, and the carry for the next."""
        y, carry = self.cell(params, carry, self.features(params, obs, noise))
        return self.output(params, y, noise), carry


NetworkLike = Any
"""A `Network`, or any object with `init(key, obs) -> params` and `apply(params, obs) -> out`, such as a flax
module. Checked where it is taken, by `qjax.as_network`."""


class Sync(NamedTuple):
    """How target parameters follow the online ones."""

    init: Callable[[], State]
    """`() -> state`: what it counts from the start, `()` where it counts nothing."""
    step: Callable[[State, Params, Params, Time], tuple[State, Params]]
    """`(state, online, target, elapsed) -> (state, target)`: the target's parameters after the time that has
    elapsed since the last call."""


class Quantiles(NamedTuple):
    """Output of an implicit quantile network: quantiles of each action's return, and where they stand."""

    values: Float[Array, "A n"]
    """The quantiles of each action's return."""
    levels: Float[Array, " n"]
    """The level of each of them, in [0, 1)."""


Weights = Float[Array, " A"] | Bool[Array, " A"]
"""A distribution over actions. A boolean one has all its weight on one action, so heads need not look at others."""


class Head(NamedTuple):
    """How a network's output stands for action values."""

    q: Callable[[Any], Float[Array, " A"]]
    """`out -> q`: the values of the actions, `[A]`, of the network's output for one observation."""
    target: Callable[[Float[Array, ""], Float[Array, ""], Any, Weights], Any]
    """`(reward, discount, next_out, weights) -> y`: the target of one transition, from the output for its successor
    and a distribution over the actions there. y may be weighted atoms, so mixtures stay mixtures."""
    loss: Callable[[Any, Int[Array, ""], Any], tuple[Float[Array, ""], Float[Array, ""]]]
    """`(out, action, y) -> (loss, priority)`: the loss of the action that was taken against its target, and what a
    prioritized memory stores; one number each."""
    report: Callable[[Float[Array, ""], Float[Array, ""], Any, Weights], dict[str, Array]] | None = None
    """`(reward, discount, next_out, weights) -> numbers` of a target to log; None for nothing."""
    unrestricted: Callable[[Any], Float[Array, " A"]] | None = None
    """`out -> q` where `q` is minus infinity for actions that are not to be chosen: the values that these have all
    the same; None where `q` has them all."""

    def values(self, out: Any) -> Float[Array, " A"]:
        """Return the values of all actions, of those too that are not to be chosen."""
        return (self.q if self.unrestricted is None else self.unrestricted)(out)


@runtime_checkable
class Policy(Protocol):
    """A function that turns action values into action probabilities.

    The same function acts, being sampled, and gives expectations.
    """

    def __call__(self, q: Float[Array, " A"], time: Time, /) -> Float[Array, " A"]:
        """Return the probabilities of the actions.

        Args:
            q: values of the actions in one state; minus infinity masks an action.
            time: where the lane stands.

        """


class StatefulPolicy(NamedTuple):
    """A policy that remembers something within an episode. Wherever a loop takes a policy, it takes one of these.

    What it remembers is begun anew at each episode's start. No target, memory or evaluation sees it.
    """

    begin: Callable[[Key[Array, ""]], State]
    """`key -> state`: what is remembered at an episode's start."""
    act: Callable[[Key[Array, ""], State, Float[Array, " A"], Time], tuple[Float[Array, " A"], State]]
    """`(key, state, q, time) -> (probabilities, state)`: those of the actions, as a `Policy` returns them, and what
    is remembered for the next step. To remember the action it draws one itself, and gives it probability 1."""


@runtime_checkable
class Schedule(Protocol):
    """A function of time, such as an epsilon or a step size that falls."""

    def __call__(self, time: Time, /) -> Float[Array, ""]:
        """Return the value at a time.

        Args:
            time: where the lane stands.

        """


@runtime_checkable
class TargetPolicy(Protocol):
    """A function that says which next actions a target is made of."""

    def __call__(
        self,
        key: Key[Array, ""],
        transition: Transition,
        q_online: Float[Array, " A"],
        q_target: Float[Array, " A"],
        time: Time,
        /,
    ) -> Weights:
        """Return a distribution over the next actions; a boolean one has all its weight on one action.

        Args:
            key: for those that draw.
            transition: the step that led to the next observation.
            q_online: values of the actions there, by the network that learns.
            q_target: the same by the target network.
            time: where the lane stands.

        """


@runtime_checkable
class Reward(Protocol):
    """A function that gives the reward to learn from: the environment's own, or one with a bonus."""

    def __call__(
        self,
        transition: Transition,
        q: Float[Array, " A"],
        q_next: Float[Array, " A"],
        weights: Weights,
        time: Time,
        /,
    ) -> Float[Array, ""]:
        """Return the reward of a step.

        Args:
            transition: the step, with the environment's own reward.
            q: values of the actions at its observation, by the target network.
            q_next: the same at the next observation.
            weights: what the target policy returned.
            time: where the lane stands.

        """


def no_update(state: State, *_: Any) -> State:
    """Return the state as it is: the `Agent.observe` and `Memory.update` of those that need none."""
    return state


def no_sync(key: Key[Array, ""], state: State, elapsed: Time) -> State:
    """Return the state as it is: the `Agent.sync` of those that need none."""
    return state


def any_env(env: Any) -> None:
    """Accept every environment: the `Memory.check` of those that hold what they are given."""


def no_carry(key: Key[Array, ""], state: State) -> Carry:
    """Return `()`: the `Agent.begin` of those that remember nothing."""
    return ()


@runtime_checkable
class Act(Protocol):
    """A function that values the actions at one observation, and passes on what its actor remembers."""

    def __call__(
        self, noise: Noise | None, state: State, carry: Carry, obs: PyTree[Array], /
    ) -> tuple[Float[Array, " A"], Carry]:
        """Return the values of the actions, and the carry for the next step.

        Args:
            noise: None where networks are to act without.
            state: the agent's.
            carry: what `Agent.begin` gave at the episode's start, or this function at the last step.
            obs: one observation.

        """


class Agent(NamedTuple):
    """What acts and learns. It knows no loop and no environment."""

    init: Callable[[Key[Array, ""], PyTree[Array]], State]
    """`(key, obs) -> state`: before anything is learned, of one observation for each environment, `[N, ...]`."""
    act: Act
    """`(noise, state, carry, obs) -> (q, carry)`: the values of the actions, `[A]`, at one observation, and what is
    remembered for the next; `qjax.memoryless(values)` where that is nothing. `noise` is None to act without."""
    learn: Callable[[Key[Array, ""], State, Batch, Time], tuple[State, dict[str, Array]]]
    """`(key, state, batch, time) -> (state, info)`: one update. `info["priority"]` is `[B]`; every scalar is
    logged, among them `loss` and `q`, the mean value of the batch's actions."""
    sync: Callable[[Key[Array, ""], State, Time], State] = no_sync
    """`(key, state, elapsed) -> state`: moves the target, and does what else is seldom done; the identity where
    there is nothing."""
    observe: Callable[[State, Transition], State] = no_update
    """`(state, block) -> state`: sees each new block of transitions `[T, N, ...]` once, before the memory."""
    begin: Callable[[Key[Array, ""], State], Carry] = no_carry
    """`(key, state) -> carry`: what the actor of one environment remembers at an episode's start."""
    zero_weight_noop: bool = False
    """Whether `learn` leaves the state as it is where every weight is 0, and there is nothing to sync. A loop then
    stops a finished lane by its weights, where others need a select over the whole state."""
    table: tuple[int, int] | None = None
    """States and actions of the table that it has, which an environment must have, too; None where it has none."""
    one_step: str = ""
    """What it has that takes transitions of a single step, such as eligibility traces; empty where any will do."""
    in_order: bool = False
    """Whether it takes each step of an environment once, one after the other."""
    masks: bool = False
    """Whether its values of illegal actions are minus infinity, so that no target counts them."""
    reads_probability: bool = False
    """Whether it learns from the probabilities with which actions were taken, which transitions then have."""
    hidden: Callable[[State, PyTree[Array]], tuple[HiddenLayer, ...]] | None = None
    """`(state, obs) -> layers`: the hidden layers of its network for one observation; None where not known."""

    def values(self, noise: Noise | None, state: State, obs: Any) -> Any:
        """Return the values of the actions, `[A]`, at one observation, by an agent that remembers nothing.

        Raises:
            ValueError: it remembers something, on which its values depend.

        """
        if self.begin is not no_carry:
            raise ValueError("the agent's values depend on what it remembers: take Agent.act, and its carry")
        return self.act(noise, state, (), obs)[0]


class Memory(NamedTuple):
    """Where transitions wait until they are learned from."""

    init: Callable[[Transition, Carry], State]
    """`(block, carry) -> state`: the empty memory; of what `add` takes only shapes and dtypes are read."""
    add: Callable[[State, Transition, Clock, Carry], State]
    """`(state, block, clock, carry) -> state`: takes a block `[T, N, ...]` in; `clock` is the tick of its first row
    and `carry` what the actors remembered before it, `[N, ...]`."""
    sample: Callable[[Key[Array, ""], State, Clock, Time], Batch]
    """`(key, state, clock, time) -> batch`: what is learned from next; `clock` is the number of rows so far."""
    update: Callable[[State, Int[Array, " B"], Float[Array, " B"]], State] = no_update
    """`(state, slot, priority) -> state`: hears of a batch's priorities, `[B]` as its slots; the identity unless
    the memory is prioritized."""
    table: tuple[int, int] | None = None
    """As an agent's: of a model of the environment."""
    steps: int = 1
    """Steps of a transition: its reward is the sum of theirs."""
    replays: bool = False
    """Whether it draws what it holds, in place of handing on each step once, in order."""
    frames: Any = None
    """How it stores each observation once (`qjax.Frames`), for environments with that time limit; None where it
    stores the two of a transition."""
    check: Callable[[Any], None] = any_env
    """`env -> None`: raises where its transitions are not of such an environment."""


class Step(NamedTuple):
    """What one step of an environment returns."""

    obs: PyTree[Array]
    """The next observation to act on: the reset one where the episode ended."""
    state: Any
    """The environment's state, the reset one where the episode ended."""
    reward: Float[Array, ""]
    """The reward."""
    terminated: Bool[Array, ""]
    """Whether the episode ended for good: nothing comes after."""
    truncated: Bool[Array, ""]
    """Whether it was cut, by a time limit for instance."""
    final_obs: PyTree[Array]
    """The true successor, before any reset."""


def same_obs(obs: Any) -> Any:
    """Return an observation as it is: the `Env.original` where no wrapper changes what is observed."""
    return obs


class Env(NamedTuple):
    """One environment that resets itself, as pure functions with its parameters bound."""

    name: str
    """How it is called in messages and files."""
    reset: Callable[[Key[Array, ""]], tuple[PyTree[Array], Any]]
    """`key -> (obs, state)`"""
    step: Callable[[Key[Array, ""], Any, Int[Array, ""]], Step]
    """`(key, state, action) -> Step`; the action is a whole number from 0."""
    encode: Callable[[PyTree[Array]], PyTree[Array]]
    """`obs -> features`: discrete as one-hot, all else as it is, float32; of several arrays each by itself."""
    num_actions: int
    """Number of actions."""
    num_states: int | None
    """Number of discrete observations; None for boxes."""
    obs_spec: PyTree[Any]
    """One observation as `jax.ShapeDtypeStruct`, or a pytree of these."""
    max_steps: Any
    """The environment's own limit on an episode's steps, where it has one."""
    unwrapped: Any
    """The gymnax environment object."""
    params: Any
    """Its parameters."""
    rewards: tuple[Any, Any] | None = None
    """The least and the largest reward of a step, where they are known; what changes rewards says its own."""
    legal: Callable[[PyTree[Array]], Bool[Array, " A"]] | None = None
    """`obs -> mask` of the actions that may be taken, None where all may. A mask without any is as one of all."""
    wrappers: tuple[str, ...] = ()
    """What it is wrapped in, the innermost first, in the words of `qjax.wrappers`."""
    original: Callable[[PyTree[Array]], PyTree[Array]] | None = same_obs
    """`obs -> obs` of what is wrapped, for pictures; None where it cannot be told."""
