"""Networks against NumPy written out: dueling, noisy, LayerNorm, convolution, implicit quantiles; their noise."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

import qjax
from qjax.networks.layers import INITIALIZERS, Convolution, Dense, orthogonal
from qjax.types import Batch, Head, Network, Noise, Quantiles, Time, Transition

FEATURES, ACTIONS = 4, 3
KEY, OTHER = jax.random.key(0), jax.random.key(1)
START = Time(jnp.float32(0), jnp.int32(0), jnp.float32(0))
OBS = jnp.asarray(np.random.default_rng(0).normal(size=(10, FEATURES)), jnp.float32)


def noise_of(seed, count=None):
    shared, per_sample = jax.random.split(jax.random.key(seed))
    return Noise(shared, per_sample if count is None else jax.random.split(per_sample, count))


def random_params(network, obs=OBS[0], seed=0):
    """Biases, scales and sigmas too: freshly initialised ones are all alike."""
    rng = np.random.default_rng(seed)
    params = jax.eval_shape(network.init, KEY, obs)
    return jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape) * 0.7, jnp.float32), params)


def outputs(network, params, obs=OBS, noise=None):
    """Return the outputs of a batch, as an agent computes them."""
    net = qjax.as_network(network)
    axes = None if noise is None else Noise(None, 0)  # type: ignore[arg-type]
    return jax.jit(jax.vmap(net.apply, in_axes=(None, 0, axes)))(params, obs, noise)


def in_numpy(layer, x):
    """A dense layer in float64."""
    return x @ np.asarray(layer["kernel"], np.float64) + np.asarray(layer["bias"], np.float64)


def relu(x):
    return np.maximum(x, 0)


# The plain network and its options ---------------------------------------------------------------------------


class Written(nn.Module):
    """The plain network, written out with flax's own layers."""

    @nn.compact
    def __call__(self, x):
        for width in (120, 84):
            x = nn.relu(nn.Dense(width)(x))
        return nn.Dense(ACTIONS)(x)


def test_the_plain_network_is_flaxs_bit_for_bit():
    ours, theirs = qjax.MLP(ACTIONS), Written()
    params = theirs.init(KEY, OBS[0])
    jax.tree.map(np.testing.assert_array_equal, ours.init(KEY, OBS[0]), params)
    np.testing.assert_array_equal(outputs(ours, params), outputs(theirs, params))


@pytest.mark.parametrize("hidden", [(6, 5), (5,), ()])
@pytest.mark.parametrize("atoms", [None, 7])
def test_dueling_is_the_value_and_the_centred_advantages(hidden, atoms):
    # Wang et al. 2016, equation 9; for each atom with atoms. All but the last hidden layer are shared.
    network = qjax.MLP(ACTIONS, hidden, atoms=atoms, dueling=True)
    params = random_params(network)
    layers, x = (params["params"][f"Dense_{i}"] for i in itertools.count()), np.asarray(OBS, np.float64)
    for _ in hidden[:-1]:
        x = relu(in_numpy(next(layers), x))

    def stream(rows):
        features = relu(in_numpy(next(layers), x)) if hidden else x
        return in_numpy(next(layers), features).reshape(10, rows, atoms or 1)

    value, advantage = stream(1), stream(ACTIONS)
    found = outputs(network, params)
    assert found.shape == ((10, ACTIONS) if atoms is None else (10, ACTIONS, atoms))
    expected = (value + advantage - advantage.mean(1, keepdims=True)).reshape(found.shape)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.mean(1), value.reshape(found.mean(1).shape), rtol=1e-4, atol=1e-5)


def test_without_actions_a_network_ends_with_its_last_hidden_layer():
    network = qjax.MLP(None, (6, 5))
    params = random_params(network)
    x = np.asarray(OBS, np.float64)
    for layer in params["params"].values():
        x = relu(in_numpy(layer, x))
    assert len(params["params"]) == 2
    np.testing.assert_allclose(outputs(network, params), x, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="without actions there is no output, so no atoms"):
        qjax.MLP(None, (6,), dueling=True)


def normed(layer, x, eps=1e-6):
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + eps)
    return x * np.asarray(layer["scale"], np.float64) + np.asarray(layer["bias"], np.float64)


def test_the_norm_stands_before_each_relu():
    network = qjax.MLP(ACTIONS, (6, 5), norm=True)
    params = random_params(network)
    named, x = params["params"], np.asarray(OBS, np.float64)
    for i in range(2):
        x = relu(normed(named[f"LayerNorm_{i}"], in_numpy(named[f"Dense_{i}"], x)))
    np.testing.assert_allclose(outputs(network, params), in_numpy(named["Dense_2"], x), rtol=1e-3, atol=1e-4)


# How weights start -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(4, 120), (120, 84), (84, 2), (3, 3)])
def test_orthogonal_weights(shape):
    kernel = np.asarray(INITIALIZERS["orthogonal"].kernel(KEY, shape))
    few = kernel if shape[0] <= shape[1] else kernel.T
    np.testing.assert_allclose(few @ few.T, 2 * np.eye(min(shape)), atol=2e-6)


def test_orthogonal_weights_are_uniform():
    """Of many 2 x 2 matrices the angle of the first row is uniform, and as many turn as mirror."""
    made = np.asarray(jax.vmap(lambda key: orthogonal(key, (2, 2)))(jax.random.split(KEY, 4000)))
    shares = np.histogram(np.arctan2(made[:, 0, 1], made[:, 0, 0]), 8, (-np.pi, np.pi))[0] / 4000
    np.testing.assert_allclose(shares, 1 / 8, atol=0.025)
    assert abs((np.linalg.det(made) > 0).mean() - 0.5) < 0.04


@pytest.mark.parametrize(
    ("name", "variance", "limit"),
    [
        ("lecun_normal", 1 / 400, 2.3 * 400**-0.5),
        ("he_normal", 2 / 400, 2.3 * 200**-0.5),
        ("pytorch", 1 / 1200, 0.05),
    ],
)
def test_spread_of_the_first_weights(name, variance, limit):
    params = qjax.MLP(ACTIONS, (300,), initializer=name).init(KEY, jnp.zeros(400))["params"]["Dense_0"]
    kernel, bias = np.asarray(params["kernel"]), np.asarray(params["bias"])
    assert kernel.var() == pytest.approx(variance, rel=0.02) and np.abs(kernel).max() <= limit
    assert (np.abs(bias).max() <= limit and bias.std() > 0.5 * variance**0.5) == (name == "pytorch")
    assert (bias == 0).all() == (name != "pytorch")


@pytest.mark.parametrize("make", [qjax.MLP, qjax.convolutional])
def test_the_last_layers_scale(make):
    image = jnp.zeros((4, 4, 2))
    plain, scaled = (
        make(ACTIONS, (5,), initializer="pytorch", output_scale=scale).init(KEY, image)["params"]
        for scale in (1.0, 0.01)
    )
    np.testing.assert_allclose(scaled["Dense_1"]["kernel"], 0.01 * plain["Dense_1"]["kernel"], rtol=1e-6)
    assert np.abs(plain["Dense_1"]["bias"]).min() > 0
    for params in (plain, scaled):
        del params["Dense_1"]["kernel"]
    jax.tree.map(np.testing.assert_array_equal, plain, scaled)


def test_noisy_layers_start_as_published():
    plain, other = (qjax.MLP(ACTIONS, noisy=True, initializer=x) for x in ("lecun_normal", "orthogonal"))
    jax.tree.map(np.testing.assert_array_equal, plain.init(KEY, OBS[0]), other.init(KEY, OBS[0]))


def test_the_norms_epsilon():
    for eps in (1e-6, 0.5):
        network = qjax.MLP(ACTIONS, (6,), norm=True, norm_eps=eps)
        params = random_params(network)
        x = in_numpy(params["params"]["Dense_0"], np.asarray(OBS, np.float64))
        x = relu(normed(params["params"]["LayerNorm_0"], x, eps))
        expected = in_numpy(params["params"]["Dense_1"], x)
        np.testing.assert_allclose(outputs(network, params), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("options", [{"initializer": "orthogonl"}, {"norm_eps": 0.0}, {"output_scale": -1.0}])
def test_networks_that_cannot_start(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        jax.eval_shape(qjax.MLP(ACTIONS, (4,), **options).init, KEY, OBS[0])


# Convolution -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [bool, np.float32])
def test_the_convolution_is_flaxs(dtype):
    images = np.random.default_rng(0).random((2, 10, 9, 4)) < 0.5
    images = jnp.asarray(images.astype(dtype))
    layer = Convolution(16)
    params = random_params(layer, images[0])
    dense = params["params"]["Dense_0"]
    theirs = {"params": {**dense, "kernel": dense["kernel"].reshape(3, 3, 4, 16)}}
    expected = nn.relu(nn.Conv(16, (3, 3), padding="VALID").apply(theirs, images.astype(jnp.float32)))
    found = outputs(layer, params, images)
    assert found.shape == (2, 8, 7, 16)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_the_convolutional_network_is_that_of_minatar():
    network, image = qjax.convolutional(6), jnp.zeros((10, 10, 4), bool)
    shapes = jax.tree.map(lambda x: x.shape, jax.eval_shape(network.init, KEY, image)["params"])
    assert shapes == {
        "torso": {"Dense_0": {"kernel": (36, 16), "bias": (16,)}},
        "Dense_0": {"kernel": (8 * 8 * 16, 128), "bias": (128,)},
        "Dense_1": {"kernel": (128, 6), "bias": (6,)},
    }
    rainbow = qjax.convolutional(6, atoms=51, dueling=True, noisy=True, norm=True)
    params = jax.eval_shape(rainbow.init, KEY, image)
    assert jax.eval_shape(rainbow.apply, params, image).shape == (6, 51)
    torso = params["params"]["torso"]
    assert set(torso) == {"Dense_0", "LayerNorm_0"} and set(torso["Dense_0"]) == {"kernel", "bias"}  # no noise


# Noisy layers ------------------------------------------------------------------------------------------------


def noisy_weights(params, noise, size=40):
    """The kernel and the bias that a noisy layer computes with, from its outputs."""
    layer = Network(None, lambda params, x, noise: Dense(30, noisy=True).apply(params, x, rngs=noise._asdict()))
    apply = lambda x: layer.apply(params, x, noise)
    bias = apply(jnp.zeros(size))
    return jax.vmap(apply)(jnp.eye(size)) - bias, bias


def test_noise_is_factorised_and_shared_by_weights_and_biases():
    layer = Dense(30, noisy=True)
    named = layer.init(KEY, jnp.zeros(40))["params"]
    for name in ("kernel", "bias"):
        assert np.abs(named[name]).max() <= 40**-0.5
        assert np.abs(named[name]).std() > 0.2 * 40**-0.5
        np.testing.assert_allclose(named[f"{name}_sigma"], 0.5 * 40**-0.5, rtol=1e-6)
    params = random_params(layer, jnp.zeros(40))
    named = params["params"]
    np.testing.assert_allclose(
        layer.apply(params, jnp.ones(40)), named["kernel"].sum(0) + named["bias"], rtol=1e-4, atol=1e-4
    )
    kernel, bias = noisy_weights(params, noise_of(0))
    outer = np.asarray((kernel - named["kernel"]) / named["kernel_sigma"], np.float64)
    outputs = np.asarray((bias - named["bias"]) / named["bias_sigma"], np.float64)
    inputs = outer @ outputs / (outputs @ outputs)
    np.testing.assert_allclose(outer, np.outer(inputs, outputs), rtol=1e-2, atol=2e-3)


def test_noise_is_the_signed_root_of_a_normal():
    # Mean of f(e) 0, of f(e)^2 = |e| sqrt(2 / pi), of f(e)^4 = e^2 1; over draws, of one bias.
    layer = Dense(8, noisy=True)
    params = {"params": {"kernel": jnp.zeros((2, 8)), "bias": jnp.zeros(8)}}
    params["params"].update(kernel_sigma=jnp.zeros((2, 8)), bias_sigma=jnp.ones(8))
    draw = lambda key: layer.apply(params, jnp.zeros(2), rngs={"shared": key})
    f = np.asarray(jax.jit(jax.vmap(draw))(jax.random.split(KEY, 4000)), np.float64)
    for power, expected in ((1, 0), (2, np.sqrt(2 / np.pi)), (3, 0), (4, 1)):
        moments = (f**power).mean(0)
        assert np.abs((moments - expected) / ((f**power).std(0) / np.sqrt(4000))).max() < 4
    np.testing.assert_allclose(np.corrcoef(f.T) - np.eye(8), 0, atol=0.07)


def entries(network, params, noise):
    """Sizes of all arrays in the traced program of a batch."""
    net = qjax.as_network(network)
    apply = jax.vmap(net.apply, in_axes=(None, 0, Noise(None, 0)))  # type: ignore[arg-type]
    jaxpr = jax.make_jaxpr(apply)(params, OBS, noise)
    return [np.prod(v.aval.shape, dtype=int) for e in jaxpr.eqns for v in e.outvars if hasattr(v.aval, "shape")]


def test_a_batch_has_one_noisy_matrix():
    network = qjax.MLP(ACTIONS, (30, 20), noisy=True)
    params, noise = random_params(network), noise_of(0, len(OBS))
    assert max(entries(network, params, noise)) == 30 * 20  # the largest kernel, not one for each of the batch
    one = outputs(network, params, jnp.broadcast_to(OBS[0], OBS.shape), noise)
    np.testing.assert_allclose(one, np.broadcast_to(one[0], one.shape), rtol=1e-5, atol=1e-5)


def test_acting_is_noisy_and_evaluation_is_not():
    agent = qjax.dqn(qjax.MLP(ACTIONS, (5,), noisy=True), optax.sgd(1.0))
    state = agent.init(KEY, OBS)
    first, again, other = (agent.values(noise_of(seed), state, OBS[0]) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).min() > 1e-4
    mean = agent.values(None, state, OBS[0])
    np.testing.assert_array_equal(mean, agent.values(None, state, OBS[0]))
    assert np.abs(first - mean).min() > 1e-4
    assert set(state.params["params"]["Dense_0"]) == {"kernel", "bias", "kernel_sigma", "bias_sigma"}


def test_a_torso_comes_first_and_has_no_noise():
    torso = nn.Sequential([nn.Dense(6), nn.relu])
    network = qjax.MLP(ACTIONS, (5,), torso=torso, noisy=True)
    shapes = jax.tree.map(lambda x: x.shape, jax.eval_shape(network.init, KEY, OBS[0])["params"])
    assert shapes["torso"] == {"layers_0": {"kernel": (4, 6), "bias": (6,)}}
    assert shapes["Dense_0"]["kernel_sigma"] == (6, 5)
    params = random_params(network)
    x = relu(in_numpy(params["params"]["torso"]["layers_0"], np.asarray(OBS, np.float64)))
    x = in_numpy(params["params"]["Dense_1"], relu(in_numpy(params["params"]["Dense_0"], x)))
    np.testing.assert_allclose(outputs(network, params), x, rtol=1e-4, atol=1e-5)


# Implicit quantiles ------------------------------------------------------------------------------------------


def implicit_in_numpy(params, obs, levels):
    """Dabney et al. 2018b, equation 4, level by level."""
    named, out = params["params"], np.zeros((ACTIONS, len(levels)))
    hidden = relu(in_numpy(named["Dense_0"], np.asarray(obs, np.float64)))
    for j, level in enumerate(np.asarray(levels, np.float64)):
        waves = np.cos(np.pi * np.arange(64) * level)
        out[:, j] = in_numpy(named["Dense_1"], hidden * relu(in_numpy(named["embedding"], waves)))
    return out


@pytest.mark.parametrize("own", [False, True])
def test_implicit_quantiles_are_functions_of_their_levels(own):
    network = qjax.MLP(ACTIONS, (5,), levels=8, own_levels=own)
    params, noise = random_params(network), noise_of(0, len(OBS))
    noisy, plain = outputs(network, params, noise=noise), outputs(network, params)
    assert noisy.values.shape == (10, ACTIONS, 8) and plain.values.shape == (10, ACTIONS, 32)
    np.testing.assert_allclose(plain.levels[3], (np.arange(32) + 0.5) / 32, rtol=1e-6)
    assert np.unique(noisy.levels).size == (80 if own else 8)
    assert not np.isin(outputs(network, params, noise=noise_of(1, len(OBS))).levels, noisy.levels).any()
    for found in (noisy, plain):
        for i in (0, 9):
            expected = implicit_in_numpy(params, OBS[i], found.levels[i])
            np.testing.assert_allclose(found.values[i], expected, rtol=1e-3, atol=1e-3)


def test_implicit_levels_are_uniform():
    network = qjax.MLP(ACTIONS, (), levels=64)
    params = random_params(network)
    draw = lambda key: network.apply(params, OBS[0], rngs={"shared": key}).levels
    levels = np.sort(np.asarray(jax.vmap(draw)(jax.random.split(KEY, 50))).ravel())
    assert np.abs(levels - np.arange(levels.size) / levels.size).max() < 1.6 / np.sqrt(levels.size)


def test_shared_levels_are_embedded_once_for_the_batch():
    noise, largest = noise_of(0, len(OBS)), {}
    for own in (False, True):
        network = qjax.MLP(2, (50,), levels=64, own_levels=own)
        largest[own] = max(entries(network, random_params(network), noise))
    assert largest == {False: 64 * 64, True: 10 * 64 * 64}


def test_dueling_implicit_quantiles():
    network = qjax.MLP(ACTIONS, (5,), levels=8, dueling=True)
    params = random_params(network)
    found, levels = outputs(network, params, OBS[:1])
    named, x = params["params"], np.asarray(OBS[0], np.float64)
    waves = np.cos(np.pi * np.arange(64) * np.asarray(levels[0], np.float64)[:, None])
    embedding = relu(in_numpy(named["embedding"], waves))
    value, advantage = (
        in_numpy(named[out], embedding * relu(in_numpy(named[hidden], x))).T
        for hidden, out in (("Dense_0", "Dense_1"), ("Dense_2", "Dense_3"))
    )
    np.testing.assert_allclose(found[0], value + advantage - advantage.mean(0), rtol=1e-3, atol=1e-3)


def gradients(own, draws):
    """The gradient of one batch's loss for many draws of noise, `[draws, parameters]`."""
    network = qjax.MLP(2, (3,), levels=4, own_levels=own)
    agent = qjax.dqn(network, optax.sgd(1.0), head=qjax.quantile())
    params, rng, size = random_params(network), np.random.default_rng(1), 3
    data = Transition(
        OBS[None, :size],
        jnp.array([[0, 1, 1]]),
        jnp.asarray(rng.normal(size=(1, size)), jnp.float32),
        jnp.array([[0.0, 0.9, 0.9]]),
        OBS[None, size : 2 * size],
        jnp.array([[True, True, False]]),
    )
    batch = Batch(data, jnp.ones((1, size)), jnp.arange(size), jnp.arange(size))
    state = agent.init(KEY, OBS)._replace(params=params, target_params=random_params(network, seed=3))

    @jax.jit
    def many(keys):
        def one(key):
            after, _ = agent.learn(key, state, batch, START)
            return jax.flatten_util.ravel_pytree(jax.tree.map(jnp.subtract, params, after.params))[0]

        return jax.vmap(one)(keys)

    return np.asarray(many(jax.random.split(qjax.fast_key(7), draws)), np.float64)


def test_shared_levels_have_the_same_expected_gradient_as_own():
    draws = 4000
    shared, own = gradients(False, draws), gradients(True, draws)
    error = np.sqrt((shared.var(0) + own.var(0)) / draws)
    moving = error > 1e-6
    assert moving.mean() > 0.3  # others are behind a ReLU that lets nothing through
    assert np.abs((shared.mean(0) - own.mean(0))[moving] / error[moving]).max() < 4.5
    # The gradient is far from 0 on that scale, and strata spread it less (shared uniform levels would more).
    assert np.linalg.norm(shared.mean(0)) > 20 * np.linalg.norm(error)
    assert shared.var(0).sum() < own.var(0).sum()


# Noise of a loss's roles -------------------------------------------------------------------------------------


def test_each_role_of_each_update_has_noise_of_its_own():
    seen = {}

    def apply(params, obs, noise):
        return params + jnp.stack([jax.random.uniform(key) for key in (noise.shared, noise.per_sample)])

    def target_policy(key, transition, q_online, q_target, time):
        seen.update(online=q_online, choose=q_target)
        return qjax.maximum(key, transition, q_online, q_target, time)

    def target(reward, discount, next_out, weights):
        seen.update(evaluate=next_out)
        return qjax.td_target(reward, discount, next_out, weights)

    def loss(out, action, y):
        seen.update(predict=out)
        return qjax.scalar().loss(out, action, y)

    network, head = Network(lambda key, obs: None, apply), Head(lambda out: out, target, loss)
    transition = Transition(OBS[0], jnp.int32(0), jnp.float32(0), jnp.float32(1), OBS[1], jnp.array(False))
    found = []
    for seed in (0, 1):
        params = jnp.zeros(2)
        reward = qjax.objectives.environment_reward
        qjax.td_loss(network, head, target_policy, reward, noise_of(seed), params, params, transition, START)
        assert set(seen) == {"online", "choose", "evaluate", "predict"}
        found += [np.asarray(x) for x in seen.values()]
    assert np.unique(found).size == 2 * 4 * 2


@pytest.mark.parametrize(
    ("network", "head"),
    [
        (qjax.MLP(ACTIONS, (5,), noisy=True), None),
        (qjax.MLP(ACTIONS, (5,), levels=4), qjax.quantile()),
        (qjax.MLP(ACTIONS, (5,), levels=4, own_levels=True), qjax.quantile()),
    ],
    ids=["noisy", "shared levels", "own levels"],
)
def test_every_update_draws_afresh(network, head):
    agent = qjax.dqn(network, optax.sgd(0.0), head=head)
    size = len(OBS)
    data = Transition(
        OBS[None], jnp.zeros((1, size), jnp.int32), jnp.ones((1, size)), jnp.zeros((1, size)), OBS[None], False
    )
    batch = Batch(data._replace(last=jnp.ones((1, size), bool)), jnp.ones((1, size)), *[jnp.arange(size)] * 2)
    state, learn = agent.init(KEY, OBS), jax.jit(agent.learn)
    losses = [float(learn(key, state, batch, START)[1]["loss"]) for key in (KEY, KEY, OTHER)]
    assert losses[0] == losses[1] != losses[2]


# Bad input ---------------------------------------------------------------------------------------------------


IMAGE = jnp.zeros((10, 10, 4))


@pytest.mark.parametrize(
    ("network", "obs", "named"),
    [
        (lambda: qjax.MLP(3, atoms=5, levels=6), OBS[0], "atoms or levels, got 5 atoms and 6 levels"),
        (lambda: qjax.MLP(3, atoms=0), OBS[0], "atoms must be at least 1, got 0"),
        (lambda: qjax.MLP(3, levels=-2), OBS[0], "levels must be at least 1, got -2"),
        (lambda: qjax.MLP(3, (4, 0), dueling=True), OBS[0], "a hidden width must be at least 1, got 0"),
        (lambda: qjax.convolutional(3, features=0), IMAGE, "features must be at least 1, got 0"),
        (lambda: qjax.convolutional(3), IMAGE[0], r"needs an image \[H, W, C\] of at least 3 x 3, got \[10, 4\]"),
        (lambda: qjax.convolutional(3), IMAGE[:2], r"of at least 3 x 3, got \[2, 10, 4\]"),
    ],
)
def test_bad_shapes_are_named(network, obs, named):
    with pytest.raises(ValueError, match=named):
        network().init(KEY, obs)


def test_every_combination_of_options_has_the_shape_it_says():
    for dueling, noisy, norm in itertools.product([False, True], repeat=3):
        options = {"dueling": dueling, "noisy": noisy, "norm": norm}
        for more, shape in (({}, (3,)), ({"atoms": 5}, (3, 5)), ({"levels": 6}, (3, 6))):
            network = qjax.MLP(3, (4,), **options, **more)
            params = jax.eval_shape(network.init, KEY, OBS[0])
            rngs = {"shared": KEY, "per_sample": OTHER}
            out = jax.eval_shape(lambda p, n=network, r=rngs: n.apply(p, OBS[0], rngs=r), params)
            assert (out.values if isinstance(out, Quantiles) else out).shape == shape
