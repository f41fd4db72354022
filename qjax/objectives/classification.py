"""Heads that learn values as a classifier: the target is one number, and the loss a cross-entropy over bins."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from qjax.core.checks import check_range
from qjax.core.default_rules import makes_usual
from qjax.objectives.heads import (
    ROUNDING,
    Rescaling,
    atom_probabilities,
    check_support,
    logits_of,
    rescaling_of,
)
from qjax.objectives.returns import at_action, td_target
from qjax.types import Head

Labels = Callable[[Float[Array, ""]], Float[Array, " n"]]
"""`y -> p`: a target's share of each bin, for a y that lies on the support."""


@makes_usual
def hl_gauss(low: Any, high: Any, bins: int = 51, smoothing: Any = 0.75, rescale: Rescaling | None = None) -> Head:
    """Return the head of values learned by classification with Gaussian labels, for logits `[A, bins]`.

    The bins cut [low, high] into pieces of width w, and Q(s, a) = sum_i p_i(s, a) z_i with z_i their middles. A
    target y = r + gamma (1 - terminated) sum_a' w(a') Q(s', a') is a normal distribution of mean y and standard
    deviation `smoothing` w, cut off at `low` and `high`; its mass in bin i is the label p_i, and the loss the
    cross-entropy. A y outside of the support is moved to its end; the share of these is logged as `clipped`. The
    priority is |y - Q(s, a)|, before the inverse of a rescaling.

    Source: Imani and White 2018; Farebrother et al. 2024, "Stop regressing", section 3.1 and equation 4.

    Args:
        low: the lower end of the first bin; may be traced.
        high: the upper end of the last bin; may be traced.
        bins: how many.
        smoothing: the labels' standard deviation in widths of a bin; 0.75 is published for 51 bins and more.
        rescale: an h where it is given: the bins are then of h(return), and Q(s, a) = h^-1(sum_i p_i z_i).

    Raises:
        TypeError: `bins` is traced or no whole number, or another argument is not of its kind.
        ValueError: `low` is not below `high`, or so little that float32 does not tell the bins apart, one is
            infinite, there are fewer than 2 bins, the smoothing is not positive or wider than all bins, or (at
            trace time) the network's output is not `[A, bins]`.

    """
    bins = check_support(low, high, bins, "bins")
    check_range("smoothing", smoothing, 0, bins, open_low=True)
    width = (high - low) / bins
    edges = low + width * jnp.arange(bins + 1, dtype=jnp.float32)

    def labels(y):
        below = jax.scipy.special.ndtr((edges - y) / (smoothing * width))
        return jnp.diff(below) / (below[-1] - below[0])

    return _classified("HL-Gauss", edges[:-1] + width / 2, labels, (low, high), width, rescaling_of(rescale))


@makes_usual
def two_hot(low: Any, high: Any, atoms: int = 51, rescale: Rescaling | None = None) -> Head:
    """Return the head of values learned by classification with labels of two atoms, for logits `[A, atoms]`.

    As `hl_gauss`, with values z_i evenly spaced from `low` to `high`, as `categorical` has them, and a target y
    shared between the two nearest, so that their mean is y.

    Source: Schrittwieser et al. 2020 (MuZero), appendix F; Farebrother et al. 2024, section 3.1.

    Args:
        low: the least value; may be traced.
        high: the largest value; may be traced.
        atoms: how many.
        rescale: as for `hl_gauss`; MuZero has `signed_hyperbolic()`.

    Raises:
        TypeError: as `hl_gauss`.
        ValueError: as `hl_gauss`.

    """
    atoms = check_support(low, high, atoms)
    width = (high - low) / (atoms - 1)
    places = jnp.arange(atoms, dtype=jnp.float32)

    def labels(y):
        return jnp.maximum(1 - jnp.abs((y - low) / width - places), 0)

    return _classified("two-hot", low + width * places, labels, (low, high), width, rescaling_of(rescale))


def _classified(
    name: str,
    centers: Float[Array, " n"],
    labels: Labels,
    ends: tuple[Any, Any],
    width: Any,
    rescale: Rescaling,
) -> Head:
    """Return the head of a classifier over values `centers`, whose targets become `labels`."""
    (low, high), bins = ends, len(centers)

    def learned(out):
        """Return what is learned of each action, h(Q), and which are masked."""
        mass, masked = atom_probabilities(logits_of(out, bins, name))
        return (mass * centers).sum(-1), masked

    def q(out):
        mean, masked = learned(out)
        return jnp.where(masked, -jnp.inf, rescale.inverse(mean))

    def target(reward, discount, next_out, weights):
        return rescale.apply(td_target(reward, discount, q(next_out), weights))

    def loss(out, action, y):
        log_p = jax.nn.log_softmax(at_action(logits_of(out, bins, name), action))
        return -(labels(jnp.clip(y, low, high)) * log_p).sum(), jnp.abs(y - at_action(learned(out)[0], action))

    def report(reward, discount, next_out, weights):
        y = target(reward, discount, next_out, weights)
        outside = (y < low - ROUNDING * width) | (y > high + ROUNDING * width)
        return {"clipped": outside.astype(jnp.float32)}

    return Head(q, target, loss, report)
