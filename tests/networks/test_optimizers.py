"""Optimisers by name are optax's; the norm of a gradient is kept as it was before clipping."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

import qjax
from qjax.algorithms import deep
from qjax.networks.optimizers import optimizer_names, optimizer_of

PARAMS, GRADIENT = {"w": jnp.array([1.0, -2.0])}, {"w": jnp.array([3.0, 4.0])}


def step(optimizer):
    update, state = optimizer.update(GRADIENT, optimizer.init(PARAMS), PARAMS)
    return np.asarray(update["w"]), state


def test_names_are_those_of_optax():
    assert {"adam", "adamw", "radam", "lion", "sgd", "rmsprop"} <= {*optimizer_names()}
    assert not {"chain", "scale", "clip"} & {*optimizer_names()}
    config = qjax.algorithms.config("dqn", optimizer="adamw", weight_decay=0.5)
    found, _ = step(deep.optimizer(config, 0.1))
    np.testing.assert_array_equal(found, step(optax.adamw(0.1, weight_decay=0.5))[0])
    for name, message in (("adm", r"no optimizer 'adm'; did you mean adam"), ("chain", "no optimizer 'chain'")):
        with pytest.raises(ValueError, match=message):
            optimizer_of(name)
    with pytest.raises(ValueError, match="adam has no weight_decay: "):
        deep.optimizer(qjax.algorithms.config("dqn", weight_decay=0.5), 0.1)
    with pytest.raises(ValueError, match=r"weight_decay must lie in \[0, .*got -1"):
        deep.optimizer(qjax.algorithms.config("dqn", optimizer="adamw", weight_decay=-1), 0.1)


def test_the_norm_of_the_gradient_is_kept():
    config = qjax.algorithms.config("dqn", measures=True, max_grad_norm=1.0)
    found, state = step(deep.optimizer(config, 0.1))
    np.testing.assert_array_equal(found, step(optax.chain(optax.clip_by_global_norm(1.0), optax.adam(0.1)))[0])
    assert float(optax.tree.get(state, "gradient_norm")) == 5
    found, state = step(qjax.keep_gradient_norm())
    assert found.tolist() == [3, 4] and float(state.gradient_norm) == 5
