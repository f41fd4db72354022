"""The tabular family by name: each member a composition of the same pieces, in one line.

What a member does not define itself (step size, exploration, initial values) is the `TabularProtocol`'s. On any
environment with discrete observations.
"""

from typing import Any, Literal, NamedTuple

from qjax.agents.tabular import tabular, visit_count
from qjax.agents.traces import traces, uncut
from qjax.algorithms.parts import Member, Parts, falling
from qjax.core.checks import MOST_STEPS, check_range, check_size, one_of
from qjax.exploration import schedules
from qjax.exploration.policies import boltzmann, epsilon_greedy, first, greedy
from qjax.objectives.target_policies import executed, expected
from qjax.replay.dyna import dyna
from qjax.replay.memory import latest
from qjax.replay.waiting import pairs
from qjax.training.loop import Loop, make_loop
from qjax.types import Agent, Env, Memory, Policy, Schedule


class TabularProtocol(NamedTuple):
    """What members have in common. Numbers that are no sizes may be traced, and so swept."""

    steps: int | None = 100_000
    """Environment steps of one seed: epsilon falls with them."""
    episodes: int | None = None
    """Episodes after which a seed is done."""
    alpha: Any = 0.1
    """Step size: a number, a schedule or a `qjax.visit_count`."""
    alpha_power: Any = None
    """Of a number, its visit count: the n-th update of an entry has the step size alpha / n ** alpha_power."""
    gamma: Any = 0.99
    epsilon: Any = None
    """A number or a schedule; default from 1 straight to `epsilon_end`."""
    epsilon_end: Any = 0.05
    epsilon_fraction: Any = 0.5
    """Share of `steps` in which epsilon falls from 1 to its end."""
    epsilon_decay: Any = None
    """In place of that, the factor by which epsilon falls from 1 with every episode."""
    initial: Any = 0.0
    """Of every value, or of each, `[S, A]`."""
    ties: Literal["random", "first"] = "random"
    """Which of the largest values the greedy action is."""
    temperature: Any = None
    """In place of epsilon and ties, the temperature of Boltzmann's policy: a number or a schedule."""
    policy: Policy | None = None
    """In place of all these, any policy."""
    num_envs: int = 1
    n: int = 3
    """Steps of a target of `n-step-q`."""
    lam: Any = 0.9
    """lambda of `q-lambda` and `sarsa-lambda`."""
    replacing: bool = False
    """Whether their traces replace or accumulate."""
    planning: int = 10
    """Planned steps per step of `dyna-q`."""


def tabular_epsilon(protocol: TabularProtocol) -> Schedule:
    """Return the protocol's epsilon.

    Raises:
        ValueError: it lies outside [0, 1], or as for `falling`.

    """
    if protocol.epsilon is not None:
        return schedules.as_schedule("epsilon", protocol.epsilon, 0, 1)
    return falling(protocol)


def step_size(protocol: TabularProtocol) -> Any:
    """Return the protocol's step size, for `tabular` or `traces`.

    Raises:
        TypeError: there is a power, and alpha is no number.
        ValueError: alpha or the power lies outside (0, 1].

    """
    if protocol.alpha_power is None:
        return protocol.alpha
    check_range("alpha", protocol.alpha, 0, 1, open_low=True)
    check_range("alpha_power", protocol.alpha_power, 0, 1, open_low=True)
    return visit_count(protocol.alpha_power, protocol.alpha)


def behaviour(protocol: TabularProtocol) -> Policy:
    """Return the policy that acts: the protocol's own, Boltzmann's, or epsilon-greedy with its ties."""
    if protocol.policy is not None:
        return protocol.policy
    if protocol.temperature is not None:
        return boltzmann(protocol.temperature)
    base = one_of("ties", protocol.ties, {"random": greedy, "first": first})
    return epsilon_greedy(tabular_epsilon(protocol), base)


def tabled(env: Env, protocol: TabularProtocol, memory: Memory, **agent: Any) -> Parts:
    """Return Q-learning with one thing or several changed: what every member without traces is."""
    learner = tabular(*_sizes(env), step_size(protocol), initial=protocol.initial, **agent)
    return Parts(learner, behaviour(protocol), memory)


def traced(env: Env, protocol: TabularProtocol, **agent: Any) -> Parts:
    """Return Watkins's Q(lambda) with one thing or several changed: what every member with traces is."""
    rest: dict[str, Any] = {"initial": protocol.initial, "replacing": protocol.replacing, **agent}
    learner: Agent = traces(*_sizes(env), step_size(protocol), protocol.lam, **rest)
    return Parts(learner, behaviour(protocol), pairs())


def _sizes(env: Env) -> tuple[int, int]:
    """Return the shape of a table for an environment."""
    if env.num_states is None:
        raise TypeError(
            f"a table needs discrete observations; {env.name} gives boxes of shape {list(env.obs_shape)}"
        )
    return env.num_states, env.num_actions


TABULAR = {
    "q-learning": Member(
        lambda env, protocol: tabled(env, protocol, latest()), "tabular on latest", "Watkins 1989"
    ),
    "sarsa": Member(
        lambda env, protocol: tabled(env, protocol, pairs(), select=executed(behaviour(protocol))),
        "select=executed(policy), on pairs",
        "Rummery and Niranjan 1994",
    ),
    "expected-sarsa": Member(
        lambda env, protocol: tabled(env, protocol, latest(), select=expected(behaviour(protocol))),
        "select=expected(policy)",
        "van Seijen et al. 2009",
    ),
    "double-q-learning": Member(
        lambda env, protocol: tabled(env, protocol, latest(), tables=2),
        "tables=2, select=double",
        "van Hasselt 2010",
    ),
    "n-step-q": Member(
        lambda env, protocol: tabled(env, protocol, latest(protocol.n)), "latest(n=3)", "Sutton and Barto 2018, 7.1"
    ),
    "q-lambda": Member(traced, "traces(lam=0.9, cut=watkins) on pairs", "Watkins 1989"),
    "sarsa-lambda": Member(
        lambda env, protocol: traced(env, protocol, select=executed(behaviour(protocol)), cut=uncut),
        "traces(lam=0.9, select=executed(policy), cut=uncut) on pairs",
        "Rummery and Niranjan 1994",
    ),
    "dyna-q": Member(
        lambda env, protocol: tabled(env, protocol, dyna(*_sizes(env), protocol.planning)),
        "tabular on dyna(planning=10)",
        "Sutton 1990",
    ),
}


def tabular_loop(member: Member, env: Env, protocol: TabularProtocol) -> Loop:
    """Return the training loop of one seed of a tabular member.

    Raises:
        TypeError: the environment's observations are not discrete.
        ValueError: a constant of the protocol is out of range.

    """
    if protocol.steps is not None:
        check_size("steps", protocol.steps, most=MOST_STEPS)
    sizes: dict[str, Any] = {"num_envs": protocol.num_envs, "episodes": protocol.episodes}
    agent, policy, memory, *_ = member.parts(env, protocol)
    return make_loop(env, agent, policy, memory, gamma=protocol.gamma, **sizes)
