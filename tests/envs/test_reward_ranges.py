"""What is known of an environment's rewards is right, and a support that does not hold the targets is told."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import probes
import pytest

import qjax
from qjax import algorithms
from qjax.cli import train
from qjax.cli.arguments import arguments_of, resolve
from qjax.types import Batch, Time, Transition

KEY = jax.random.key(0)
KNOWN = [
    "CartPole-v1", "CartPole-v0", "Acrobot-v1", "MountainCar-v0", "FrozenLake-v1", "Catch-bsuite",
    "MemoryChain-bsuite", "UmbrellaChain-bsuite", "CliffWalking-v1", "Taxi-v4",
]  # fmt: skip
LARGE = [
    "Asterix-MinAtar", "MinAtar/Breakout-v1", "Freeway-MinAtar", "Pong-misc", "FourRooms-misc",
    "SimpleBandit-bsuite", "BernoulliBandit-misc",
]  # fmt: skip


def support(env, gamma=0.99):
    return algorithms.support_of(env, algorithms.C51(gamma=gamma))


@pytest.mark.parametrize(
    "name", [*KNOWN[:1], *(pytest.param(x, marks=pytest.mark.slow) for x in KNOWN[1:] + LARGE)]
)
def test_rewards_lie_in_their_range(name):
    env = qjax.make(name)

    def step(carry, key):
        act, move = jax.random.split(key)
        found = env.step(move, carry, jax.random.randint(act, (), 0, env.num_actions))
        return found.state, found.reward

    rewards = jax.jit(lambda key: jax.lax.scan(step, env.reset(key)[1], jax.random.split(key, 3_000))[1])(KEY)
    assert env.rewards[0] <= rewards.min() and rewards.max() <= env.rewards[1]


@pytest.mark.parametrize("name", [*KNOWN, *LARGE])
def test_what_is_known(name):
    least, largest = qjax.make(name).rewards
    assert np.isfinite([least, largest]).all() and least <= largest


def test_an_alias_has_the_support_of_what_it_stands_for():
    assert support(qjax.make("CartPole-v0")) == support(qjax.make("CartPole-v1")) == pytest.approx((0, 100))


def test_the_support_holds_what_an_mdp_pays():
    assert qjax.make("CliffWalking-v1").rewards == (-100, -1)
    assert support(qjax.make("CliffWalking-v1")) == pytest.approx((-10_000, 0))
    assert support(qjax.make("Taxi-v4")) == pytest.approx((-1_000, 2_000))
    lake = qjax.make("FrozenLake-v1", reward_schedule=(2.0, -1.0, 0.0))
    assert support(lake) == pytest.approx((-100, 200))
    mdp = qjax.mdp.garnet(KEY, states=5, actions=2, branching=2)
    least, largest = qjax.make(mdp).rewards
    assert (least, largest) == (mdp.reward.min(), mdp.reward.max())
    # What cannot happen does not count.
    never = mdp._replace(reward=mdp.reward.at[0, 0].set(99), probability=mdp.probability.at[0, 0].set([1, 0]))
    assert qjax.make(never._replace(reward=never.reward.at[0, 0, 0].set(0))).rewards[1] < 99


def test_a_traced_mdp_gives_a_traced_support():
    mdp = qjax.mdp.garnet(KEY, states=5, actions=2, branching=2)
    scaled = lambda scale: support(qjax.make(mdp._replace(reward=scale * mdp.reward), max_steps_in_episode=10))
    np.testing.assert_allclose(jax.jit(scaled)(jnp.float32(3)), 3 * np.array(scaled(1.0)), rtol=1e-5)


def test_wrappers_keep_the_range_or_say_another():
    env = qjax.make("CartPole-v1")
    assert env._replace(step=env.step).rewards == (0, 1)
    assert support(env._replace(rewards=(-2.0, 0.5))) == pytest.approx((-200, 50))


@pytest.mark.parametrize(
    "make",
    [
        lambda: qjax.make(probes.Walk()),
        lambda: qjax.make("SpaceInvaders-MinAtar"),
        lambda: qjax.make(qjax.mdp.garnet(KEY, 5, 2, 2), reward_noise=0.5),
    ],
)
def test_what_is_assumed_is_told(make):
    env = make()
    assert env.rewards is None
    with pytest.warns(UserWarning, match="rewards is not known: the support is that of rewards from -1 to 1"):
        found = support(env, gamma=0.5)
    assert found == pytest.approx((-2, 2))
    with warnings.catch_warnings(action="error"):
        assert algorithms.support_of(env, algorithms.C51(support=(0.0, 3.0))) == (0, 3)


def test_the_command_tells_it_once_and_only_where_it_matters(tmp_path):
    def told(name, env, **fields):
        return train.assumed(resolve(arguments_of(name)(name=name, env=env, out=tmp_path, **fields)))

    said = "the range of SpaceInvaders-MinAtar's rewards is not known: the support is that of rewards from -1 to 1"
    assert told("c51", "SpaceInvaders-MinAtar") == f"{said}; --support LEAST LARGEST gives another"
    assert told("c51", "SpaceInvaders-MinAtar", support=(0.0, 9.0)) is None
    assert told("dqn", "SpaceInvaders-MinAtar") is None and told("rainbow", "CartPole-v0") is None


# How often a target is clipped -------------------------------------------------------------------------------


@pytest.mark.parametrize("weights", [[False, True], [0.25, 0.75]])
@pytest.mark.parametrize(("reward", "discount"), [(0.0, 1.0), (1.0, 0.9), (3.0, 0.9), (-100.0, 0.9), (5.0, 0.0)])
def test_the_mass_outside_of_the_support_is_reported(reward, discount, weights):
    low, high, atoms = -1.0, 4.0, 11
    head, out = qjax.categorical(low, high, atoms), jax.random.normal(KEY, (2, atoms))
    p, z = np.asarray(jax.nn.softmax(out), np.float64), np.linspace(low, high, atoms)
    mass, moved = np.asarray(weights, float) @ p, reward + discount * z
    expected = mass[(moved < low - 1e-6) | (moved > high + 1e-6)].sum()
    found = head.report(jnp.float32(reward), jnp.float32(discount), out, jnp.array(weights))
    assert float(found["clipped"]) == pytest.approx(expected, abs=1e-6)


def test_a_return_at_the_end_of_the_support_is_not_clipped():
    """1 + gamma V_max is V_max but for the last digit."""
    for gamma in (0.9, 0.99, 0.999):
        head = qjax.categorical(0.0, 1 / (1 - gamma), 51)
        found = head.report(jnp.float32(1), jnp.float32(gamma), jnp.zeros((2, 51)), jnp.array([True, False]))
        assert found["clipped"] == 0


@pytest.mark.parametrize("algorithm", [qjax.dqn, qjax.pqn])
def test_agents_log_it(algorithm):
    row = jnp.zeros((4, 2))
    data = Transition(jnp.zeros((4, 2, 3)), row.astype(int), row, row, jnp.zeros((4, 2, 3)), row > 0)
    batch = Batch(data, row + 1, jnp.arange(2), jnp.arange(2))
    logged = []
    for head, net in (
        (qjax.categorical(0.0, 1.0, 5), qjax.MLP(2, (4,), atoms=5)),
        (qjax.scalar(), qjax.MLP(2, (4,))),
    ):
        agent = algorithm(net, optax.sgd(0.1), head=head)
        state = jax.eval_shape(agent.init, KEY, row[0][:, None] + jnp.zeros(3))
        time = Time(jnp.float32(0), jnp.int32(0), jnp.float32(0))
        logged.append(set(jax.eval_shape(agent.learn, KEY, state, batch, time)[1]))
    assert logged == [{"loss", "q", "priority", "clipped"}, {"loss", "q", "priority"}]
