"""The tabular family: an algorithm is a dataclass of constants and a function that composes it from pieces.

On any environment with discrete observations.
"""

from dataclasses import dataclass
from typing import Any, Literal

import jax.numpy as jnp

from qjax.agents.tabular import tabular, visit_count
from qjax.agents.traces import never_cut, traces
from qjax.algorithms.constants import EpsilonGreedy, Parts, Real
from qjax.core.annotations import checked
from qjax.core.checks import check_range, check_size, describe, one_of
from qjax.envs.legal import legal_table
from qjax.exploration import schedules
from qjax.exploration.policies import argmax, boltzmann, greedy
from qjax.objectives.target_policies import action_taken, expected
from qjax.replay.delayed import with_next_action
from qjax.replay.dyna import dyna
from qjax.replay.memory import online
from qjax.types import Agent, Env, Memory, Policy, Schedule, StatefulPolicy


@dataclass(frozen=True, kw_only=True)
class Tabular(EpsilonGreedy):
    """Constants that all tabular algorithms have."""

    steps: int | None = 100_000
    """Environment steps of one seed, with which epsilon falls."""
    num_envs: int = 1
    """Environments of a seed."""
    alpha: Real = 0.1
    """Step size: a number, a schedule or a `qjax.visit_count`."""
    alpha_power: Real | None = None
    """Makes the step size fall: at the n-th update of an entry it is alpha / n ** alpha_power."""
    epsilon: Real | None = None
    """In place of the falling epsilon, a number or a schedule."""
    temperature: Real | None = None
    """In place of epsilon-greedy, the temperature of Boltzmann's policy: a number or a schedule."""
    ties: Literal["random", "first"] = "random"
    """Which of the largest values the greedy action is: random or first."""
    initial: Real = 0.0
    """Initial value of every entry, or of each, `[S, A]`; optimistic ones explore."""
    policy: Policy | StatefulPolicy | None = None
    """Any policy, in place of the constants of epsilon, temperature and ties."""

    def idle(self) -> frozenset[str]:
        """Return what a policy, a temperature or an epsilon leaves without a use."""
        falls = {"epsilon_end", "epsilon_fraction", "epsilon_decay"}
        found = set(super().idle())
        if self.policy is not None:
            found |= {*falls, "epsilon", "epsilon_z", "temperature", "ties"}
        elif self.temperature is not None:
            found |= {*falls, "epsilon", "epsilon_z", "ties"}
        elif self.epsilon is not None:
            found |= falls
        return frozenset(found)

    def check(self) -> None:
        """Raise what is wrong with the constants; of the steps, too, which nothing here need read."""
        super().check()
        check_size("num_envs", self.num_envs)

    def epsilon_schedule(self) -> Schedule:
        """Return epsilon: the number or schedule that is given, else the falling one.

        Raises:
            ValueError: a number lies outside [0, 1], or as for any epsilon that falls.

        """
        if self.epsilon is not None:
            return schedules.as_schedule("epsilon", self.epsilon, 0, 1)
        return super().epsilon_schedule()

    def step_size(self) -> Any:
        """Return the step size, for `qjax.tabular` or `qjax.traces`.

        Raises:
            TypeError: there is a power, and alpha is no number.
            ValueError: alpha or the power lies outside (0, 1].

        """
        if self.alpha_power is None:
            return self.alpha
        check_range("alpha", self.alpha, 0, 1, open_low=True)
        check_range("alpha_power", self.alpha_power, 0, 1, open_low=True)
        return visit_count(self.alpha_power, self.alpha)

    def behaviour(self) -> Policy | StatefulPolicy:
        """Return the policy that acts: the one given, Boltzmann's, or one with an epsilon and its ties."""
        if self.policy is not None:
            return self.policy
        if self.temperature is not None:
            return boltzmann(self.temperature)
        base = one_of("ties", self.ties, {"random": greedy, "first": argmax})
        return self.exploration(base)

    def in_targets(self) -> Policy:
        """Return the policy of SARSA's targets: the one that acts, but that it repeats no action."""
        policy: Any = self.replace(epsilon_z=None).behaviour()
        return policy


@dataclass(frozen=True, kw_only=True)
class NStepQ(Tabular):
    """Constants of Q-learning with targets of several steps."""

    n: int = 3
    """Steps of a target."""


@dataclass(frozen=True, kw_only=True)
class Traces(Tabular):
    """Constants of Q(lambda) and SARSA(lambda)."""

    lam: Real = 0.9
    """lambda of the traces."""
    replacing: bool = False
    """Whether traces replace in place of accumulating."""


@dataclass(frozen=True, kw_only=True)
class DynaQ(Tabular):
    """Constants of Dyna-Q."""

    planning: int = 10
    """Planned steps per step."""


@checked
def _compose_table(env: Env, config: Tabular, memory: Memory, **agent: Any) -> Parts:
    """Return Q-learning with one thing or several changed: what every algorithm without traces is."""
    learner = tabular(*_sizes(env), config.step_size(), initial=_initial(env, config), **agent)
    return Parts(learner, config.behaviour(), memory, config.num_envs)


@checked
def _compose_traces(env: Env, config: Traces, **agent: Any) -> Parts:
    """Return Watkins's Q(lambda) with one thing or several changed: what every algorithm with traces is."""
    rest: dict[str, Any] = {"initial": _initial(env, config), "replacing": config.replacing, **agent}
    learner: Agent = traces(*_sizes(env), config.step_size(), config.lam, **rest)
    return Parts(learner, config.behaviour(), with_next_action(), config.num_envs)


def _sizes(env: Env) -> tuple[int, int]:
    """Return the shape of a table for an environment."""
    if env.num_states is None:
        raise TypeError(f"a table needs discrete observations; {env.name} gives {describe(env.obs_spec)}")
    return env.num_states, env.num_actions


def _initial(env: Env, config: Tabular) -> Any:
    """Return the initial values of a table: minus infinity masks an illegal action."""
    return config.initial if env.legal is None else jnp.where(legal_table(env), config.initial, -jnp.inf)


@checked
def q_learning(env: Env, config: Tabular) -> Parts:
    """Return Q-learning (Watkins 1989)."""
    return _compose_table(env, config, online())


@checked
def sarsa(env: Env, config: Tabular) -> Parts:
    """Return SARSA (Rummery and Niranjan 1994)."""
    return _compose_table(env, config, with_next_action(), target_policy=action_taken(config.in_targets()))


@checked
def expected_sarsa(env: Env, config: Tabular) -> Parts:
    """Return expected SARSA (van Seijen et al. 2009)."""
    return _compose_table(env, config, online(), target_policy=expected(config.in_targets()))


@checked
def double_q_learning(env: Env, config: Tabular) -> Parts:
    """Return double Q-learning (van Hasselt 2010)."""
    return _compose_table(env, config, online(), tables=2)


@checked
def n_step_q(env: Env, config: NStepQ) -> Parts:
    """Return Q-learning with targets of n steps (Sutton and Barto 2018, 7.1)."""
    return _compose_table(env, config, online(config.n))


@checked
def q_lambda(env: Env, config: Traces) -> Parts:
    """Return Watkins's Q(lambda) (Watkins 1989)."""
    return _compose_traces(env, config)


@checked
def sarsa_lambda(env: Env, config: Traces) -> Parts:
    """Return SARSA(lambda) (Rummery and Niranjan 1994)."""
    return _compose_traces(env, config, target_policy=action_taken(config.in_targets()), cut=never_cut)


@checked
def dyna_q(env: Env, config: DynaQ) -> Parts:
    """Return Dyna-Q (Sutton 1990)."""
    return _compose_table(env, config, dyna(*_sizes(env), config.planning))
