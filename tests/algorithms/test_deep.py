"""The deep family: every algorithm reaches known values, and each composition learns, compiles once, resumes."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import probes
import pytest
from constants import constants
from recorded_data import at_random
from working import works

import qjax
from qjax import algorithms
from qjax.core import clock as clocks
from qjax.sweeps import described

GAMMA = 0.7

# ---- known values

RECURRENT = ("drqn", "r2d2", "recurrent-pqn")  # with values of their own at each step of an episode
OFFLINE = ("cql", "bcq")  # with values that are not the rewards' alone
REPLAYED = [name for name in algorithms.DEEP if name not in ("pqn", *RECURRENT, *OFFLINE)]
SMALL = {
    "steps": 6_000, "hidden": (16,), "learning_rate": 1e-2, "gamma": GAMMA, "capacity": 256, "batch_size": 32,
    "support": (-2.0, 4.0), "quantiles": 32, "levels": 16, "target_period": 20, "members": 2,
}  # fmt: skip
KEY = qjax.fast_key(0)
"""Of fast keys, whose draws compile sooner."""


def learned(name, env):
    """Return the values of all states and actions that an algorithm learns under uniform acting, `[S, A]`."""
    parts = algorithms.parts(name, env, constants(name, **SMALL))
    loop = qjax.make_loop(env, parts.agent, qjax.uniform, parts.memory, gamma=GAMMA, num_envs=4)

    @jax.jit
    def values(key):
        lane = loop.run(loop.init(key), clocks.at(0), 1_200)
        carry = parts.agent.begin(KEY, lane.agent)
        act = lambda obs: parts.agent.act(None, lane.agent, carry, obs)[0]
        return jax.vmap(act)(env.unwrapped.observations())

    return np.asarray(values(KEY))


def learned_by_pqn(env):
    """Return the same of the named PQN; its rate falls to 0 at the end."""
    iterations = 100
    config = algorithms.PQN(steps=iterations * 128 * 4, hidden=(16,), learning_rate=1e-2, gamma=GAMMA)
    parts = algorithms.parts("pqn", env, config)
    sizes = {"rollout": parts.rollout, "num_envs": parts.num_envs}
    loop = qjax.make_loop(env, parts.agent, qjax.uniform, parts.memory, gamma=GAMMA, **sizes)

    @jax.jit
    def values(key):
        lane = loop.run(loop.init(key), clocks.at(0), iterations)
        return jax.vmap(parts.agent.values, in_axes=(None, None, 0))(None, lane.agent, env.unwrapped.observations())

    return np.asarray(values(KEY))


def munchausen_values(env, temperature=0.03, alpha=0.9, low=-1.0):
    """Return the fixed point of Munchausen's equation on a probe, `[S, A]`, by a slow iteration."""
    probe, q = env.unwrapped, np.zeros((env.unwrapped.num_states, env.num_actions))
    for _ in range(200):
        log_pi = (q - q.max(1, keepdims=True)) / temperature
        log_pi -= np.log(np.exp(log_pi).sum(1, keepdims=True))
        soft = (np.exp(log_pi) * (q - temperature * log_pi)).sum(1)
        bonus = alpha * np.clip(temperature * log_pi, low, 0)
        for where in range(len(q)):
            for action in range(env.num_actions):
                after, reward, terminated = probe.move(jnp.int32(where), jnp.int32(action))
                future = 0 if terminated else GAMMA * soft[int(after)]
                q[where, action] = float(reward) + bonus[where, action] + future
    return q


def test_munchausen_learns_its_own_fixed_point():
    """All its values, the other actions' among them, which it lowers: plain DQN is far from these."""
    env = qjax.make(probes.TwoSteps(box=True))
    known = munchausen_values(env)
    assert abs(known - env.unwrapped.q(GAMMA)).max() > 0.5
    np.testing.assert_allclose(learned("munchausen-dqn", env), known, atol=0.1)


@pytest.mark.parametrize("probe", [probes.Endless, probes.Successor])
def test_known_values_of_pqn(probe):
    env = qjax.make(probe(box=True))
    np.testing.assert_allclose(learned_by_pqn(env), env.unwrapped.q(GAMMA), atol=0.1)


def close(name, probe):
    """Check an algorithm's values of one probe."""
    env = qjax.make(probe(box=True))
    found, known = learned(name, env), env.unwrapped.q(GAMMA)
    tolerance = 0.1
    if name == "munchausen-dqn":  # it lowers the other actions' values on purpose; the best ones stay
        found, known = found.max(-1), known.max(-1)
    if name in ("n-step-dqn", "rainbow") and probe is probes.TwoSteps:
        # Two steps are taken as they were acted, uniformly, and not as they would be best.
        known[0] = GAMMA * known[1].mean()
    np.testing.assert_allclose(found, known, atol=tolerance)


@pytest.mark.parametrize(("name", "probe"), list(zip(REPLAYED, itertools.cycle(probes.ALL), strict=False)))
def test_known_values(name, probe):
    """Each algorithm on one probe; the slow test has all of them on all."""
    close(name, probe)


@pytest.mark.slow
@pytest.mark.parametrize("probe", probes.ALL)
@pytest.mark.parametrize("name", REPLAYED)
def test_known_values_of_all_probes(name, probe):
    close(name, probe)


# ---- compositions

BATCH, ATOMS = 8, 5
CHOICES = {
    "target_policy": ["maximum", "double", "expected", "munchausen"],
    "head": ["squared", "huber", "categorical", "hl-gauss", "quantile", "implicit"],
    "replay": ["ring", "prioritized", "recorded"],
    "network": ["plain", "dueling", "noisy", "norm", "rainbow", "convolution"],
    "n": [1, 3],
}
HEADS = {
    "squared": (qjax.scalar(), {}),
    "huber": (qjax.scalar(qjax.huber()), {}),
    "categorical": (qjax.categorical(0.0, 10.0, ATOMS), {"atoms": ATOMS}),
    "hl-gauss": (qjax.hl_gauss(0.0, 10.0, ATOMS), {"atoms": ATOMS}),
    "quantile": (qjax.quantile(), {"atoms": ATOMS}),
    "implicit": (qjax.quantile(), {"levels": ATOMS}),
}
NETWORKS = {
    "plain": {},
    "dueling": {"dueling": True},
    "noisy": {"noisy": True},
    "norm": {"norm": True},
    "rainbow": {"dueling": True, "noisy": True},
    "convolution": {},
}
EVERY = [dict(zip(CHOICES, chosen, strict=True)) for chosen in itertools.product(*CHOICES.values())]
EVERY = [chosen for chosen in EVERY if (chosen["target_policy"], chosen["n"]) != ("munchausen", 3)]  # refused


def together(count):
    """Return compositions in which any so many choices of different kinds stand together at least once."""
    groups = lambda chosen: set(itertools.combinations(chosen.items(), count))
    missing, found = set().union(*map(groups, EVERY)), []
    while missing:
        best = max(EVERY, key=lambda chosen: len(groups(chosen) & missing))
        missing -= groups(best)
        found.append(best)
    return found


def composed(target_policy, head, replay, network, n):
    """Return the loop of a composition on CartPole, or of a convolution on images."""
    policy = qjax.epsilon_greedy(0.2)
    targets = {
        "maximum": {"target_policy": qjax.maximum},
        "double": {"target_policy": qjax.double},
        "expected": {"target_policy": qjax.expected(policy)},
        "munchausen": qjax.munchausen(),
    }
    chosen, options = HEADS[head]
    image = network == "convolution"
    env = qjax.make("Breakout-MinAtar" if image else "CartPole-v1")
    build = partial(qjax.convolutional, features=2) if image else qjax.MLP
    net = build(env.num_actions, (6, 6), **options, **NETWORKS[network])
    target = qjax.periodic(8)
    agent = qjax.dqn(
        qjax.encoded(net, env.encode), optax.adam(1e-2), head=chosen, target=target, **targets[target_policy]
    )
    memories = {
        "ring": lambda: qjax.ring(32, BATCH, window=n),
        "prioritized": lambda: qjax.prioritized(32, BATCH, 0.6, 0.4, window=n),
        "recorded": lambda: qjax.recorded(at_random(env, 40), 0.99, BATCH, window=n),
    }
    held = memories[replay]()
    held = held if n == 1 else qjax.n_step(held, n)
    # Of images more, for what is empty in all of them moves no weight.
    return qjax.make_loop(env, agent, policy, held, gamma=0.99, num_envs=8 if image else 2)


def rolled_out(head, network):
    """Return the loop of PQN with a head and a network on CartPole."""
    chosen, options = HEADS[head]
    env = qjax.make("CartPole-v1")
    net = qjax.encoded(qjax.MLP(env.num_actions, (6, 6), **options, **NETWORKS[network]), env.encode)
    agent = qjax.pqn(net, optax.adam(1e-2), head=chosen, epochs=1, minibatches=2)
    policy, sizes = qjax.epsilon_greedy(0.2), {"num_envs": 2, "rollout": 4}
    return qjax.make_loop(env, agent, policy, qjax.online(), gamma=0.99, **sizes)


def named(choice):
    return "-".join(map(str, choice.values()))


@pytest.mark.parametrize("choice", together(1), ids=named)
def test_every_choice(choice):
    works(composed(**choice))


def test_pqn_with_another_head_and_network():
    works(rolled_out("categorical", "rainbow"))


@pytest.mark.slow
@pytest.mark.parametrize("choice", EVERY, ids=named)
def test_every_composition(choice):
    works(composed(**choice))


@pytest.mark.slow
@pytest.mark.parametrize("network", [name for name in NETWORKS if name != "convolution"])
@pytest.mark.parametrize("head", HEADS)
def test_every_pqn(head, network):
    works(rolled_out(head, network))


def test_constants_of_algorithms_are_swept_in_one_program():
    def build(hyper):
        env = qjax.make("CartPole-v1")
        net = qjax.encoded(qjax.MLP(2, (4,), atoms=ATOMS), env.encode)
        target = qjax.munchausen(hyper["temperature"], hyper["bonus"], hyper["low"])
        agent = qjax.dqn(
            net, optax.adam(1e-2), head=qjax.categorical(hyper["v_min"], hyper["v_max"], ATOMS), **target
        )
        memory = qjax.prioritized(24, 8, hyper["alpha"], hyper["beta"])
        return qjax.make_loop(env, agent, qjax.greedy, memory, gamma=hyper["gamma"], num_envs=2, warmup=4)

    base = {
        "temperature": 0.03, "bonus": 0.9, "low": -1.0, "v_min": 0.0, "v_max": 10.0, "alpha": 0.6, "beta": 0.4,
        "gamma": 0.9,
    }  # fmt: skip
    other = {**base, "temperature": 0.5, "bonus": 0.5, "low": -1e-4, "v_min": -2.0, "v_max": 5.0, "alpha": 0.1,
             "beta": 1.0, "gamma": 0.5}  # fmt: skip
    # One setting for the constants as they are, and one for each of them changed.
    settings = [base, *({**base, name: value} for name, value in other.items())]
    hypers = {name: np.array([setting[name] for setting in settings], np.float32) for name in base}
    result = qjax.sweep(build, seeds=1, hypers=hypers, steps=60, log_points=2, width=2)
    kernels = np.stack(
        [x.reshape(len(settings), -1)[:, -ATOMS:] for x in jax.tree.leaves(result.agents.params)][:1]
    )
    alike = (kernels[0][1:] == kernels[0][:1]).all(-1)
    assert not alike.any(), [name for name, same in zip(other, alike, strict=True) if same]


# ---- names


def test_every_algorithm_makes_a_loop_on_images():
    env = qjax.make("Breakout-MinAtar")
    for name in algorithms.DEEP:
        loop = algorithms.make(name, env, constants(name, hidden=(8,), capacity=100, batch_size=4, length=10))
        lane = jax.eval_shape(loop.init, KEY)
        assert lane.obs.shape == (loop.num_envs, *env.obs_spec.shape)


def test_a_mistyped_name_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match=r"no algorithm 'duelling-dqn'; did you mean dueling-dqn"):
        algorithms.algorithm("duelling-dqn")


def test_what_is_no_multiple_of_an_iteration_is_rounded_up_or_checked_after_each():
    env, small = qjax.make("CartPole-v1"), {"hidden": (8,), "batch_size": 4}
    made = lambda **changes: algorithms.make("dqn", env, algorithms.DQN(**small, **changes))
    assert [made(warmup=steps).warmup for steps in (0, 1, 10, 15, 20)] == [0, 1, 1, 2, 2]
    assert [made(target_period=steps).sync_every for steps in (10, 15, 25, 500)] == [1, 1, 1, 50]
    assert made(num_envs=1, rollout=10, target_period=15).sync_every == 1
    for sizes, held in (({"num_envs": 3}, 102), ({"num_envs": 2, "rollout": 7}, 112), ({}, 100)):
        memory = jax.eval_shape(made(capacity=100, target_period=15, **sizes).init, KEY).memory
        assert np.prod(memory.axes) == held


def test_a_period_that_is_no_multiple_may_be_swept():
    """The factories see every setting's own value, and refuse what a loop cannot do."""
    env = qjax.make("CartPole-v1")
    config = algorithms.DQN(hidden=(8,), batch_size=4)
    build = lambda hyper: algorithms.make("dqn", env, config.replace(**hyper), sync_every=1)
    assert described.check(build, qjax.grid(target_period=[15, 100]))[0].num_settings == 2
    with pytest.raises(ValueError, match="target_period of 5 steps is shorter than an iteration's 10"):
        described.check(build, qjax.grid(target_period=[5, 100]))


def test_copies_are_made_where_a_multiple_of_the_period_is_reached_or_passed():
    """Of 15 steps in iterations of 10: after 20, 30, 50, 60, 80 and 90 steps of learning, whatever the warm-up."""
    small = {"hidden": (4,), "batch_size": 4, "capacity": 100, "warmup": 25, "target_period": 15}
    loop = algorithms.make("dqn", qjax.make("CartPole-v1"), algorithms.DQN(**small))
    assert (loop.warmup, loop.sync_every) == (3, 1)
    run = jax.jit(loop.run, static_argnums=(2, 3))
    lane = run(loop.init(KEY), clocks.at(0), 3, False)
    copied = []
    for iteration in range(9):
        lane = run(lane, clocks.at(3 + iteration), 1, True)
        same = jax.tree.map(lambda x, y: bool((x == y).all()), lane.agent.params, lane.agent.target_params)
        if all(jax.tree.leaves(same)):
            copied.append(10 * (iteration + 1))
    assert copied == [20, 30, 50, 60, 80, 90]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"warmup": -10}, "warmup must be at least 0, got -10"),
        ({"target_period": 5}, "target_period of 5 steps is shorter than an iteration's 10"),
        ({"target_period": 12.5}, "target_period must be a whole number, got 12.5"),
        ({"capacity": 64}, "batch_size 128 exceeds capacity 70"),
        ({"support": (1.0, 1.0)}, r"support must be the least and the largest value, got \(1.0, 1.0\)"),
        ({"epsilon_fraction": 0.0}, "epsilon_fraction must lie in"),
        ({"gamma": 1.5}, "gamma must lie in"),
        ({"epsilon_decay": 1.5}, "epsilon_decay must lie in .* got 1.5"),
        ({"learning_rate": 0.0}, "learning_rate must lie in"),
        ({"learning_rate": np.inf}, "learning_rate must lie in"),
        ({"max_grad_norm": 0.0}, r"max_grad_norm must lie in \(0, inf\], got 0.0"),
        ({"quantiles": 0}, "quantiles must be at least 1, got 0"),
        ({"optimizer_eps": 0.0}, r"optimizer_eps must lie in .* got 0.0"),
        ({"optimizer_eps": 1e39}, r"optimizer_eps must lie in .* got 1e\+39"),
        ({"min_probability": 0.6}, r"min_probability must lie in \[0, 0.5\], got 0.6"),
    ],
)
def test_constants_that_do_not_fit(change, said):
    with pytest.raises(ValueError, match=said):
        name = "qr-dqn" if "quantiles" in change else "c51"
        algorithms.make(name, qjax.make("CartPole-v1"), algorithms.config(name, **change))


def test_a_choice_that_there_is_not():
    """The tests' own type checker would refuse it sooner."""
    config = algorithms.C51()
    object.__setattr__(config, "initializer", "orthogonl")
    with pytest.raises(ValueError, match="no initializer 'orthogonl'; did you mean orthogonal"):
        algorithms.make("c51", qjax.make("CartPole-v1"), config)


def test_the_support_follows_gamma_and_the_time_limit():
    cartpole, breakout = qjax.make("CartPole-v1"), qjax.make("Breakout-MinAtar")
    support = lambda env, gamma: algorithms.support_of(env, algorithms.C51(gamma=gamma))
    np.testing.assert_allclose(support(cartpole, 0.99), (0, 100))
    np.testing.assert_allclose(support(cartpole, 0.999), (0, 500))
    np.testing.assert_allclose(support(qjax.make("Acrobot-v1"), 0.9), (-10, 0))
    np.testing.assert_allclose(support(breakout, 0.99), (0, 100))
    swept = jax.vmap(lambda gamma: support(cartpole, gamma)[1])(jnp.array([0.9, 1.0]))
    np.testing.assert_allclose(swept, [10, 500], rtol=1e-5)
    endless = cartpole._replace(max_steps=None)
    with pytest.raises(ValueError, match="gamma is 1 and CartPole-v1 has no time limit"):
        algorithms.make("c51", endless, algorithms.C51(gamma=1.0))


def test_frames_stored_once_are_learned_from_alike():
    env = qjax.make("CartPole-v1", max_episode_steps=12)
    constants = {
        "hidden": (4,),
        "capacity": 100,
        "batch_size": 8,
        "warmup": 20,
        "num_envs": 1,
        "steps": 200,
        "target_period": 10,
    }
    config = algorithms.config("dqn", **constants)
    found = []
    for each in (config, config.replace(frames=1)):
        loop = algorithms.make("dqn", env, each)
        lane = loop.run(loop.init(jax.random.key(0)), qjax.clock.at(0), 100)
        found.append(jax.tree.leaves(lane.agent.params))
    assert all(map(np.array_equal, *found))
    with pytest.raises(ValueError, match=r"sequences store blocks as they come, no frame once: .* got 1"):
        algorithms.make("r2d2", env, algorithms.config("r2d2", frames=1))


def test_constants_of_resets():
    env, config = qjax.make("CartPole-v1"), algorithms.config
    for given, message in (
        ({"reset_layers": ("Dense_0",)}, "reset_layers and reset_shrink are of resets: give reset_period"),
        ({"reset_shrink": 0.5}, "reset_layers and reset_shrink are of resets: give reset_period"),
        ({"reset_period": 50, "reset_shrink": 1.5}, r"shrink must lie in \[0, 1\], got 1.5"),
        ({"reset_period": 50, "reset_shrink": 0.5, "reset_layers": ("Dense_0",)}, "leave out reset_layers, got "),
    ):
        with pytest.raises((ValueError, TypeError), match=message):
            algorithms.make("dqn", env, config("dqn", **given))
    with pytest.raises(ValueError, match="redo-dqn resets dormant units: leave out reset_layers and reset_shrink"):
        algorithms.make("redo-dqn", env, config("redo-dqn", reset_shrink=0.5))
    with pytest.raises(ValueError, match="the network has no layer 'Dense_7'"):
        jax.eval_shape(
            algorithms.make("dqn", env, config("dqn", reset_period=50, reset_layers=("Dense_7",))).init, KEY
        )
    assert {"reset_layers", "reset_shrink"} <= config("dqn").idle()
    assert not {"reset_layers", "reset_shrink"} & config("dqn", reset_period=50).idle()
