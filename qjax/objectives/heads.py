"""Heads: how a network's output stands for action values, and the loss against a target."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float

from qjax.core.annotations import checked
from qjax.core.checks import (
    check_callable,
    check_number,
    check_range,
    check_record,
    check_size,
    concrete,
    describe,
)
from qjax.core.default_rules import makes_usual, usual
from qjax.core.text import shown
from qjax.objectives.returns import at_action, bootstrapped, td_target
from qjax.types import Head, Network, Params, Quantiles, Weights


@usual
@checked
def squared(delta: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Return delta ** 2, without a half: its mean over a batch is the mean squared error."""
    return delta**2


@makes_usual
def huber(threshold: Any = 1.0) -> Callable[[Float[Array, "*shape"]], Float[Array, "*shape"]]:
    """Return the Huber loss: delta ** 2 / 2 up to the threshold k, with the half, and k (|delta| - k / 2) beyond.

    Source: Huber 1964; with k = 1 its gradient is the clipped error of Mnih et al. 2015.

    Raises:
        ValueError: the threshold is not positive.

    """
    check_range("threshold", threshold, 0, float("inf"), open_low=True)

    def loss(delta: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        size = jnp.abs(delta)
        return jnp.where(size <= threshold, 0.5 * delta**2, threshold * (size - 0.5 * threshold))

    return loss


class Rescaling(NamedTuple):
    """An increasing function of values that a network learns in their place, and its inverse."""

    apply: Callable[[Any], Any]
    """`value -> learned`, of any shape."""
    inverse: Callable[[Any], Any]
    """`learned -> value`"""


@makes_usual
def signed_hyperbolic(epsilon: Any = 1e-3) -> Rescaling:
    """Return h(x) = sign(x) (sqrt(|x| + 1) - 1) + epsilon x, which brings rewards of any size close to one another.

    Source: Pohlen et al. 2018, "Observe and look further"; Kapturowski et al. 2019, section 2.3.

    Raises:
        ValueError: epsilon is not positive.

    """
    check_range("epsilon", epsilon, 0, 1, open_low=True)

    def apply(x):
        return jnp.sign(x) * (jnp.sqrt(jnp.abs(x) + 1) - 1) + epsilon * x

    def inverse(x):
        # The published form times (root + 1) / (root + 1), of which rounding takes less.
        size = jnp.abs(x) + 1 + epsilon
        half = 2 * size / (jnp.sqrt(1 + 4 * epsilon * size) + 1)
        return jnp.where(jnp.isfinite(x), jnp.sign(x) * (half**2 - 1), x)  # minus infinity masks an action

    return Rescaling(apply, inverse)


def rescaling_of(given: Rescaling | None) -> Rescaling:
    """Return a rescaling, the identity for none."""
    if given is None:
        return Rescaling(lambda x: x, lambda x: x)
    check_record("rescale", given, Rescaling)
    return given


@makes_usual
def scalar(
    loss: Callable[[Float[Array, "*shape"]], Float[Array, "*shape"]] = squared, rescale: Rescaling | None = None
) -> Head:
    """Return the head of a network whose output `[A]` is Q itself, or Q rescaled.

    The loss of one transition is `loss(y - Q(s, a))` with y = r + gamma (1 - terminated) sum_a' w(a') Q(s', a')
    (`qjax.td_target`); the mean over the batch is taken by the agent. The priority is |y - Q(s, a)|. With an h as
    `rescale`, the output is h(Q), and y is h(r + gamma (1 - terminated) sum_a' w(a') h^-1(output(s', a'))).

    Args:
        loss: of an error.
        rescale: default none; `signed_hyperbolic()` is R2D2's.

    Raises:
        TypeError: the loss is no function, or `rescale` no `Rescaling`.

    """
    check_callable("loss", loss, "(delta) -> loss")
    h, inverse = rescaling_of(rescale)

    def q(out):
        return inverse(out)

    def target(reward, discount, next_out, weights):
        return h(td_target(reward, discount, inverse(next_out), weights))

    def transition_loss(out, action, y):
        delta = y - at_action(out, action)
        return loss(delta), jnp.abs(delta)

    return Head(q, target, transition_loss)


@makes_usual
def categorical(
    low: Any, high: Any, atoms: int = 51, min_probability: float = 0.0, rescale: Rescaling | None = None
) -> Head:
    """Return the head of a distribution over fixed values, for logits `[A, atoms]`: C51 (Bellemare et al. 2017).

    The values z_i are evenly spaced from `low` to `high` (V_min and V_max), and Q(s, a) is the mean. The target is
    the distribution of r + gamma (1 - terminated) z under the mixture of next actions, projected on the values
    (algorithm 1), and the loss the cross-entropy -sum_i m_i log p_i(s, a). An action whose logits are all minus
    infinity is masked: its value is minus infinity.

    The priority is the KL divergence of the prediction from the target, the cross-entropy less the target's own
    entropy, by which Rainbow prioritises (Hessel et al. 2018). `clipped` is logged, the share of the targets' mass
    that lies outside of the support, and is moved to its ends: where that stays high the support is too narrow.

    Args:
        low: the least value; may be traced.
        high: the largest value; may be traced.
        atoms: how many.
        min_probability: probabilities are clipped to [min_probability, 1 - min_probability] in the loss, and pass
            no gradient beyond; the published loss has none, 0.
        rescale: where it is given, `low`, `high` and the values between are those of h(return).

    Raises:
        TypeError: `atoms` is traced or no whole number, `low` or `high` no number.
        ValueError: `low` is not below `high`, or so little that float32 does not tell the values apart, one is
            infinite, there are fewer than 2 atoms, min_probability lies outside [0, 0.5], or (at trace time) the
            network's output is not `[A, atoms]`.

    """
    atoms = check_support(low, high, atoms)
    check_range("min_probability", min_probability, 0, 0.5)
    h, inverse = rescaling_of(rescale)
    places: Any = jnp.arange(atoms, dtype=jnp.float32)
    width = (high - low) / (atoms - 1)
    support = low + width * places

    def moved(reward, discount, next_out, weights):
        """Return the mass of each atom of the target, and its place, which may lie outside of the support."""
        mass = (weights[:, None] * atom_probabilities(logits_of(next_out, atoms))[0]).sum(0)
        return mass, (h(reward + discount * inverse(support)) - low) / width

    def target(reward, discount, next_out, weights):
        mass, place = moved(reward, discount, next_out, weights)
        place = jnp.clip(place, 0, atoms - 1)
        # Behind the barrier no compiler makes one kernel of softmax and projection, whose tile would be huge.
        mass, place = lax.optimization_barrier((mass, place))
        # An atom between two places is shared by them according to its distance, as a triangle of width 1 does.
        (projected,) = _total(lambda x: (jnp.maximum(1 - jnp.abs(x - places), 0),), place, mass)
        return projected

    def loss(out, action, y):
        log_p = jax.nn.log_softmax(at_action(logits_of(out, atoms), action))
        if min_probability:
            log_p = jnp.clip(log_p, math.log(min_probability), math.log1p(-min_probability))
        cross_entropy = -(y * log_p).sum()
        entropy = -jax.scipy.special.xlogy(y, y).sum()
        return cross_entropy, jnp.maximum(cross_entropy - entropy, 0)

    def q(out):
        mass, masked = atom_probabilities(logits_of(out, atoms))
        return jnp.where(masked, -jnp.inf, (mass * inverse(support)).sum(-1))

    def report(reward, discount, next_out, weights):
        mass, place = moved(reward, discount, next_out, weights)
        outside = (place < -ROUNDING) | (place > atoms - 1 + ROUNDING)
        return {"clipped": jnp.where(outside, mass, 0).sum()}

    return Head(q, target, loss, report)


ROUNDING = 1e-3
"""What lies outside of a support by less than this share of the distance of two atoms lies on its end."""


def logits_of(out: Any, atoms: int, head: str = "categorical") -> Float[Array, "A n"]:
    """Return a network's output, checked to be logits `[A, atoms]` of each action, for a head of this name."""
    shape: Any = getattr(out, "shape", ())
    if len(shape) != 2 or shape[1] != atoms:
        raise ValueError(
            f"a {head} head of {atoms} atoms needs an output [A, {atoms}] for one observation;"
            f" the network's output is {describe(out)}"
        )
    return out


def atom_probabilities(logits: Float[Array, "A n"]) -> tuple[Float[Array, "A n"], Bool[Array, " A"]]:
    """Return softmax of each row, and which rows are minus infinity and so mask their action; these are uniform."""
    masked = (logits == -jnp.inf).all(-1)
    return jax.nn.softmax(jnp.where(masked[:, None], 0, logits)), masked


def check_support(low: Any, high: Any, atoms: int, name: str = "atoms") -> int:
    """Return the number of atoms, or what they are called, checked with the ends of their values."""
    atoms = check_size(name, atoms, least=2, most=2**24)  # float32 counts no further
    check_number("low (v_min)", low)
    check_number("high (v_max)", high)
    if not concrete(low, high):
        return atoms
    given = f"got low {shown(low)} and high {shown(high)}"
    if not low < high:
        raise ValueError(f"low (v_min) must be below high (v_max), {given}")
    ends, width = np.array([low, high], np.float32), (float(high) - float(low)) / (atoms - 1)
    check_range("high less low", float(high) - float(low), 0, np.inf, open_low=True)
    if not (ends[0] < ends[0] + np.float32(width) and ends[1] - np.float32(width) < ends[1]):
        raise ValueError(f"{atoms} values from low (v_min) to high (v_max) are not different in float32, {given}")
    return atoms


class Atoms(NamedTuple):
    """A distribution as weighted values: the target of `quantile`."""

    values: Float[Array, " m"]
    """Where the mass stands."""
    mass: Float[Array, " m"]
    """Weight of each value; sums to 1."""


def midpoints(count: int) -> Float[Array, " n"]:
    """Return (2 i + 1) / (2 n) for i = 0 .. n - 1, the levels of n quantiles (Dabney et al. 2018a, lemma 2)."""
    return (jnp.arange(count, dtype=jnp.float32) + 0.5) / count


@makes_usual
def quantile(kappa: Any = 1.0, rescale: Rescaling | None = None) -> Head:
    """Return the head of quantiles: QR-DQN for an output `[A, n]`, IQN for an output of `Quantiles`.

    An output `[A, n]` stands for quantiles at the midpoints (Dabney et al. 2018a, "Distributional reinforcement
    learning with quantile regression"), `Quantiles` for those at its own levels (Dabney et al. 2018b, "Implicit
    quantile networks"). Q(s, a) is their mean. With predictions theta_i at levels tau_i and target atoms y_j of
    mass m_j the loss is

        sum_i sum_j m_j |tau_i - 1{u < 0}| L(u),    u = y_j - theta_i,

    with L the Huber loss of threshold kappa (2018a, equation 10 and algorithm 1; 2018b, equation 3, where it is
    divided by kappa, which is no difference at 1, the value of both). The target of a mixture of next actions is
    the mixture of their atoms, never an average of quantiles. The priority is the loss.

    All pairs count, none is kept: see `quantile_loss`. Where the target policy's weights are boolean, the target
    is the n atoms of the one action; otherwise it is A n atoms, and the loss costs A times as much.

    Args:
        kappa: may be traced.
        rescale: where it is given, quantiles are those of h(return).

    Raises:
        ValueError: kappa is not positive, or (at trace time) the network's output is neither `[A, n]` nor
            `Quantiles` with as many levels as values.

    """
    check_range("kappa", kappa, 0, float("inf"), open_low=True)
    h, inverse = rescaling_of(rescale)

    def q(out: Any) -> Any:
        return inverse(_quantiles(out).values).mean(-1)

    def target(reward: Any, discount: Any, next_out: Any, weights: Weights) -> Atoms:
        values = jnp.where((weights != 0)[:, None], inverse(_quantiles(next_out).values), 0)
        if weights.dtype == bool:
            values, weights = values.sum(0, keepdims=True), jnp.ones(1)
        count = values.shape[1]
        return Atoms(h(bootstrapped(reward, discount, values)).reshape(-1), jnp.repeat(weights / count, count))

    def loss(out: Any, action: Any, y: Atoms) -> Any:
        values, levels = _quantiles(out)
        total = quantile_loss(at_action(values, action), levels, *lax.stop_gradient(y), kappa)
        return total, total

    return Head(q, target, loss)


@jax.custom_jvp
def quantile_loss(
    predictions: Float[Array, " n"],
    levels: Float[Array, " n"],
    values: Float[Array, " m"],
    mass: Float[Array, " m"],
    kappa: Any,
) -> Float[Array, ""]:
    """Return sum_i sum_j m_j |tau_i - 1{u < 0}| L(u) with u = y_j - theta_i and L the Huber loss.

    Its derivative is defined with respect to the predictions alone: d/d theta_i is the sum over j of
    -m_j [ tau_i clip(u, 0, kappa) - (1 - tau_i) clip(-u, 0, kappa) ]. It is summed in the same pass as the loss,
    so nothing of size `[m, n]` is kept for the backward pass.
    """
    return _loss_and_slope(predictions, levels, values, mass, kappa)[0].sum()


@quantile_loss.defjvp
def _quantile_loss_jvp(primals: Any, tangents: Any) -> Any:
    loss, slope = _loss_and_slope(*primals)
    return loss.sum(), -(slope * tangents[0]).sum()


def _loss_and_slope(predictions: Any, levels: Any, values: Any, mass: Any, kappa: Any) -> Any:
    """Return each prediction's loss `[n]` and the derivative with respect to u `[n]`, summed over the atoms."""

    def pair(value: Any) -> Any:
        u = value - predictions
        above, below = jnp.clip(u, 0, kappa), jnp.clip(u, -kappa, 0)
        slope = levels * above + (1 - levels) * below
        return slope * (u - (above + below) / 2), slope

    return _total(pair, values, mass)


def _total(function: Callable[[Any], tuple[Array, ...]], values: Any, mass: Any) -> tuple[Array, ...]:
    """Return sum_j m_j function(y_j) for a function of one number, without an array over j.

    A CPU adds them up in turn, with vector instructions along the function's `[n]`; one fused reduction, which is
    what a GPU wants, would be a scalar loop there (several times slower).
    """

    def in_turn(values: Any, mass: Any) -> Any:
        def add(sums: Any, x: Any) -> Any:
            return tuple(old + x[1] * new for old, new in zip(sums, function(x[0]), strict=True)), None

        zeros = tuple(jnp.zeros(x.shape, x.dtype) for x in jax.eval_shape(function, values[0]))
        return lax.scan(add, zeros, (values, mass))[0]

    def at_once(values: Any, mass: Any) -> Any:
        # One reduction of all results: of two the compiler would store what they have in common.
        terms = tuple(mass[:, None] * x for x in jax.vmap(function)(values))
        zeros = tuple(jnp.zeros((), x.dtype) for x in terms)
        return tuple(lax.reduce(terms, zeros, lambda a, b: tuple(x + y for x, y in zip(a, b, strict=True)), (0,)))

    return lax.platform_dependent(values, mass, cpu=in_turn, default=at_once)


def _quantiles(out: Any) -> Quantiles:
    """Return a network's output as quantiles with their levels."""
    values = out.values if isinstance(out, Quantiles) else out
    shape = getattr(values, "shape", ())
    levels = out.levels if isinstance(out, Quantiles) else midpoints(shape[-1] if shape else 1)
    if len(shape) != 2 or levels.shape != shape[1:]:
        raise ValueError(
            f"a quantile head needs an output [A, n], or Quantiles of values [A, n] at levels [n], for one"
            f" observation; the network's output is {describe(out)}"
        )
    return Quantiles(values, levels)


def check_head(network: Network, head: Head, params: Params, obs: Any) -> None:
    """Check (of shapes alone) that a head finds one value per action in a network's output, and one loss.

    Raises:
        ValueError: it does not; the shapes are named.

    """
    out = jax.eval_shape(lambda p: network.apply(p, obs, None), params)
    q = jax.eval_shape(head.q, out)
    if getattr(q, "ndim", None) != 1:
        raise ValueError(
            f"the head must find one value per action, [A], for one observation;"
            f" the network's output {describe(out)} gives {describe(q)}"
        )
    number = jax.ShapeDtypeStruct((), jnp.float32)
    y = jax.eval_shape(head.target, number, number, out, q)
    found = jax.eval_shape(head.loss, out, jax.ShapeDtypeStruct((), jnp.int32), y)
    for name, x in zip(("loss", "priority"), found, strict=True):
        if x.shape != ():
            raise ValueError(f"the head's {name} must be one number for one transition, got {describe(x)}")
