"""Whether an environment does what it should, seen while it runs: what shapes alone cannot tell."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from qjax.core.checks import check_size, concrete, describe
from qjax.core.default_rules import usual
from qjax.core.random import root_key
from qjax.core.returned import resetting, stepping
from qjax.core.text import failure
from qjax.envs.environments import make
from qjax.envs.legal import check_legal
from qjax.types import Env, Step

FEW = 8
"""Steps that are made once more, in other ways; keys whose first states are compared."""
CLOSE = 1e-4
"""How far numbers may lie apart that were compiled in two ways, in units of 1 or of themselves."""


class EnvReport(NamedTuple):
    """What `check_env` found; a text for people to read, as `print` shows it."""

    name: str
    """The environment's."""
    steps: int
    """How many were made."""
    errors: tuple[str, ...]
    """What an agent would learn wrongly from, or a program could not run."""
    remarks: tuple[str, ...]
    """What was seen, and what could not be checked."""

    def check(self) -> None:
        """Raise ValueError with all errors, where there are any."""
        if self.errors:
            raise ValueError(f"{self.name}: " + "; ".join(self.errors))

    def __str__(self) -> str:
        """Return the report as lines of text."""
        found = f"{len(self.errors)} error{'s' * (len(self.errors) != 1)}" if self.errors else "no errors"
        lines = [f"{self.name}: {found} in {self.steps:,} random steps"]
        lines += [f"  error   {text}" for text in self.errors]
        return "\n".join(lines + [f"  remark  {text}" for text in self.remarks])


class _Error(str):
    """What is found wrong; other texts are remarks."""


class _Seen(NamedTuple):
    """Random steps, leaves `[steps, ...]`."""

    obs: Any
    """Acted on."""
    key: Any
    state: Any
    action: Any
    step: Step


@usual
def check_env(env: Any, seed: int = 0, steps: int = 1000) -> EnvReport:
    """Return what is found wrong with an environment while it takes random legal actions.

    Shapes and dtypes; the same from the same key, under `jit`, under `vmap`, and step by step in Python; the true
    successor at an episode's end; truncation at `max_steps`, and nowhere else; numbers that are finite; rewards
    within `Env.rewards`; states below `num_states`; a legal action in every state; and keys spent twice, where that
    shows. What can be seen depends on what happens in so many steps, which the remarks tell. A wrong environment
    raises nothing here; `report.check()` does.

    Args:
        env: an `Env`, or whatever `qjax.make` takes.
        seed: of the actions and of the environment.
        steps: how many are made, one after another.

    Raises:
        TypeError: the seed or the number of steps is no whole number.
        ValueError: the number of steps is not positive.

    """
    seed, steps = check_size("seed", seed, least=0), check_size("steps", steps)
    name = env if isinstance(env, str) else str(getattr(env, "name", type(env).__name__))
    try:
        made = make(env)
        name = made.name
        found = list(_shapes(made))
        if not found:
            key = root_key(seed)
            run = jax.jit(lambda key: _run(made, key, steps))
            seen = _arrays(run(key))
            found += [x for check in CHECKS for x in check(made, seen, key)]
            if not _same(seen, _arrays(run(key)), 0):
                found.append(_Error("the same program gives other steps when it runs again with the same key"))
    except Exception as error:  # whatever an environment raises is what was looked for
        found = [_Error(failure(error))]
    errors = tuple(str(text) for text in found if isinstance(text, _Error))
    return EnvReport(name, steps, errors, tuple(text for text in found if not isinstance(text, _Error)))


def _run(env: Env, key: Any, steps: int) -> _Seen:
    """Take random legal actions."""
    first, every = jax.random.split(key)

    def one(carry: Any, key: Any) -> Any:
        obs, state = carry
        act, key = jax.random.split(key)
        legal = jnp.ones(env.num_actions, bool) if env.legal is None else env.legal(obs)
        action = jax.random.categorical(act, jnp.where(legal, 0.0, -jnp.inf)).astype(jnp.int32)
        step = stepping(env)(key, state, action)
        return (step.obs, step.state), _Seen(obs, key, state, action, step)

    return jax.lax.scan(one, resetting(env)(first), jax.random.split(every, steps))[1]


def _arrays(tree: Any) -> Any:
    """Return a pytree on the host, keys left as they are."""
    return jax.tree.map(lambda x: x if _is_key(x) else np.asarray(x), tree)


def _is_key(x: Any) -> bool:
    return jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


def _at(tree: Any, which: Any) -> Any:
    return jax.tree.map(lambda x: x[which], tree)


def _same(one: Any, other: Any, close: float = CLOSE) -> bool:
    """Return whether two pytrees of arrays are alike, floats but for rounding."""

    def alike(x: Any, y: Any) -> bool:
        x, y = (np.asarray(jax.random.key_data(z) if _is_key(z) else z) for z in (x, y))
        if x.shape == y.shape and np.issubdtype(x.dtype, np.floating):
            return np.allclose(x, y, close, close, equal_nan=True)
        return np.array_equal(x, y)

    return all(map(alike, jax.tree.leaves(one), jax.tree.leaves(other)))


def _differ(one: Any, other: Any) -> np.ndarray:
    """Return in which rows two pytrees of arrays differ, `[rows]`."""
    each = [
        (np.asarray(x) != np.asarray(y)).reshape(len(x), -1).any(-1)
        for x, y in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    ]
    return np.logical_or.reduce(each)


# Checks: `(env, seen, key) -> texts` ---------------------------------------------------------------------------


def _shapes(env: Env) -> Iterator[str]:
    """Compare what `reset` and `step` return with what the record says."""
    obs, state = jax.eval_shape(resetting(env), jax.eval_shape(lambda: root_key(0)))
    action = jax.ShapeDtypeStruct((), jnp.int32)
    step = jax.eval_shape(stepping(env), jax.eval_shape(lambda: root_key(0)), state, action)
    for where, found in (("reset", obs), ("step", step.obs), ("final_obs", step.final_obs)):
        if _spec(found) != _spec(env.obs_spec):
            yield _Error(f"{where} gives observations {describe(found)}, obs_spec says {describe(env.obs_spec)}")
    if _spec(step.state) != _spec(state):
        yield _Error("step returns a state of another structure, shapes or dtypes than reset")
    if step.reward.dtype != jnp.float32:
        yield _Error(f"rewards are {step.reward.dtype}, not float32")
    if bad := [x.dtype.name for x in jax.tree.leaves(jax.eval_shape(env.encode, obs)) if x.dtype != jnp.float32]:
        yield _Error(f"encode gives {', '.join(bad)}, not float32")
    check_legal(env)


def _spec(tree: Any) -> Any:
    structure: Any = jax.tree.structure(tree)
    return structure, [(tuple(x.shape), x.dtype) for x in jax.tree.leaves(tree)]


def _repeated(env: Env, seen: _Seen, key: Any) -> Iterator[str]:
    """Make a few steps once more: compiled anew for several at once, and one by one in Python."""
    ends = np.flatnonzero(seen.step.terminated | seen.step.truncated)
    which = np.unique(np.concatenate([np.arange(min(FEW, len(seen.action))), ends[: FEW // 2]])).astype(int)
    given, expected = _at((seen.key, seen.state, seen.action), which), _at(seen.step, which)
    keys = jax.random.split(key, FEW)
    for where, step, reset in (
        ("under vmap", jax.vmap(env.step)(*given), jax.vmap(env.reset)(keys)),
        ("outside of jit", *_one_by_one(env, given, keys)),
    ):
        if not _same(step, expected):
            yield _Error(f"step {where} gives something else: from the same key, state and action")
        if not _same(reset, jax.jit(lambda keys: jax.lax.map(env.reset, keys))(keys)):
            yield _Error(f"reset {where} gives something else, from the same key")


def _one_by_one(env: Env, given: Any, keys: Any) -> Any:
    """Return steps and resets made in Python."""

    def stacked(found: list[Any]) -> Any:
        return jax.tree.map(lambda *x: jnp.stack(x), *found)

    steps = [env.step(*_at(given, number)) for number in range(len(given[2]))]
    return stacked(steps), stacked([env.reset(key) for key in keys])


def _successors(env: Env, seen: _Seen, key: Any) -> Iterator[str]:
    """Look at the true successor, within episodes and at their ends."""
    last = seen.step.terminated | seen.step.truncated
    if _differ(seen.step.obs, seen.step.final_obs)[~last].any():
        yield _Error("final_obs is not the observation to act on next, though no episode ended")
    ends = _at(seen, last)
    if not last.any():
        yield f"no episode ended in {len(last):,} steps, so that no end was checked"
        return
    reset = _differ(ends.step.obs, ends.step.final_obs)
    if not reset.any() and _varied(seen.obs):
        yield _Error("at every end final_obs is the observation after it: no true successor, or no reset")
    elif not _differ(ends.obs, ends.step.final_obs).any() and _differ(seen.obs, seen.step.final_obs).any():
        yield "at every end final_obs is the observation before the step: is it the true successor?"
    if (seen.step.terminated & seen.step.truncated).any():
        yield "steps that are both terminated and truncated count as terminated"


def _varied(tree: Any) -> bool:
    """Return whether not all rows are alike."""
    return bool(_differ(tree, _at(tree, np.zeros(len(jax.tree.leaves(tree)[0]), int))).any())


def _limits(env: Env, seen: _Seen, key: Any) -> Iterator[str]:
    """Compare the lengths of episodes, which are all seen from their first step on, with the time limit."""
    last = seen.step.terminated | seen.step.truncated
    ends = np.flatnonzero(last)
    lengths = np.diff(ends, prepend=-1)
    running = len(last) - 1 - (ends[-1] if len(ends) else -1)
    if len(ends):
        yield f"{len(ends)} episodes of {lengths.min()} to {lengths.max()} steps"
    cut = lengths[seen.step.truncated[ends] & ~seen.step.terminated[ends]]
    if env.max_steps is None:
        if len(cut):
            yield _Error(f"an episode was truncated after {cut[0]} steps, max_steps says that there is no limit")
        return
    if not concrete(env.max_steps):
        yield "the time limit is traced, so that it was not checked"
        return
    limit = int(env.max_steps)
    if wrong := [int(length) for length in cut if length != limit]:
        yield _Error(f"an episode was truncated after {wrong[0]} steps, max_steps says {limit}")
    longest = int(max([running, *lengths]))
    if longest > limit:
        yield _Error(f"an episode went on for {longest} steps, max_steps says {limit}")
    if not (lengths == limit).any():
        yield f"no episode came to the time limit of {limit} steps, so that truncation was not checked"


def _numbers(env: Env, seen: _Seen, key: Any) -> Iterator[str]:
    """Look at what observations and rewards are."""
    reward, observations = seen.step.reward, jax.tree.leaves((seen.obs, seen.step.final_obs))
    if not np.isfinite(reward).all():
        yield _Error(f"a reward is {reward[~np.isfinite(reward)][0]}")
    elif env.rewards is None:
        yield f"rewards from {reward.min():g} to {reward.max():g} were seen; Env.rewards does not say their range"
    elif concrete(env.rewards):
        low, high = (float(x) for x in env.rewards)
        if reward.min() < low - CLOSE or reward.max() > high + CLOSE:
            yield _Error(f"rewards from {reward.min():g} to {reward.max():g}, Env.rewards says {low:g} to {high:g}")
    if any(not np.isfinite(x).all() for x in observations if np.issubdtype(x.dtype, np.floating)):
        yield _Error("an observation is NaN or infinite")
    if env.num_states is not None:
        least, most = min(x.min() for x in observations), max(x.max() for x in observations)
        if least < 0 or most >= env.num_states:
            yield _Error(f"observations from {least} to {most}, num_states says 0 to {env.num_states - 1}")


def _legal(env: Env, seen: _Seen, key: Any) -> Iterator[str]:
    """Look at which actions are legal where one is taken."""
    if env.legal is None:
        return
    mask = np.asarray(jax.jit(jax.vmap(env.legal))(seen.obs))
    if not mask.any(-1).all():
        yield _Error("no action is legal in a state in which one has to be taken")
    if mask.all():
        yield "every action was legal everywhere: without `legal` nothing need be masked"


def _keys(env: Env, seen: _Seen, key: Any) -> Iterator[str]:
    """Look whether keys are spent twice: one for a step and the reset after it, or one for all resets."""
    begin = jax.jit(jax.vmap(lambda key: env.reset(key)[0]))
    if not _varied(_arrays(begin(jax.random.split(key, FEW)))):
        yield "every episode begins with the same observation"
        return
    last = seen.step.terminated | seen.step.truncated
    ends = _at(seen, last)
    if last.sum() < FEW:
        return
    if not _varied(ends.step.obs):
        yield _Error("after every end an episode begins with the same observation, though reset draws one")
    again = jax.jit(jax.vmap(env.step))(jax.random.split(key, len(last)), seen.state, seen.action)
    drawn = not _same((again.reward, again.final_obs), (seen.step.reward, seen.step.final_obs))
    if drawn and not _differ(_arrays(begin(ends.key)), ends.step.obs).any():
        yield _Error("step spends its key twice: on its own draws, and as it is on the reset at an episode's end")


CHECKS = (_repeated, _successors, _limits, _numbers, _legal, _keys)
"""What is looked at, in this order."""
