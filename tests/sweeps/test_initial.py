"""Sweeps that begin with agents of one's own: whole states or parameters, one for each lane or for all."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import probes
import pytest

import qjax
from qjax.sweeps.initial import check_initial_agents

SHORT = {"seeds": 3, "steps": 40, "log_points": 1, "width": 2}


def table(alpha=0.5):
    env = qjax.make(probes.Walk())
    agent = qjax.tabular(env.num_states, env.num_actions, alpha)
    return qjax.make_loop(env, agent, qjax.epsilon_greedy(0.3), qjax.online(), gamma=0.9)


def network(rate=0.0, hidden=4):
    env = qjax.make(probes.Walk(box=True))
    agent = qjax.dqn(qjax.MLP(env.num_actions, (hidden,)), optax.sgd(rate))
    return qjax.make_loop(env, agent, qjax.greedy, qjax.ring(100, 4), gamma=0.9, warmup=4, sync_every=500)


def still(time):
    """A step size with which nothing is learned."""
    return jnp.float32(0)


@pytest.fixture(scope="module")
def learned():
    return qjax.sweep(lambda _: table(), **SHORT)


def test_each_lane_begins_with_its_own_or_all_with_one(learned):
    """Two groups of one device, and the second is padded."""
    again = qjax.sweep(lambda _: table(still), initial=learned.agents, devices=jax.devices()[:1], **SHORT)
    assert np.asarray(again.agents).tobytes() == np.asarray(learned.agents).tobytes()
    assert len(np.unique(np.asarray(learned.agents), axis=0)) > 1
    one = qjax.sweep(lambda _: table(still), initial=learned.agents[1], **SHORT)
    assert (np.asarray(one.agents) == learned.agents[1]).all()


def test_the_rest_of_a_lane_is_as_it_would_be():
    """Environments, keys and memory are those of a fresh lane."""
    loop, key = table(), jax.random.key(5)
    fresh, warm = loop.init(key), loop.init(key, jnp.full((8, 2), 0.25))
    assert (warm.agent == 0.25).all()
    for a, b in zip(*(jax.tree.leaves(x._replace(agent=None, key=None)) for x in (fresh, warm)), strict=True):
        np.testing.assert_array_equal(a, b)


def test_parameters_alone_are_those_of_both_networks():
    loop = network()
    given = jax.tree.map(lambda x: jnp.full_like(x, 0.5), loop.init(jax.random.key(0)).agent.params)
    lane = loop.init(jax.random.key(1), given)
    assert all((x == 0.5).all() for x in jax.tree.leaves((lane.agent.params, lane.agent.target_params)))
    result = qjax.sweep(lambda _: loop, initial=jax.tree.map(np.asarray, given), **SHORT)
    assert all((x == 0.5).all() for x in jax.tree.leaves(result.agents.params))


@pytest.mark.parametrize("name", ["averaged-dqn", "maxmin-dqn"])
def test_parameters_alone_are_those_of_all_the_copies(name):
    env = qjax.make(probes.Walk(box=True))
    config = qjax.algorithms.config(name, hidden=(4,), capacity=100, batch_size=4, warmup=10)
    loop = qjax.algorithms.make(name, env, config)
    given = jax.tree.map(lambda x: jnp.full_like(x, 0.5), loop.init(jax.random.key(0)).agent.params)
    agent = loop.init(jax.random.key(1), given).agent
    assert all((x == 0.5).all() for x in jax.tree.leaves((agent.params, agent.target_params)))
    assert jax.tree.structure(agent) == jax.tree.structure(loop.init(jax.random.key(1)).agent)


def test_what_an_actor_remembers_is_begun_by_the_agent_that_is_given():
    agent = table().agent
    remembering = agent._replace(
        begin=lambda key, state: state.max(), act=lambda noise, state, carry, obs: (state[obs], carry)
    )
    env = qjax.make(probes.Walk())
    loop = qjax.make_loop(env, remembering, qjax.greedy, qjax.online(), gamma=0.9)
    assert (loop.init(jax.random.key(0), jnp.full((8, 2), 3.0)).carry == 3).all()


def test_a_digest_tells_agents_apart_by_their_numbers():
    agents = np.zeros((3, 8, 2), np.float32)
    of = lambda given: check_initial_agents(table(), given, 3).digest
    assert of(agents) == of(agents.copy()) != of(agents + 1) and len(of(agents)) == 16


def test_a_run_keeps_a_digest_and_goes_on_with_the_same_agents_only(learned, tmp_path):
    for folder, initial in (("one", learned.agents), ("other", learned.agents + 1)):
        with qjax.Run(tmp_path / folder, "tabular", {}) as run:
            qjax.sweep(lambda _: table(), initial=initial, run=run, **SHORT)
    found = [qjax.load_config(tmp_path / folder)["sweep"]["initial"] for folder in ("one", "other")]
    assert all(len(digest) == 16 for digest in found) and found[0] != found[1]
    with qjax.Run(tmp_path / "one", "tabular", {}, resume=True) as run, pytest.raises(ValueError, match="initial"):
        qjax.sweep(lambda _: table(), initial=learned.agents + 1, run=run, **SHORT)


def test_bad_input(learned):
    with pytest.raises(ValueError, match=r"an array float32\[2, 8, 2\].* float32\[8, 2\]; .* 3 lanes"):
        qjax.sweep(lambda _: table(), initial=learned.agents[:2], **SHORT)
    with pytest.raises(ValueError, match=r"initial agents are .*, not these agents' state, .*, nor its params"):
        qjax.sweep(lambda _: network(), initial=learned.agents, **SHORT)
    wide = network(hidden=8).init(jax.random.key(0)).agent.params
    with pytest.raises(
        ValueError, match=r"params/Dense_0/bias float32\[8\], and one of these agents float32\[\d+\]"
    ):
        qjax.sweep(lambda _: network(), initial=wide, **SHORT)
    with pytest.raises(TypeError, match="initial must be arrays"):
        qjax.sweep(lambda _: table(), initial="best", **SHORT)
    with pytest.raises(ValueError, match="it cannot begin with"):
        table().init(jax.random.key(0), jnp.zeros((4, 2)))
