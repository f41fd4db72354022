"""Every argument and every parameter of every environment by name: what has no meaning is refused by its name."""

import dataclasses
import functools
import inspect

import jax
import jax.numpy as jnp
import kinds as k
import numpy as np
import pytest
from test_arguments import refusals

import qjax
from qjax.envs import names

ONLINE = "MNISTBandit-bsuite"
"""Reads its images from the net where they are not there yet."""
NAMES = [name for name in names.known() if name not in (*names.ALIASES, *names.TOY_TEXT, ONLINE)]

CHANCE, POSITIVE, FROM_ZERO = k.unit(), k.positive(), k.number(0.5, 0)
SIGNS = {
    **dict.fromkeys(("fail_prob", "reward_prob", "success_rate"), CHANCE),
    **dict.fromkeys(
        ("masscart", "total_mass", "length", "tau", "theta_threshold_radians", "x_threshold", "max_speed", "dt"),
        POSITIVE,
    ),
    **dict.fromkeys(("max_torque", "m", "l", "link_moi", "max_vel_1", "max_vel_2", "goal_radius"), POSITIVE),
    **dict.fromkeys(("link_length_1", "link_length_2", "link_mass_1", "link_mass_2"), POSITIVE),
    **dict.fromkeys(("max_force", "circle_radius"), POSITIVE),
    **dict.fromkeys(("masspole", "polemass_length", "torque_noise_max", "sigma_p", "sigma_l"), FROM_ZERO),
    **dict.fromkeys(("link_com_pos_1", "link_com_pos_2"), FROM_ZERO),
    **dict.fromkeys(
        ("shot_cool_down", "ball_max_y_speed", "paddle_y_speed"), k.number(3, 0, k.LARGEST, whole=True)
    ),
    "max_steps_in_episode": k.optional(k.number(9, 1, k.LARGEST, whole=True)),
}
"""Fields of which more is known than that they are numbers."""
WHOLE = k.number(3, 1, k.LARGEST, whole=True)
SIZES = {"n_actions": (1, 5), "mapping_seed": (0, 4), "n_distractor": (0, 4096), "paddle_half_height": (0, 4096)}
SIZES |= {"rows": (2, 4096), "maze_size": (3, 255), "rf_size": (3, 255), "map_seed": (0, k.LARGEST)}
PLACE = k.optional(
    k.Kind(([1, 1], (11, 11), np.array([3, 6])), (True, 1j, "3", {}, [1], [1, 1, 1], [1.5, 1], [0, 0], [13, 1]))
)
ARGUMENTS = {
    "goal_fixed": PLACE,
    "pos_fixed": PLACE,
    "action_mapping_key": k.optional(k.key())._replace(called="key"),
    "fraction": k.half_open(),
    "desc": k.optional(k.Kind((["SG"],), (*k.STRANGE, [1, 2], [["S", 1]], [None]))),
    "map_name": k.optional(k.name("4x4", "8x8"))._replace(called="map"),
}


def argument(name: str, usual: object) -> k.Kind:
    """Return the kind of a constructor's argument."""
    if name in ARGUMENTS:
        return ARGUMENTS[name]
    return k.flag() if isinstance(usual, bool) else k.size(3, *SIZES.get(name, (1, 4096)))


def field(name: str, usual: object) -> k.Kind:
    """Return the kind of a parameter."""
    if name in SIGNS:
        return SIGNS[name]
    if isinstance(usual, bool):
        return k.flag()
    if isinstance(usual, jax.Array):
        return k.Kind(
            (usual,), (-1, 0, 1.5, "x", None, [1.0], [[1.0]], 1j, usual[:-1], np.full(usual.shape, np.nan))
        )
    if name == "reward_schedule":
        bad = (1, "x", None, (1, 0), (1, 0, np.nan), (1, 0, 1e39), (1, 0, "x"), (1, 0, 10**400), [(1, 0), 0, 0])
        return k.Kind(((1, 2**31, 0), [1, 0, -1], np.ones(3), jnp.ones(3)), bad)
    if name[:4] in ("min_", "max_"):  # the one is below the other
        return k.number(0.5)._replace(good=(usual,))
    return WHOLE if isinstance(usual, int) else k.number(0.5)


@functools.cache
def made(name: str) -> object:
    """Return an environment of gymnax's interface."""
    return names.construct(name, {})[0]


@pytest.mark.parametrize("name", NAMES)
def test_arguments_of_constructors(name):
    """Those of environments with continuous actions are looked at before these are refused."""
    own = {"FrozenLake-misc": names.lake, "CartPole-v1": names.cartpole}
    for key, parameter in inspect.signature(own.get(name) or type(made(name))).parameters.items():
        kind = argument(key, parameter.default)
        assert not refusals(lambda **given: qjax.make(name, **given), {}, key, kind), key


@pytest.mark.parametrize("name", NAMES)
def test_parameters(name):
    env = made(name)
    usual = env.default_params
    fields = {each.name: getattr(usual, each.name) for each in dataclasses.fields(usual)}
    for key, value in fields.items():
        kind = field(key, value)
        wrong = refusals(lambda **given: qjax.make(env, **given), {}, key, kind)
        wrong += refusals(lambda **given: qjax.make(env, usual.replace(**given)), {}, key, kind)
        assert not wrong, key
        for good in kind.good:
            names.with_fields(name, usual, {key: good})
    names.with_fields(name, usual, fields)


TOY_TEXT = {
    "FrozenLake-v1": ("desc", "map_name", "is_slippery", "success_rate", "reward_schedule"),
    "CliffWalking-v1": ("is_slippery",),
    "Taxi-v4": ("is_rainy", "fickle_passenger", "rainy_probability", "fickle_probability"),
}


@pytest.mark.parametrize("name", TOY_TEXT)
@pytest.mark.parametrize("make", [qjax.make, qjax.mdp.toy_text])
def test_arguments_of_toy_text(name, make):
    for key in (*TOY_TEXT[name], "max_episode_steps"):
        kind = {
            "reward_schedule": field(key, ()),
            "max_episode_steps": k.optional(k.size()),
            **dict.fromkeys(("success_rate", "rainy_probability", "fickle_probability"), CHANCE),
        }.get(key) or argument(key, True)
        bad = tuple(x for x in kind.bad if not (key == "max_episode_steps" and np.array_equal(x, -1)))
        if make is qjax.make and key == "max_episode_steps":  # which may be traced, and 3.0
            bad = tuple(x for x in bad if not (isinstance(x, float | np.floating) and x % 1 == 0))
        assert not refusals(lambda **given: make(name, **given), {}, key, kind._replace(bad=bad)), key


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: qjax.make("CartPole-v1", max_episode_steps=0),
            r"^max_episode_steps must lie in .* got 0; -1 is none$",
        ),
        (lambda: qjax.make("CartPole-v1", max_episode_steps="9"), "^max_episode_steps must be a number, got '9'$"),
        (lambda: qjax.make("DeepSea-bsuite", size=2**31), "^size must be at most 4096, got 2147483648$"),
        (
            lambda: qjax.make("DiscountingChain-bsuite", n_actions=3, mapping_seed=3),
            "^mapping_seed must be at most 2",
        ),
        (
            lambda: qjax.make("CartPole-v1", qjax.make("Acrobot-v1").params),
            "^params must be CartPole-v1's EnvParams",
        ),
        (
            lambda: qjax.make("MountainCar-v0", min_position=1.0),
            "^min_position must be below max_position, got 1.0 and 0.6$",
        ),
        (
            lambda: qjax.make("DiscountingChain-bsuite", reward_timestep=[1.5] * 5),
            r"^reward_timestep \(each\) must be a whole number, got 1.5$",
        ),
        (lambda: qjax.mdp.toy_text("Taxi-v4", wet=True), "^gymnasium has no 'Taxi-v4' with wet=True: TypeError: "),
        (lambda: qjax.mdp.toy_text("Taxy-v4"), "^gymnasium has no 'Taxy-v4': NameNotFound: "),
    ],
)
def test_what_is_said(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call()


@pytest.mark.parametrize("form", [list, np.array, jnp.array])
def test_arrays_in_every_form(form):
    torques = qjax.make("Acrobot-v1", available_torque=form([-2, 0, 2])).params.available_torque
    assert torques.dtype == jnp.float32 and torques.tolist() == [-2, 0, 2]
    steps = qjax.make("DiscountingChain-bsuite", reward_timestep=form([1, 2, 3, 4, 5])).params.reward_timestep
    assert steps.dtype == jnp.int32 and steps.tolist() == [1, 2, 3, 4, 5]


def test_large_whole_numbers_are_numbers():
    """JAX has no int32 for them, and they are meant as float32."""
    for env in (qjax.make("FrozenLake-v1", reward_schedule=(1, 2**31, 0)), qjax.make("CartPole-v1", gravity=2**40)):
        key = jax.random.key(0)
        jax.eval_shape(lambda env=env, key=key: env.step(key, env.reset(key)[1], 0))
    assert qjax.make("CartPole-v1", gravity=2**40).params.gravity == 2.0**40


def test_what_an_environment_raises_is_one_line_with_its_name_and_what_was_asked_for(monkeypatch):
    from gymnax.environments.bsuite.catch import Catch

    def fails(*_):
        raise IndexError("no such\nplace")

    with monkeypatch.context() as patch:
        patch.setattr(Catch, "step_env", fails)
        said = r"^Catch-bsuite.step with rows=7 fails: IndexError: no such place$"
        with pytest.raises(ValueError, match=said):
            qjax.make("Catch-bsuite", rows=7)
    with monkeypatch.context() as patch:
        patch.setattr(Catch, "__init__", fails)
        with pytest.raises(ValueError, match=r"^Catch-bsuite cannot be made: IndexError: no such place$"):
            qjax.make("Catch-bsuite")
    with monkeypatch.context() as patch:
        patch.setattr(Catch, "observation_space", fails)
        with pytest.raises(
            ValueError, match=r"^Catch-bsuite with rows=7 has no spaces: IndexError: no such place$"
        ):
            qjax.make("Catch-bsuite", rows=7)


def test_images_that_cannot_be_read_are_told(monkeypatch):
    from gymnax.utils import load_mnist

    def offline():
        raise OSError("no net")

    monkeypatch.setattr(load_mnist, "load_mnist", offline)
    with pytest.raises(OSError, match=r"^MNISTBandit-bsuite cannot be made: OSError: no net$"):
        qjax.make(ONLINE)
