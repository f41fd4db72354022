"""Networks: any object with `init` and `apply` for one observation, and a few ready ones."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float

from qjax.core.checks import (
    check_array,
    check_callable,
    check_flag,
    check_initial,
    check_pairs,
    check_range,
    check_record,
    check_size,
    one_of,
)
from qjax.core.default_rules import makes_usual, usual
from qjax.core.text import shown
from qjax.exploration.policies import legal_or_all
from qjax.networks.layers import INITIALIZERS, Convolution, Dense, Initializer
from qjax.objectives.heads import midpoints
from qjax.types import HiddenLayer, Network, NetworkLike, Params, Quantiles, RecurrentNetwork, Scaled

EMBEDDING, MIDPOINTS = 64, 32
"""Cosines in the embedding of a quantile level; levels where there is no noise (Dabney et al. 2018b)."""


class MLP(nn.Module):
    """Dense layers with ReLU between them: one observation, of any shape or of several arrays, to `[actions]`.

    The options compose: `MLP(2, atoms=51, dueling=True, noisy=True)` is Rainbow's network, `MLP(2, levels=64)`
    an implicit quantile network, `MLP(2, norm=True)` PQN's.

    With `levels`, quantiles are those of an implicit quantile network (Dabney et al. 2018b): a level's embedding,
    ReLU of a dense layer on cos(pi i level) for i = 0 .. 63 (equation 4), times the last hidden layer, goes through
    a linear output. (In the paper the product is one layer earlier, with the output of the convolutions.) Levels
    are random numbers of the noise, fresh for each of a loss's networks and at each update. They are drawn once for
    a whole batch, so the embedding is computed once, and one in each of n equal parts of [0, 1), which keeps their
    expectations: the gradient's is the published one, and it spreads less. With `own_levels` every transition has n
    independent uniform levels of its own, as published, at many times the cost. Without noise there are 32
    midpoints, the published number for acting; where a loop acts with noise, it averages over all `levels`, shared
    or own.

    Attributes:
        actions: A, rows of the output; None for no output, but what the last hidden layer gives (a torso).
        hidden: widths of the hidden layers.
        torso: what an observation goes through first, a flax module without noise; default none. A `Convolution`
            takes the images of an observation, arrays `[H, W, C]`, any other each of its arrays.
        atoms: the output is `[A, atoms]`, for `categorical` or `quantile`.
        levels: the output is `Quantiles` of values `[A, levels]`, for `quantile`.
        own_levels: whether each transition has levels of its own.
        dueling: an output for the state's value and one for the advantages, V + A - mean A (Wang et al. 2016,
            equation 9), for each atom or level where there are any (Hessel et al. 2018, "Rainbow"). The last
            hidden layer is doubled too, one for each; those before it are shared.
        noisy: noise on the weights of all dense layers after the torso (see `Dense`), but not on the embedding of
            levels. A first layer without noise is a torso.
        norm: LayerNorm after each hidden dense layer, before its ReLU (Gallici et al. 2024).
        norm_eps: its epsilon, which is added to the variance; flax has 1e-6, PyTorch 1e-5.
        initializer: what the weights of layers without noise are at the start, one of
            `qjax.networks.layers.INITIALIZERS`, by name, or an `Initializer`; those of a torso are its own.
        output_scale: factor of the last layer's weights at the start, where it has no noise.

    """

    actions: int | None
    hidden: Sequence[int] = (120, 84)
    torso: nn.Module | None = None
    atoms: int | None = None
    levels: int | None = None
    own_levels: bool = False
    dueling: bool = False
    noisy: bool = False
    norm: bool = False
    norm_eps: float = 1e-6
    initializer: str | Initializer = "lecun_normal"
    output_scale: float = 1.0

    def __post_init__(self) -> None:
        """Check the attributes.

        Raises:
            TypeError: a width is no whole number, or an option no flag.
            ValueError: a width is not positive, both atoms and levels are given, or one of what an output may be
                without an output.

        """
        _check_attributes(self)
        super().__post_init__()

    @nn.compact
    @usual
    def __call__(self, x: Any) -> Any:
        """Return `[A]`, `[A, atoms]` or `Quantiles` for one observation `x`; without an output `[width]`.

        Raises:
            TypeError: x is an integer scalar.

        """
        check_numbers(x)
        parts = jax.tree.leaves(x)
        x = jnp.concatenate([self._flat(part, alone=len(parts) == 1) for part in parts])
        *shared, last = self.hidden or (None,)
        for width in self.hidden if self.actions is None else shared:
            x = self._layer(x, width)
        if self.actions is None:
            return x
        levels = None if self.levels is None else self._draw_levels(self.levels)
        embedding = None
        if levels is not None:
            waves = jnp.cos(jnp.pi * jnp.arange(EMBEDDING) * levels[:, None])
            embedding = nn.relu(Dense(last or x.size, initializer=self._start(), name="embedding")(waves))

        def stream(rows: int) -> Any:
            features = x if last is None else self._layer(x, last)
            start = self._start().scaled(self.output_scale)
            out = Dense(rows * (self.atoms or 1), self.noisy, start)(features, embedding)
            if embedding is not None:
                return out.T
            return out if self.atoms is None else out.reshape(rows, self.atoms)

        if self.dueling:
            value, advantage = stream(1), stream(self.actions)
            out = value + advantage - advantage.mean(0)
        else:
            out = stream(self.actions)
        return out if levels is None else Quantiles(out, levels)

    def _layer(self, x: Float[Array, " n"], width: int) -> Float[Array, " m"]:
        made: list[Any] = [Dense(width, self.noisy, self._start())]
        if self.norm:
            made.append(nn.LayerNorm(self.norm_eps))
        for each in made:
            x = each(x)
        x = nn.relu(x)
        self._tell(x, *(each.name for each in made))
        return x

    def _tell(self, units: Any, *made: str) -> None:
        """Note a hidden layer for who asks for it: what the parameters of these names made."""
        own, read = (tuple(f"params/{name}" for name in names) for names in (made, self._readers()[made[0]]))
        self.sow("intermediates", f"{made[0]} units", HiddenLayer(units, own, read))

    def _readers(self) -> dict[str, tuple[str, ...]]:
        """Return the names of the dense layers that read what the torso and each hidden layer give, by its name."""
        streams = 0 if self.actions is None else 1 + self.dueling
        shared = len(self.hidden) - (streams > 0 and len(self.hidden) > 0)
        # A stream is a hidden layer and an output, or without hidden layers an output alone.
        starts = [shared + (1 + (len(self.hidden) > 0)) * number for number in range(streams)]
        readers = {number: [number + 1] for number in [*range(shared), *(starts if self.hidden else ())]}
        if shared:
            readers[shared - 1] = starts
        found = {f"Dense_{number}": read for number, read in readers.items()}
        found["torso"] = [0] if shared else starts
        return {name: tuple(f"Dense_{number}" for number in read) for name, read in found.items()}

    def _flat(self, x: Any, alone: bool) -> Float[Array, " n"]:
        """Return one array of the observation as a vector."""
        x = jnp.asarray(x, jnp.float32)
        if self.torso is None or (isinstance(self.torso, Convolution) and x.ndim != 3 and not alone):
            return x.reshape(-1)
        x = self.torso(x)
        if alone and isinstance(self.torso, Convolution):
            self._tell(x, "torso")
        return x.reshape(-1)

    def _start(self) -> Initializer:
        return _initializer(self.initializer)

    def _draw_levels(self, count: int) -> Float[Array, " n"]:
        stream = "per_sample" if self.own_levels else "shared"
        if not self.has_rng(stream):
            return midpoints(MIDPOINTS)
        drawn = jax.random.uniform(self.make_rng(stream), (count,))
        return drawn if self.own_levels else (jnp.arange(count) + drawn) / count


def check_numbers(obs: Any) -> None:
    """Check that an observation is of numbers to calculate with.

    Raises:
        TypeError: an integer scalar is in it.

    """
    for part in jax.tree.leaves(obs):
        if jnp.ndim(part) == 0 and jnp.issubdtype(jnp.result_type(part), jnp.integer):
            raise TypeError("a discrete observation is a name, not a number: use qjax.encoded(network, env.encode)")


def _check_attributes(net: MLP) -> None:
    if net.actions is not None:
        check_size("actions", net.actions)
    elif net.atoms is not None or net.levels is not None or net.dueling is True:
        raise ValueError("without actions there is no output, so no atoms, levels or dueling streams")
    if not isinstance(net.hidden, Sequence) or isinstance(net.hidden, str | bytes):
        raise TypeError(f"hidden must be a sequence of widths, got {shown(net.hidden)}")
    for width in net.hidden:
        check_size("a hidden width", width)
    if not isinstance(net.torso, nn.Module | None):
        raise TypeError(f"torso must be a flax module or None, got {shown(net.torso)}")
    for name in ("own_levels", "dueling", "noisy", "norm"):
        check_flag(name, getattr(net, name))
    for name, size in (("atoms", net.atoms), ("levels", net.levels)):
        if size is not None:
            check_size(name, size)
    if net.atoms is not None and net.levels is not None:
        raise ValueError(f"a network has atoms or levels, got {net.atoms} atoms and {net.levels} levels")
    check_range("norm_eps", net.norm_eps, 0, 1, open_low=True)
    check_range("output_scale", net.output_scale, 0, 1e3)
    _initializer(net.initializer)


def _initializer(given: Any) -> Initializer:
    return given if isinstance(given, Initializer) else one_of("initializer", given, INITIALIZERS)


def convolutional(
    actions: int | None,
    hidden: Sequence[int] = (128,),
    features: int = 16,
    norm: bool = False,
    norm_eps: float = 1e-6,
    initializer: str | Initializer = "lecun_normal",
    **options: Any,
) -> MLP:
    """Return the network of Young and Tian 2019 for small images such as MinAtar's, 10 x 10 x C, bool or float.

    One convolution 3 x 3 with 16 features, then a dense layer of 128, ReLU after both.

    Args:
        actions: A; None for no output.
        hidden: widths of the dense layers.
        features: of the convolution.
        norm: LayerNorm over the features after the convolution too.
        norm_eps: its epsilon.
        initializer: what the weights are at the start, those of the convolution too.
        options: of `MLP`: atoms, levels, dueling, noisy, ...

    """
    start = _initializer(initializer)
    torso = Convolution(features, norm, norm_eps, start)
    return MLP(actions, hidden, torso, norm=norm, norm_eps=norm_eps, initializer=start, **options)


@makes_usual
def table(num_states: int, num_actions: int, initial: Any = 0.0) -> Network:
    """Return a Q-table as a network: its parameters are `[S, A]`, its input an integer scalar.

    Raises:
        TypeError: a size is traced or no whole number.
        ValueError: a size is not positive, there are 2**31 entries or more, or `initial` has another shape or is
            not finite.

    """
    shape = check_pairs(num_states, num_actions)
    check_initial(initial, shape)

    def init(key, obs):
        return jnp.full(shape, initial, jnp.float32)

    return Network(init, lambda params, obs, noise: params[obs])


@makes_usual
def linear(features: Any, initial: Any = 0.0) -> Network:
    """Return values that are linear in fixed features of discrete states: Q(s, a) = w . x(s, a).

    Its parameters are w, `[d]`, its input an integer scalar.

    Args:
        features: x, `[S, A, d]`.
        initial: w at the start, one number or `[d]`.

    Raises:
        TypeError: an array holds no numbers.
        ValueError: a number is not finite, the features are not `[S, A, d]`, or `initial` has another shape.

    """
    check_array("features", features)
    check_array("initial", initial)
    if np.ndim(features) != 3:
        raise ValueError(f"features are x(s, a), [S, A, d], got {list(np.shape(features))}")
    size = np.shape(features)[-1]
    if np.shape(initial) not in ((), (size,)):
        raise ValueError(f"initial weights of shape {np.shape(initial)} for features of shape {np.shape(features)}")
    known = np.asarray(features, np.float32)

    def init(key, obs):
        return jnp.broadcast_to(jnp.asarray(initial, jnp.float32), (size,))

    return Network(init, lambda params, obs, noise: jnp.asarray(known)[obs] @ params)


@makes_usual
def encoded(network: NetworkLike | RecurrentNetwork, encode: Callable[[Any], Any]) -> Network | RecurrentNetwork:
    """Return a network, recurrent or not, that reads `encode(obs)` in the place of `obs`.

    With `Env.encode` a discrete observation reaches the network as one-hot vector and anything else as float32,
    while the memory keeps the small original.

    Raises:
        TypeError: `network` lacks `init` or `apply`, or `encode` is no function.

    """
    check_callable("encode", encode, "(obs) -> features")
    if isinstance(network, RecurrentNetwork):
        return network._replace(
            init=lambda key, obs: network.init(key, encode(obs)),
            features=lambda params, obs, noise: network.features(params, encode(obs), noise),
        )
    net = as_network(network)
    return Network(
        lambda key, obs: net.init(key, encode(obs)),
        lambda params, obs, noise: net.apply(params, encode(obs), noise),
        net.masks,
        net.noisy,
        _hidden_of(net, encode),
    )


def _hidden_of(network: Network, change: Callable[[Any], Any]) -> Any:
    """Return the `Network.hidden` of a network that reads `change(obs)` in the place of `obs`."""
    known = network.hidden
    return None if known is None else lambda params, obs: known(params, change(obs))


class WithPrior(NamedTuple):
    """The parameters of a network with a prior."""

    own: Params
    """Those that learn."""
    prior: Params
    """Those that stay."""


@makes_usual
def with_prior(network: NetworkLike, scale: Any = 1.0) -> Network:
    """Return a network plus a fixed random one of the same form, times a scale (Osband et al. 2018, equation 3).

    Members of an ensemble then differ where nothing was learned yet. The prior's parameters are part of the
    network's, and no gradient reaches them; an optimiser must leave such parameters alone, as those without weight
    decay do. With any head: the prior is added to logits, atoms or quantiles.

    Raises:
        TypeError: the network lacks `init` or `apply`.
        ValueError: the scale is not positive.

    """
    net = as_network(network)
    check_range("scale", scale, 0, float("inf"), open_low=True)

    def init(key, obs):
        own_key, prior_key = jax.random.split(key)
        return WithPrior(net.init(own_key, obs), net.init(prior_key, obs))

    def apply(params, obs, noise):
        own, prior = (net.apply(each, obs, noise) for each in params)
        out = jax.tree.map(lambda x, y: x + scale * jax.lax.stop_gradient(y), own, prior)
        return out._replace(levels=own.levels) if isinstance(own, Quantiles) else out

    def hidden(params, obs):
        def within(paths):
            return tuple(f"own/{path}" for path in paths)

        assert net.hidden is not None
        layers = net.hidden(params.own, obs)
        return tuple(HiddenLayer(x.units, within(x.incoming), within(x.outgoing)) for x in layers)

    return Network(init, apply, net.masks, net.noisy, None if net.hidden is None else hidden)


@makes_usual
def masked(
    network: NetworkLike | RecurrentNetwork, legal: Callable[[Any], Any] | None
) -> Network | RecurrentNetwork:
    """Return a network whose output is minus infinity for every action that `legal(obs)` says may not be taken.

    Nothing then counts these actions: no policy takes them, no target does, and no gradient comes from them. With
    any head: of a distribution's logits, quantiles or atoms the whole row of the action is minus infinity. Where no
    action is legal all are, as in a state in which an episode has ended.

    Args:
        network: recurrent or not; its output has the actions as leading axis.
        legal: `obs -> bool [A]`, as `Env.legal`, of what is observed before any encoding or normalisation; None
            for all.

    Raises:
        TypeError: `network` lacks `init` or `apply`, or `legal` is no function.

    """
    net = network if isinstance(network, RecurrentNetwork) else as_network(network)
    if legal is None:
        return net
    check_callable("legal", legal, "(obs) -> mask")

    if isinstance(net, RecurrentNetwork):
        return _masked_recurrent(net, legal)

    def apply(params, obs, noise):
        seen, original = _parted(obs)
        return _kept(net.apply(params, seen, noise), legal(original))

    return Network(net.init, apply, True, net.noisy, _hidden_of(net, lambda obs: _parted(obs).obs))


def _masked_recurrent(net: RecurrentNetwork, legal: Callable[[Any], Any]) -> RecurrentNetwork:
    """Return `masked` of a recurrent network, whose mask passes by the cell."""

    def features(params, obs, noise):
        seen, original = _parted(obs)
        return net.features(params, seen, noise), legal(original)

    def cell(params, carry, x):
        y, carry = net.cell(params, carry, x[0])
        return (y, x[1]), carry

    return net._replace(
        features=features,
        cell=cell,
        output=lambda params, y, noise: _kept(net.output(params, y[0], noise), y[1]),
        masks=True,
    )


def _parted(obs: Any) -> Scaled:
    """Return an observation as it is learned from, and as the environment gave it."""
    return obs if isinstance(obs, Scaled) else Scaled(obs, obs)


def _kept(out: Any, mask: Any) -> Any:
    """Return a network's output, minus infinity where an action is not to be taken."""
    mask = legal_or_all(mask)

    def kept(x):
        return jnp.where(mask.reshape(-1, *(1,) * (x.ndim - 1)), x, -jnp.inf)

    return out._replace(values=kept(out.values)) if isinstance(out, Quantiles) else jax.tree.map(kept, out)


@makes_usual
def as_network(network: NetworkLike) -> Network:
    """Return any object with `init` and `apply` as a `Network`.

    A `Network` is returned as it is. A flax module gets the two keys of `Noise` as the random streams "shared"
    and "per_sample", which it may use or not; its hidden layers are those that it sows as intermediates, as
    `qjax.types.HiddenLayer`. Anything else is called as `apply(params, obs)`, without noise.

    Raises:
        TypeError: `init` or `apply` is missing or takes other arguments, or `network` is a class, or recurrent.

    """
    if isinstance(network, Network):
        check_record("network", network, Network)
        return network
    if isinstance(network, RecurrentNetwork):
        raise TypeError(
            "a recurrent network is for qjax.recurrent_dqn and qjax.recurrent_pqn, and takes no other place"
        )
    if isinstance(network, type):
        raise TypeError(
            f"a network is an object, got the class {network.__name__}: make one, {network.__name__}(...)"
        )
    for name in ("init", "apply"):
        if not callable(getattr(network, name, None)):
            raise TypeError(
                f"a network needs init(key, obs) and apply(params, obs); {shown(network)} has no {name}"
            )
    if isinstance(network, nn.Module):

        def apply(params, obs, noise):
            rngs = {} if noise is None else noise._asdict()
            return network.apply(params, obs, rngs=rngs)

        def hidden(params, obs):
            _, noted = network.apply(params, obs, mutable="intermediates")
            found = jax.tree.leaves(noted, is_leaf=lambda x: isinstance(x, HiddenLayer))
            return tuple(x for x in found if isinstance(x, HiddenLayer))

        return Network(network.init, apply, noisy=bool(getattr(network, "noisy", False)), hidden=hidden)
    check_callable("network.init", network.init, "(key, obs) -> params")
    check_callable("network.apply", network.apply, "(params, obs) -> out")
    return Network(network.init, lambda params, obs, noise: network.apply(params, obs))
