"""Functions of a researcher's that return another shape are told where a broadcast would be silent."""

import functools

import jax
import jax.numpy as jnp
import optax
import pytest

import qjax


@functools.cache
def lake():
    """Return the lake, made once."""
    return qjax.make("FrozenLake-v1")


def traced(agent, policy=qjax.greedy, memory=None):
    """Trace one iteration with learning, without compiling it."""
    loop = qjax.make_loop(lake(), agent, policy, memory or qjax.online(), gamma=0.9)

    def once(key):
        lane = loop.init(key)
        return loop.run(lane, qjax.clock.at(0), 1)

    return jax.eval_shape(once, jax.random.key(0))


def deep(**options):
    return qjax.dqn(qjax.encoded(qjax.MLP(4, (4,)), lake().encode), optax.sgd(0.1), **options)


def pqn(**options):
    return qjax.pqn(qjax.encoded(qjax.MLP(4, (4,)), lake().encode), optax.sgd(0.1), minibatches=1, **options)


SHORT = [lambda *args: args[2].sum(), lambda *args: args[2][:1], lambda *args: None, lambda *args: args[2][:, None]]


@pytest.mark.parametrize("target_policy", SHORT)
@pytest.mark.parametrize(
    "make",
    [
        lambda target_policy: qjax.tabular(16, 4, 0.1, target_policy=target_policy),
        lambda target_policy: qjax.traces(16, 4, 0.1, 0.9, target_policy=target_policy),
        lambda target_policy: deep(target_policy=target_policy),
        lambda target_policy: pqn(target_policy=target_policy),
    ],
)
def test_target_policies_weigh_every_action(make, target_policy):
    with pytest.raises(ValueError, match=r"the weights of target_policy must have the shape \[.*4\], got"):
        traced(make(target_policy))


@pytest.mark.parametrize("reward", [lambda *args: args[1], lambda *args: None, lambda *args: jnp.ones(1)])
def test_a_reward_is_one_number(reward):
    with pytest.raises(ValueError, match=r"what reward returns must have the shape \[\], got"):
        traced(deep(reward=reward))


def test_a_cut_is_one_bool():
    with pytest.raises(ValueError, match=r"what cut returns must have the shape \[1\], got float32\[1, 4\]"):
        traced(qjax.traces(16, 4, 0.1, 0.9, cut=lambda transition, next_q: next_q))


def test_what_is_one_number_is_taken():
    traced(deep(reward=lambda *args: jnp.float32(1)))
    traced(qjax.tabular(16, 4, lambda time: 0.5), qjax.epsilon_greedy(lambda time: 0.5))


@pytest.mark.parametrize("policy", [lambda q, time: q.sum(), lambda q, time: q[:1], lambda q, time: 0.5])
def test_a_policy_has_a_probability_for_every_action(policy):
    with pytest.raises(ValueError, match="the policy gives probabilities"):
        qjax.sweep(
            lambda _: qjax.make_loop(lake(), qjax.tabular(16, 4, 0.1), policy, qjax.online(), gamma=0.9),
            hypers=qjax.grid(x=[1.0]),
            seeds=1,
            steps=1,
        )


TEXT = r"got 'x'"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: deep(target_policy=lambda *args: "x"),
            "the weights of target_policy must be an array or a number, " + TEXT,
        ),
        (lambda: deep(reward=lambda *args: "x"), "what reward returns must be an array or a number, " + TEXT),
        (
            lambda: pqn(target_policy=lambda *args: "x"),
            "the weights of target_policy must be an array or a number, " + TEXT,
        ),
        (
            lambda: qjax.tabular(16, 4, 0.1, target_policy=lambda *args: "x"),
            "target_policy must return weights, " + TEXT,
        ),
        (
            lambda: qjax.traces(16, 4, 0.1, 0.9, target_policy=lambda *args: "x"),
            "target_policy must return weights, " + TEXT,
        ),
        (lambda: qjax.traces(16, 4, 0.1, 0.9, cut=lambda *args: "x"), "cut must return one bool, " + TEXT),
    ],
)
def test_text_is_named_with_who_returned_it(make, message):
    with pytest.raises(TypeError, match=message):
        traced(make())


def test_a_policy_that_returns_text():
    with pytest.raises(TypeError, match="the policy must return probabilities, " + TEXT):
        traced(qjax.tabular(16, 4, 0.1), lambda q, time: "x")
    agent = qjax.tabular(16, 4, 0.1)
    state = jax.eval_shape(lambda: agent.init(jax.random.key(0), jnp.zeros(1, jnp.int32)))
    for given in ("x", None, jnp.ones(3)):
        with pytest.raises((TypeError, ValueError), match="what the policy returns must"):
            jax.eval_shape(
                lambda state, given=given: qjax.evaluate(
                    lake(), agent, state, jax.random.key(0), 2, lambda q, time: given
                ),
                state,
            )


@pytest.mark.parametrize(
    ("field", "change", "message"),
    [
        ("step", lambda step: step._replace(reward="x"), "Env.step must return a Step of arrays, " + TEXT),
        ("step", lambda step: step._replace(terminated="x"), "Env.step must return a Step of arrays, " + TEXT),
        ("step", lambda step: step._replace(reward=None), "step gives reward as None; a number of"),
        (
            "step",
            lambda step: step._replace(reward=jnp.ones(2)),
            r"step gives reward as float32\[2\]",
        ),
        (
            "step",
            lambda step: step._replace(truncated=0.0),
            r"step gives truncated as float32\[\]; a bool",
        ),
        (
            "step",
            lambda step: None,
            "Env.step must return a qjax.types.Step, that of Frozen",
        ),
        ("reset", lambda first: ("x", first[1]), "Env.reset must return arrays, " + TEXT),
        (
            "reset",
            lambda first: first[0],
            r"Env.reset must return \(obs, state\), that of Frozen",
        ),
    ],
)
def test_an_environment_of_ones_own_functions(field, change, message):
    own = getattr(lake(), field)
    env = lake()._replace(**{field: lambda *args: change(own(*args))})
    loop = qjax.make_loop(env, qjax.tabular(16, 4, 0.1), qjax.greedy, qjax.online(), gamma=0.9)
    with pytest.raises(TypeError, match=message):
        jax.eval_shape(loop.init, jax.random.key(0))


@pytest.mark.parametrize("wrong", [jnp.full(1, 0.1), jnp.full(4, 0.1), [0.1, 0.2]])
@pytest.mark.parametrize("form", [lambda value: value, lambda value: lambda time: value])
def test_schedules_are_one_number(wrong, form):
    for name, make in (
        ("epsilon", qjax.epsilon_greedy),
        ("temperature", qjax.boltzmann),
        ("alpha", lambda value: qjax.tabular(16, 4, value)),
        ("alpha", lambda value: qjax.traces(16, 4, value, 0.9)),
    ):
        with pytest.raises((ValueError, TypeError), match=name):
            make(form(wrong))


def test_schedules_that_are_logged_are_one_number():
    with pytest.raises(ValueError, match=r"the schedule pair must have the shape \[\], got float32\[2\]"):
        qjax.sweep(
            lambda _: qjax.make_loop(lake(), qjax.tabular(16, 4, 0.1), qjax.greedy, qjax.online(), gamma=0.9),
            seeds=1,
            steps=1,
            schedules={"pair": lambda time: jnp.zeros(2)},
        )
