"""Resets against what they are said to do: entry by entry, when they are due, and around other agents."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import probes
import pytest

import qjax
from qjax.agents import plasticity
from qjax.types import HiddenLayer, Time

KEY, OBS = jax.random.key(0), jnp.linspace(-1, 1, 4)
SPEC = jax.ShapeDtypeStruct((4,), jnp.float32)
PLAIN = qjax.MLP(2, (5, 3))


def batch(seed=1, size=6):
    """Return transitions of random observations, one of them terminating."""
    obs, after = jax.random.normal(jax.random.key(seed), (2, 1, size, 4))
    ones = jnp.ones((1, size))
    last = jnp.zeros((1, size), bool).at[0, 0].set(True)
    data = qjax.Transition(obs, jnp.arange(size)[None] % 2, ones, 0.9 * ones * ~last, after, last)
    return qjax.Batch(data, ones, jnp.arange(size), jnp.zeros(size, jnp.int32))


def learned(agent, updates=3):
    """Return an agent's state after a few updates."""
    state = agent.init(KEY, OBS[None])
    for number in range(updates):
        state, _ = agent.learn(jax.random.key(number), state, batch(number), Time(0, 0, 0))
    return state


def resetting(reset, period=4, network=PLAIN, spec=SPEC, optimizer=None):
    agent = qjax.dqn(network, optimizer or optax.adam(1e-2), target=qjax.periodic(10**6))
    return qjax.with_resets(agent, reset, qjax.periodic(period, "update"), spec)


def moments(state):
    return state.opt_state[0].mu["params"], state.opt_state[0].nu["params"]


# ---- which entries


def test_all_layers_begin_again_with_optimizer_and_target():
    agent = resetting(qjax.reset_layers())
    before = learned(agent)
    after = agent.sync(KEY, before, Time(4, 0, 4)).agent
    assert (after.params["params"]["Dense_0"]["kernel"] != before.agent.params["params"]["Dense_0"]["kernel"]).all()
    chex.assert_trees_all_equal(after.target_params, after.params)
    assert all((x == 0).all() for x in jax.tree.leaves(moments(after)))
    assert after.opt_state[0].count == before.agent.opt_state[0].count == 3
    again = agent.sync(jax.random.key(1), before, Time(4, 0, 4)).agent
    assert (after.params["params"]["Dense_0"]["kernel"] != again.params["params"]["Dense_0"]["kernel"]).all()


def test_named_layers_begin_again_and_no_other():
    agent = resetting(qjax.reset_layers("Dense_1", "Dense_2"))
    before = learned(agent)
    after = agent.sync(KEY, before, Time(4, 0, 4)).agent
    for name in ("Dense_0", "Dense_1", "Dense_2"):
        params, target, *kept = (
            tree["params"][name]["kernel"]
            for tree in (after.params, after.target_params, before.agent.params, before.agent.target_params)
        )
        own = [tree[name]["kernel"] for tree in moments(after)]
        if name == "Dense_0":
            np.testing.assert_array_equal(params, kept[0])
            np.testing.assert_array_equal(target, kept[1])
            assert all((x != 0).any() for x in own)
        else:
            assert (params != kept[0]).all() and all((x == 0).all() for x in own)
            np.testing.assert_array_equal(target, params)


def test_shrunk_and_perturbed():
    agent = resetting(qjax.shrink_and_perturb(0.75, 0.5))
    before = learned(agent)
    after = agent.sync(KEY, before, Time(4, 0, 4)).agent
    fresh = agent.init(jax.random.split(KEY)[1], OBS[None]).agent.params
    expected = jax.tree.map(lambda x, new: 0.75 * x + 0.5 * new, before.agent.params, fresh)
    chex.assert_trees_all_close(after.params, expected, rtol=1e-6)
    chex.assert_trees_all_equal(after.target_params, after.params)


def recycled_slowly(params, fresh, asleep):
    """Return what ReDo makes of two hidden layers' parameters, unit by unit, and which entries are new."""
    made = jax.tree.map(np.array, params)
    new = jax.tree.map(lambda x: np.zeros(x.shape, bool), made)
    for layer, units in enumerate(asleep):
        for unit in np.flatnonzero(units):
            name = f"Dense_{layer}"
            made[name]["kernel"][:, unit] = fresh[name]["kernel"][:, unit]
            made[name]["bias"][unit] = fresh[name]["bias"][unit]
            new[name]["kernel"][:, unit] = new[name]["bias"][unit] = True
    for layer, units in enumerate(asleep):
        for unit in np.flatnonzero(units):
            made[f"Dense_{layer + 1}"]["kernel"][unit] = 0
            new[f"Dense_{layer + 1}"]["kernel"][unit] = True
    return made, new


def test_dormant_units_are_recycled():
    """One unit that nothing wakes and one that hardly stirs, whatever the batch: as an obvious loop does it."""
    agent = resetting(qjax.redo(0.2))
    state = learned(agent)
    params = jax.tree.map(np.array, state.agent.params)
    params["params"]["Dense_0"]["bias"][2] = -100
    params["params"]["Dense_1"]["kernel"][:, 0] *= 0.01
    state = state._replace(agent=state.agent._replace(params=params))
    before, _ = agent.learn(KEY, state, batch(), Time(0, 0, 0))
    h, activity = np.asarray(batch().data.obs[0]), []
    for name in ("Dense_0", "Dense_1"):
        h = np.maximum(h @ params["params"][name]["kernel"] + params["params"][name]["bias"], 0)
        activity.append(h.mean(0))
    chex.assert_trees_all_close(before.activity, tuple(activity), rtol=1e-5)
    asleep = [own <= 0.2 * own.mean() for own in activity]
    assert asleep[0][2] and asleep[1][0] and 2 <= sum(map(sum, asleep)) < 8

    after = agent.sync(KEY, before, Time(4, 0, 4)).agent
    fresh = agent.init(jax.random.split(KEY)[1], OBS[None]).agent.params["params"]
    made, new = recycled_slowly(before.agent.params["params"], fresh, asleep)
    chex.assert_trees_all_equal(after.params["params"], made)
    for found, kept in zip(moments(after), moments(before.agent), strict=True):
        chex.assert_trees_all_equal(found, jax.tree.map(lambda flag, x: np.where(flag, 0, x), new, kept))
    target = jax.tree.map(np.where, new, made, before.agent.target_params["params"])
    chex.assert_trees_all_equal(after.target_params["params"], target)


def test_recycling_what_is_dead_changes_no_value():
    """Nothing reads a unit that gives nothing: with threshold 0 the values before and after are the same."""
    agent = resetting(qjax.redo(0.0))
    state = learned(agent)
    params = jax.tree.map(np.array, state.agent.params)
    params["params"]["Dense_0"]["bias"][1] = -100
    state = state._replace(agent=state.agent._replace(params=params))
    before, _ = agent.learn(KEY, state, batch(), Time(0, 0, 0))
    after = agent.sync(KEY, before, Time(4, 0, 4))
    assert (after.agent.params["params"]["Dense_1"]["kernel"][1] == 0).all()
    assert (after.agent.params["params"]["Dense_0"]["bias"][1] == 0).all()
    for obs in batch().data.obs[0]:
        np.testing.assert_allclose(agent.values(None, after, obs), agent.values(None, before, obs), rtol=1e-5)


NETWORKS = {
    "dueling": (qjax.MLP(2, (5, 3), dueling=True, norm=True), {0: (1, 3), 1: (2,), 3: (4,)}),
    "noisy": (qjax.MLP(2, (5,), noisy=True), {0: (1,)}),
    "quantiles": (qjax.MLP(2, (5, 3), levels=4), {0: (1,), 1: (2,)}),
    "linear": (qjax.MLP(2, ()), {}),
    "torso": (qjax.MLP(None, (5, 3)), {0: (1,), 1: ()}),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_hidden_layers_are_told_with_who_reads_them(name):
    network, readers = NETWORKS[name]
    net = qjax.as_network(network)
    params = net.init(KEY, OBS)
    layers = net.hidden(params, OBS)
    assert [layer.outgoing for layer in layers] == [tuple(f"params/Dense_{n}" for n in x) for x in readers.values()]
    for layer, own in zip(layers, readers, strict=True):
        assert layer.incoming[0] == f"params/Dense_{own}"
        assert layer.units.shape == (params["params"][f"Dense_{own}"]["kernel"].shape[1],)
        for reader in readers[own]:
            assert params["params"][f"Dense_{reader}"]["kernel"].shape[0] == layer.units.size
        if network.norm:
            assert {layer.incoming[1].rpartition("_")[0]} == {"params/LayerNorm"}


def test_a_convolution_s_units_are_read_at_every_place():
    image = jax.random.uniform(KEY, (5, 4, 2))
    spec = jax.ShapeDtypeStruct(image.shape, image.dtype)
    net = qjax.with_prior(qjax.convolutional(2, (4,), features=3))
    agent = resetting(qjax.redo(0.0), network=net, spec=spec)
    state = agent.init(KEY, image[None])
    first, torso = agent.hidden(state, image)
    assert torso.units.shape == (3, 2, 3) and torso.outgoing == ("own/params/Dense_0",)
    assert first.units.shape == (4,) and first.incoming == ("own/params/Dense_0",)
    dead = state._replace(activity=(jnp.ones(4), jnp.array([1.0, 0.0, 2.0])))
    after = agent.sync(KEY, dead, Time(4, 0, 4)).agent.params
    kernel, before = (x.own["params"]["Dense_0"]["kernel"].reshape(6, 3, 4) for x in (after, state.agent.params))
    assert (kernel[:, 1] == 0).all()
    np.testing.assert_array_equal(kernel[:, [0, 2]], before[:, [0, 2]])
    old, new = (x.own["params"]["torso"]["Dense_0"]["kernel"] for x in (state.agent.params, after))
    assert (old != new).all(0).tolist() == [False, True, False]
    chex.assert_trees_all_equal(after.prior, state.agent.params.prior)


# ---- when


@pytest.mark.parametrize(
    ("unit", "period", "due"), [("update", 6, [2, 5]), ("step", 20, [3]), ("episode", 2, [1, 3, 5])]
)
def test_a_reset_comes_when_the_period_is_reached_or_passed(unit, period, due):
    agent = qjax.with_resets(
        qjax.dqn(PLAIN, optax.sgd(0.1)), qjax.reset_layers(), qjax.periodic(period, unit), SPEC
    )
    state, seen = agent.init(KEY, OBS[None]), []
    for number in range(6):
        after = agent.sync(jax.random.key(number), state, Time(5, 1, 2))
        if (
            after.agent.params["params"]["Dense_0"]["kernel"] != state.agent.params["params"]["Dense_0"]["kernel"]
        ).any():
            seen.append(number)
        state = after
    assert seen == due


def test_until_then_it_is_the_agent_within_bit_for_bit():
    """In a loop, where each of three lanes then resets with a key of its own."""
    env = qjax.make(probes.Countdown(box=True))
    plain = qjax.dqn(qjax.MLP(env.num_actions, (4,)), optax.adam(1e-2), target=qjax.periodic(8))
    agent = qjax.with_resets(plain, qjax.reset_layers(), qjax.periodic(8, "update"), env.obs_spec)

    def lanes(agent, iterations):
        loop = qjax.make_loop(
            env, agent, qjax.epsilon_greedy(0.5), qjax.ring(64, 4), gamma=0.9, num_envs=2, sync_every=4
        )
        start = jax.vmap(loop.init)(jax.random.split(KEY, 3))
        run = jax.vmap(functools.partial(loop.run, iterations=iterations), in_axes=(0, None))
        return jax.jit(run)(start, qjax.clock.at(0))

    four, same = lanes(plain, 4), lanes(agent, 4)
    chex.assert_trees_all_equal(same.agent.agent, four.agent)
    np.testing.assert_array_equal(same.memory.unpacked().action, four.memory.unpacked().action)
    eight = lanes(agent, 8).agent.agent
    kernel = np.asarray(eight.params["params"]["Dense_1"]["kernel"])
    assert all((x == 0).all() for x in jax.tree.leaves(moments(eight)))
    assert (kernel[0] != kernel[1]).all() and (kernel[1] != kernel[2]).all()


# ---- around others, and what does not fit


def test_members_of_an_ensemble_are_reset_each_with_its_own():
    agent = qjax.bootstrapped(resetting(qjax.reset_layers("Dense_2")), 3)
    state = agent.init(KEY, OBS[None])
    after = agent.sync(jax.random.key(1), state, Time(4, 0, 4)).members.agent.params["params"]
    before = state.members.agent.params["params"]
    np.testing.assert_array_equal(after["Dense_0"]["kernel"], before["Dense_0"]["kernel"])
    kernel = np.asarray(after["Dense_2"]["kernel"])
    assert (kernel != before["Dense_2"]["kernel"]).all() and (kernel[0] != kernel[1]).all()


def test_normalized_and_recurrent_agents():
    agent = qjax.normalized(resetting(qjax.redo(0.1)))
    state = agent.init(KEY, OBS[None])
    state = agent.observe(state, batch().data)
    state, info = agent.learn(KEY, state, batch(), Time(0, 0, 0))
    scaled = (batch().data.obs - state.observations.mean[0]) / jnp.sqrt(state.observations.variance[0] + 1e-8)
    layers = jax.vmap(agent.hidden, in_axes=(None, 0))(state, batch().data.obs[0])
    within = jax.vmap(PLAIN.apply, in_axes=(None, 0))(state.agent.agent.params, scaled[0])
    assert np.isfinite(info["loss"]) and layers[0].units.shape == (6, 5)
    found = jax.vmap(agent.values, in_axes=(None, None, 0))(None, state, batch().data.obs[0])
    np.testing.assert_allclose(found, within, rtol=1e-4)
    cell = qjax.recurrent(qjax.networks.recurrent.CELLS["gru"](3), qjax.MLP(2, ()), qjax.MLP(None, (4,)))
    recurrent = qjax.recurrent_dqn(cell, optax.sgd(0.1))
    agent = qjax.with_resets(recurrent, qjax.reset_layers(), qjax.periodic(4, "update"), SPEC)
    state = agent.init(KEY, OBS[None])
    after = agent.sync(jax.random.key(1), state, Time(4, 0, 4))
    pairs = zip(jax.tree.leaves(after.agent.params), jax.tree.leaves(state.agent.params), strict=True)
    assert all((new != old).any() for new, old in pairs if old.any())
    q, carry = agent.act(None, after, agent.begin(KEY, after), OBS)
    assert q.shape == (2,) and jax.tree.leaves(carry)[0].shape == (3,)


def test_a_reset_of_ones_own_and_a_network_of_ones_own():
    """A record of two lines; and a network that tells its hidden layer, whose units are a matrix's rows."""
    half = plasticity.Reset(lambda params, fresh, layers: (params / 2, params > 0))
    agent = resetting(half, network=qjax.table(3, 2, 1.0), spec=jax.ShapeDtypeStruct((), jnp.int32))
    state = agent.init(KEY, jnp.zeros(1, jnp.int32))
    after = agent.sync(KEY, state, Time(4, 0, 4)).agent
    assert (after.params == 0.5).all() and (after.target_params == 0.5).all()

    def hidden(params, obs):
        return (HiddenLayer(jax.nn.relu(obs @ params["in"]), ("in",), ("out",)),)

    net = qjax.Network(
        lambda key, obs: {"in": jax.random.normal(key, (4, 3)), "out": jnp.ones((3, 2))},
        lambda params, obs, noise: jax.nn.relu(obs @ params["in"]) @ params["out"],
        hidden=hidden,
    )
    agent = resetting(qjax.redo(0.0), network=net)
    state = agent.init(KEY, OBS[None])._replace(activity=(jnp.array([0.0, 1.0, 1.0]),))
    after = agent.sync(KEY, state, Time(4, 0, 4)).agent.params
    assert after["out"].tolist() == [[0, 0], [1, 1], [1, 1]]
    assert (after["in"] != state.agent.params["in"]).all(0).tolist() == [True, False, False]


def test_what_cannot_be_reset():
    known = "Dense_9'; it has params/Dense_0, params/Dense_1, params/Dense_2"
    with pytest.raises(ValueError, match=f"the network has no layer '{known}"):
        resetting(qjax.reset_layers("Dense_9")).init(KEY, OBS[None])
    with pytest.raises(TypeError, match="a layer's name must be a string, got 3"):
        qjax.reset_layers(3)
    with pytest.raises(ValueError, match="the agent's network has none"):
        resetting(qjax.redo(), network=qjax.MLP(2, ())).init(KEY, OBS[None])
    with pytest.raises(ValueError, match="those of the agent's network are not known"):
        resetting(qjax.redo(), network=qjax.table(3, 2))
    outside = qjax.with_resets(
        qjax.normalized(qjax.dqn(PLAIN, optax.sgd(0.1))), qjax.reset_layers(), qjax.periodic(4), SPEC
    )
    with pytest.raises(ValueError, match="has no params, it is a NormalizedState: reset what is in it"):
        outside.init(KEY, OBS[None])
    layer, params = HiddenLayer(jnp.zeros(3), ("a",), ("b",)), {"a": jnp.ones((2, 3)), "b": jnp.ones((4, 2))}
    with pytest.raises(ValueError, match="b has 4 rows, not a multiple of the 3 units that it is said to read"):
        qjax.redo().apply(params, params, (layer,))
    with pytest.raises(ValueError, match="a period of 3 updates is shorter than the 4 between two syncs"):
        agent = resetting(qjax.reset_layers(), period=3)
        agent.sync(KEY, agent.init(KEY, OBS[None]), Time(4, 0, 4))


def test_all_copies_of_a_target_are_renewed():
    averaged = qjax.averaged_dqn(PLAIN, optax.adam(1e-2), 3, target=qjax.periodic(10**6))
    agent = qjax.with_resets(averaged, qjax.reset_layers("Dense_2"), qjax.periodic(4, "update"), SPEC)
    before = learned(agent)
    after = agent.sync(KEY, before, Time(4, 0, 4)).agent
    kernel, kept = (x.target_params.each["params"] for x in (after, before.agent))
    np.testing.assert_array_equal(kernel["Dense_2"]["kernel"], [after.params["params"]["Dense_2"]["kernel"]] * 3)
    np.testing.assert_array_equal(kernel["Dense_0"]["kernel"], kept["Dense_0"]["kernel"])
