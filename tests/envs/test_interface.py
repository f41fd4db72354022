"""What `qjax.make` says of objects that are no environment, or whose steps no scan would run."""

import subprocess
import sys

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import optax
import probes
import pytest
from gymnasium.envs.classic_control import CartPoleEnv, PendulumEnv
from gymnasium.envs.toy_text import FrozenLakeEnv

import qjax
from qjax.core.checks import check_callable

# In the place of an object --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("thing", "message"),
    [
        (
            None,
            "NoneType has no reset: give a name, a TabularMDP, or an object with the interface of gymnax's",
        ),
        (b"CartPole-v1", "bytes has no reset: give a name"),
        (lambda key: key, "function has no reset: give a name"),
        (probes.OneStep, r"OneStep is a class; give an object of it, OneStep\(\)"),
        (probes.OneStep(), None),
    ],
)
def test_what_is_no_environment(thing, message):
    if message is None:
        assert qjax.make(thing).num_actions == 2
        return
    with pytest.raises(TypeError, match=message):
        qjax.make(thing)


def test_an_environment_that_is_made_already():
    env = qjax.make("FrozenLake-v1")
    assert qjax.make(env) is env
    for arguments in ({"max_episode_steps": 3}, {"params": env.params}):
        with pytest.raises(
            TypeError, match="FrozenLake-v1 is made already: give its parameters and arguments where"
        ):
            qjax.make(env, **arguments)


@pytest.mark.parametrize(
    ("make", "instead"),
    [
        (lambda: gymnasium.make("CartPole-v1"), r"TimeLimit runs on the host.*use qjax.make\('CartPole-v1'\)$"),
        (
            lambda: gymnasium.make("FrozenLake-v1", is_slippery=False),
            r"use qjax.make\('FrozenLake-v1', map_name='4x4', is_slippery=False\)$",
        ),
        (lambda: gymnasium.make("Taxi-v4").unwrapped, r"TaxiEnv runs on the host.*qjax.make\('Taxi-v4'\)$"),
        (
            lambda: gymnasium.make_vec("CartPole-v1", num_envs=2),
            r"qjax.make\('CartPole-v1', max_episode_steps=500\), and num_envs of qjax.make_loop for several$",
        ),
        (lambda: gymnasium.spec("CartPole-v1"), r"use qjax.make\('CartPole-v1'\)$"),
        (lambda: CartPoleEnv, r"^CartPoleEnv runs on the host.*use qjax.make\('CartPole-v1'\)$"),
        (CartPoleEnv, r"^CartPoleEnv runs on the host.*use qjax.make\('CartPole-v1'\)$"),
        (lambda: FrozenLakeEnv, r"use qjax.make\('FrozenLake-v1', map_name='4x4'\)$"),
        *[
            (make, r"use qjax.make\('Pendulum-v1', action_bins=\.\.\.\)")
            for make in (
                lambda: gymnasium.make("Pendulum-v1"),
                lambda: gymnasium.spec("Pendulum-v1"),
                lambda: PendulumEnv,
                lambda: gymnasium.make_vec("Pendulum-v1", num_envs=2),
            )
        ],
        (lambda: gymnasium.make("Blackjack-v1"), "qjax needs one written in JAX, with gymnax's interface"),
    ],
)
def test_gymnasiums_objects_are_told_what_to_use_in_their_place(make, instead):
    with pytest.raises(TypeError, match=instead):
        qjax.make(make())


def test_objects_of_gymnasiums_without_a_name():
    from gymnax.environments.classic_control.cartpole import CartPole
    from gymnax.wrappers.gym import GymnaxToGymWrapper

    with pytest.raises(TypeError, match=r"qjax.make\(qjax.mdp.from_gymnasium\(env\), max_steps_in_episode=...\)"):
        qjax.make(FrozenLakeEnv())
    with pytest.raises(TypeError, match=r"give qjax\.make the gymnax environment that it wraps"):
        qjax.make(GymnaxToGymWrapper(CartPole()))


def test_the_suggestion_is_true():
    env = gymnasium.make("FrozenLake-v1", desc=["SFG"], is_slippery=False)
    with pytest.raises(TypeError) as error:
        qjax.make(env)
    made = eval(str(error.value).partition("use ")[2])
    np.testing.assert_array_equal(
        qjax.mdp.from_env(made).successor[..., 0], [[0, 0, 1, 0], [0, 1, 2, 1], [2, 2, 2, 2]]
    )


# Methods --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "wrong", "signature"),
    [
        ("reset", lambda key: None, r"OneStep.reset must be a function \(key, params\) -> \(obs, state\), got one"),
        (
            "step",
            lambda key, state, action: None,
            r"OneStep.step must be a function \(key, state, action, params\) ->",
        ),
        ("action_space", lambda: None, r"OneStep.action_space must be a function \(params\) -> space"),
        ("observation_space", lambda: None, r"OneStep.observation_space must be a function \(params\) -> space"),
    ],
)
def test_methods_with_another_number_of_arguments(method, wrong, signature):
    env = probes.OneStep()
    setattr(env, method, wrong)
    with pytest.raises(TypeError, match=signature):
        qjax.make(env)


class Odd(probes.OneStep):
    """A probe whose step, reset or state is changed."""

    def __init__(self, box=False, returned=None, first=None):
        super().__init__(box)
        self.returned, self.first = returned, first

    def reset(self, key, params):
        obs, state = super().reset(key, params)
        return self.first(obs, state) if self.first else (obs, state)

    def step(self, key, state, action, params):
        _, where, *rest = super().step(key, probes.State(*state), action, params)
        names = ("obs", "state", "reward", "terminated", "truncated", "info")
        found = dict(zip(names, (self.observe(0), where, *rest), strict=True))
        return tuple((found | (self.returned(found) if self.returned else {})).values())


@pytest.mark.parametrize("reward", [1, True, np.float64(1), jnp.bfloat16(1), jnp.int8(1)])
def test_rewards_are_made_float32(reward):
    env = qjax.make(Odd(returned=lambda _: {"reward": reward}))
    step = env.step(jax.random.key(0), env.reset(jax.random.key(0))[1], jnp.int32(0))
    assert (step.reward.dtype, float(step.reward)) == (jnp.float32, 1.0)


@pytest.mark.parametrize("name", ["terminated", "truncated"])
@pytest.mark.parametrize(
    ("value", "told"),
    [(jnp.float32(1), r"float32\[\]"), (1, r"int32\[\]"), (jnp.array([True]), r"bool\[1\]"), (None, "None")],
)
def test_flags_are_one_bool(name, value, told):
    with pytest.raises(TypeError, match=rf"Odd: step gives {name} as {told}; a bool of shape \(\) is needed"):
        qjax.make(Odd(returned=lambda _: {name: value}))


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (jnp.ones(1), r"float32\[1\]"),
        (1j, r"complex64\[\]"),
        (None, "None"),
        (jnp.ones((2, 1)), r"float32\[2, 1\]"),
    ],
)
def test_a_reward_is_one_real_number(value, told):
    with pytest.raises(TypeError, match=rf"Odd: step gives reward as {told}; a number of shape \(\) is needed"):
        qjax.make(Odd(returned=lambda _: {"reward": value}))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (lambda s: probes.State(s.where, s.time * 1.0), r"state\.time is int32\[\] after reset, float32\[\] after"),
        (lambda s: probes.State(s.where[None], s.time), r"state\.where is int32\[\] after reset, int32\[1\] after"),
        (tuple, "a state with the structure"),
        (lambda s: {"where": s.where}, "a state with the structure"),
    ],
)
def test_a_state_that_changes_from_step_to_step(changed, message):
    with pytest.raises(TypeError, match=message):
        qjax.make(Odd(returned=lambda found: {"state": changed(found["state"])}))


def test_what_a_scan_takes_is_taken():
    # A state begun with Python's numbers, weakly typed, is what gymnax's own environments have.
    env = qjax.make(Odd(first=lambda obs, state: (obs, probes.State(0, 0))))

    def tick(state, key):
        step = env.step(key, state, jnp.int32(0))
        return step.state, step.reward

    _, rewards = jax.lax.scan(tick, env.reset(jax.random.key(0))[1], jax.random.split(jax.random.key(0), 3))
    assert rewards.tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("where", "changed"),
    [
        ("step", lambda found: {"obs": found["obs"].astype(jnp.bfloat16)}),
        ("final_observation", lambda found: {"info": {"final_observation": found["obs"].astype(jnp.bfloat16)}}),
    ],
)
def test_observations_of_another_dtype(where, changed):
    with pytest.raises(TypeError, match=rf"{where} gives an observation of bfloat16\[1\], reset one of float32"):
        qjax.make(Odd(box=True, returned=changed))


def test_observations_that_are_no_numbers_of_states():
    with pytest.raises(TypeError, match=r"Fraction: observations are float32\[\]; whole numbers from 0 are needed"):
        qjax.make(type("Fraction", (probes.OneStep,), {"observe": lambda self, where: jnp.float32(0.5)})())


@pytest.mark.parametrize(("first", "told"), [(lambda obs, state: obs, "int32"), (lambda obs, state: None, "None")])
def test_reset_returns_a_pair(first, told):
    with pytest.raises(TypeError, match=rf"Odd.reset must return \(obs, state\), it returned {told}"):
        qjax.make(Odd(first=first))


def test_a_step_in_python_is_told():
    class Host(probes.OneStep):
        def move(self, where, action):
            return where, 1.0 if action else 0.0, True

    with pytest.raises(TypeError, match=r"Host\.step cannot be compiled: Attempted boolean conversion"):
        qjax.make(Host())


# Functions ------------------------------------------------------------------------------------------------------


def test_functions_by_their_arguments():
    check_callable("f", lambda q, time: q, "(q, time) -> probabilities")
    check_callable("f", lambda *args: args, "(q, time) -> probabilities")
    check_callable("f", lambda q, time=None: q, "(q, time) -> probabilities")
    check_callable("f", jnp.add, "(q, time) -> probabilities")
    check_callable("f", min, "(q, time) -> probabilities")  # which says nothing of its arguments
    for wrong, told in (
        (lambda q: q, r"\(q\)"),
        (lambda q, time, key: q, r"\(q, time, key\)"),
        (lambda q, *, time: q, r"\(q, \*, time\)"),
    ):
        message = rf"^f must be a function \(q, time\) -> probabilities, got one of {told}$"
        with pytest.raises(TypeError, match=message):
            check_callable("f", wrong, "(q, time) -> probabilities")
    with pytest.raises(TypeError, match=r"f must be a function \(q, time\) -> probabilities, got 0.1"):
        check_callable("f", 0.1, "(q, time) -> probabilities")


def broken(record, field):
    """Return a record one of whose functions takes an argument too many."""
    return record._replace(**{field: lambda one, two, three, four, five: None})


@pytest.mark.parametrize(
    ("make", "field", "signature"),
    [
        *[(lambda head: deep(head=head), field, "head") for field in ("q", "target", "loss")],
        *[(lambda target: deep(target=target), field, "target") for field in ("init", "step")],
        *[
            (lambda agent: looped(agent=agent), field, "agent")
            for field in ("init", "act", "learn", "sync", "begin")
        ],
        *[(lambda memory: looped(memory=memory), field, "memory") for field in ("init", "add", "sample", "update")],
        *[(lambda env: looped(env=env), field, "env") for field in ("reset", "step")],
        *[(qjax.as_network, field, "network") for field in ("init", "apply")],
    ],
)
def test_functions_of_records_by_their_arguments(make, field, signature):
    record = {
        "head": qjax.scalar(),
        "target": qjax.periodic(10),
        "agent": qjax.tabular(16, 4, 0.1),
        "memory": qjax.online(),
        "env": qjax.make(probes.OneStep()),
        "network": qjax.MLP(4),
    }[signature]
    if signature == "network":
        record = qjax.as_network(record)
    message = rf"^{signature}\.{field} must be a function \(.*\) -> .*, got one of \(one, two"
    with pytest.raises(TypeError, match=message):
        make(broken(record, field))


def deep(**options):
    return qjax.dqn(qjax.MLP(4), optax.sgd(0.1), **options)


def looped(env=None, agent=None, memory=None):
    env = env or qjax.make(probes.OneStep())
    agent, memory = agent or qjax.tabular(1, 2, 0.1), memory or qjax.online()
    return qjax.make_loop(env, agent, qjax.greedy, memory, gamma=0.9)


def test_networks_of_ones_own_by_their_arguments():
    class Net:
        def init(self, key, obs):
            return {}

        def apply(self, params, obs, noise, time):
            return obs

    with pytest.raises(TypeError, match=r"network\.apply must be a function \(params, obs\) -> out, got one of \("):
        qjax.as_network(Net())


# First use ------------------------------------------------------------------------------------------------------

FIRST_USE = """
import jax, qjax
key = jax.random.key(0)
jax.eval_shape(lambda key: qjax.make("FrozenLake-v1").reset(key), key)
env = qjax.make("FrozenLake-v1")
print(env.step(key, env.reset(key)[1], 0).truncated)
"""


def test_an_environment_may_be_made_in_a_traced_function_first():
    """The arrays of gymnax's modules, which are imported there, are then no tracers."""
    done = subprocess.run([sys.executable, "-c", FIRST_USE], capture_output=True, text=True, check=False)
    assert done.stdout == "False\n", done.stderr[-2000:]
