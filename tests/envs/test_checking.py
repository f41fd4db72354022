"""`check_env` finds what is wrong with an environment: for each check there is one that breaks it."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import qjax
from qjax.types import Env, Step

LIMIT, FAR = 6, 8


def draw(key):
    return jax.random.randint(key, (), 0, 4)


def moved(key, state, action):
    """Return where a step of a walk leads, which sometimes slips."""
    place, time = state
    slip = jax.random.bernoulli(key, 0.2)
    return jnp.where(slip, place, jnp.clip(place + 2 * action - 1, 0, FAR)), time + 1


def walk(**changes):
    """Return a walk from 0 to 8 that begins at one of 0 to 3, sound but for the changes."""

    def reset(key):
        place = draw(key)
        return place, (place, jnp.int32(0))

    def step(key, state, action):
        step_key, reset_key = jax.random.split(key)
        return ended(*moved(step_key, state, action), reset(reset_key))

    sound = Env(
        name="walk",
        reset=reset,
        step=step,
        encode=lambda obs: jax.nn.one_hot(obs, FAR + 1),
        num_actions=2,
        num_states=FAR + 1,
        obs_spec=jax.ShapeDtypeStruct((), jnp.int32),
        max_steps=LIMIT,
        unwrapped=None,
        params=None,
        rewards=(0.0, 1.0),
    )
    return sound._replace(**changes)


def ended(place, time, fresh, limit=LIMIT):
    terminated = place == 5
    truncated = ~terminated & (time >= limit)
    obs, state = jax.tree.map(
        lambda new, old: jnp.where(terminated | truncated, new, old), fresh, (place, (place, time))
    )
    return Step(obs, state, jnp.where(terminated, 1.0, 0.0), terminated, truncated, place)


def changed(**fields):
    """Return a walk whose steps have other fields: functions of what they are."""
    sound = walk()

    def step(key, state, action):
        found = sound.step(key, state, action)
        return found._replace(**{name: change(found) for name, change in fields.items()})

    return sound._replace(step=step)


def with_limit(limit):
    def step(key, state, action):
        step_key, reset_key = jax.random.split(key)
        return ended(*moved(step_key, state, action), walk().reset(reset_key), limit)

    return walk(step=step)


def same_key(key, state, action):
    return ended(*moved(key, state, action), walk().reset(key))


def one_start(key, state, action):
    return ended(*moved(key, state, action), walk().reset(jax.random.key(0)))


def counting():
    """Return a walk whose reward counts the calls of Python's."""
    calls = itertools.count()
    return changed(reward=lambda found: found.reward * 0 + jnp.float32(next(calls) % 2))


def of_the_host():
    """Return a walk whose rewards the host draws."""
    rng = np.random.default_rng(0)
    shape = jax.ShapeDtypeStruct((), jnp.float32)

    def reward(found):
        return jax.pure_callback(lambda _: np.float32(rng.random()), shape, found.reward, vmap_method="sequential")

    return changed(reward=reward)


def of_several():
    """Return a walk that pays otherwise where several are stepped at once."""

    @jax.custom_batching.custom_vmap
    def pay(reward):
        return reward

    @pay.def_vmap
    def of_lanes(size, batched, reward):
        return reward + 0.5, True

    return changed(reward=lambda found: pay(found.reward))._replace(rewards=None)


def raising(key):
    raise RuntimeError("no such level")


BROKEN = {
    "obs_spec": (
        walk(obs_spec=jax.ShapeDtypeStruct((2,), jnp.int32)),
        "reset gives observations int32[], obs_spec says int32[2]",
    ),
    "final_obs of another dtype": (changed(final_obs=lambda s: jnp.float32(s.obs)), "final_obs gives observations"),
    "state": (changed(state=lambda s: s.state[0]), "step returns a state of another structure"),
    "reward of whole numbers": (changed(reward=lambda s: jnp.int32(s.reward)), "rewards are int32, not float32"),
    "flags of numbers": (changed(terminated=lambda s: jnp.float32(s.terminated)), "terminated"),
    "encode": (walk(encode=lambda obs: obs), "encode gives int32, not float32"),
    "raises": (walk(reset=raising), "RuntimeError: no such level"),
    "the host draws": (of_the_host(), "the same program gives other steps"),
    "Python counts": (counting(), "step outside of jit gives something else"),
    "vmap": (of_several(), "step under vmap gives something else"),
    "first observation as successor": (
        changed(final_obs=lambda s: s.obs),
        "at every end final_obs is the observation after it",
    ),
    "successor within an episode": (
        changed(final_obs=lambda s: jnp.clip(s.final_obs + 1, 0, FAR)),
        "final_obs is not the observation to act on next, though no episode ended",
    ),
    "truncated early": (with_limit(4), "an episode was truncated after 4 steps, max_steps says 6"),
    "truncated late": (with_limit(9), "max_steps says 6"),
    "never truncated": (with_limit(10_000), "an episode went on for"),
    "truncated without a limit": (walk(max_steps=None), "truncated after 6 steps, max_steps says that there is no"),
    "rewards": (walk(rewards=(0.0, 0.5)), "rewards from 0 to 1, Env.rewards says 0 to 0.5"),
    "a reward that is none": (changed(reward=lambda s: s.reward / s.reward), "a reward is nan"),
    "an observation that is none": (
        changed(obs=lambda s: s.obs / 0.0, final_obs=lambda s: s.final_obs / 0.0)._replace(
            reset=lambda key: (draw(key) / 1.0, (draw(key), jnp.int32(0))),
            num_states=None,
            encode=lambda obs: obs,
            obs_spec=jax.ShapeDtypeStruct((), jnp.float32),
        ),
        "an observation is NaN or infinite",
    ),
    "states": (walk(num_states=3), "num_states says 0 to 2"),
    "mask of another shape": (walk(legal=lambda obs: jnp.ones(3, bool)), "legal(obs) must be bool[2]"),
    "no legal action": (walk(legal=lambda obs: jnp.arange(2) < obs), "no action is legal"),
    "a key spent twice": (walk(step=same_key), "step spends its key twice"),
    "episodes that begin alike": (walk(step=one_start), "after every end an episode begins with the same"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_found(name):
    env, said = BROKEN[name]
    report = qjax.check_env(env, steps=300)
    assert any(said in text for text in report.errors), str(report)
    with pytest.raises(ValueError, match="walk: "):
        report.check()
    assert f"  error   {report.errors[0]}" in str(report)


def test_a_sound_one_has_no_errors():
    report = qjax.check_env(walk(), steps=300)
    assert (report.name, report.steps, report.errors) == ("walk", 300, ())
    report.check()
    assert str(report).startswith("walk: no errors in 300 random steps\n  remark  ")


def test_remarks_tell_what_was_not_checked():
    told = " ".join(qjax.check_env(walk(rewards=None, legal=lambda obs: jnp.ones(2, bool)), steps=3).remarks)
    for said in (
        "no episode ended in 3 steps",
        "no episode came to the time limit of 6 steps",
        "Env.rewards does not say",
        "every action was legal everywhere",
    ):
        assert said in told


def test_what_make_refuses_is_an_error():
    report = qjax.check_env("CartPole-v7", steps=1)
    assert "did you mean" in report.errors[0]
    assert "continuous" in qjax.check_env("Pendulum-v1", steps=1).errors[0]


@pytest.mark.parametrize("name", ["CartPole-v1", "FrozenLake-v1", "Breakout-MinAtar", "Taxi-v4"])
def test_named_environments_are_sound(name):
    report = qjax.check_env(name)
    assert report.errors == (), str(report)


def test_arguments_are_checked():
    with pytest.raises(ValueError, match="steps"):
        qjax.check_env(walk(), steps=0)
    with pytest.raises(TypeError, match="seed"):
        qjax.check_env(walk(), seed=0.5)
