"""Policies are the distributions they say they are, `draw` follows them exactly, and schedules their formulas."""

import chex
import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import optax
import pytest
from scipy import special, stats

import qjax
from qjax.exploration import draw, schedules
from qjax.types import Time

LARGEST = np.nextafter(np.float32(1), np.float32(0))  # the largest float32 below 1
GRID = 2**18
START = Time(jnp.float32(0), jnp.int32(0), jnp.float32(0), jnp.int32(0))


def at(step=0.0, episode=0, update=0.0, env=0):
    return Time(jnp.float32(step), jnp.int32(episode), jnp.float32(update), jnp.int32(env))


def values(rows, actions, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, actions)).astype(np.float32)


# Policies ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("q", "expected"),
    [
        ([1.0, 3.0, 2.0], [0, 1, 0]),
        ([3.0, 1.0, 3.0], [1 / 2, 0, 1 / 2]),
        ([0.0, 0.0, 0.0, 0.0], [1 / 4, 1 / 4, 1 / 4, 1 / 4]),
        ([-5.0, -2.0, -2.0, -2.0], [0, 1 / 3, 1 / 3, 1 / 3]),
        ([7.0], [1]),
    ],
)
def test_greedy_shares_ties_and_first_does_not(q, expected):
    np.testing.assert_allclose(qjax.greedy(jnp.array(q), START), expected, rtol=1e-6)
    assert qjax.argmax(jnp.array(q), START).tolist() == np.eye(len(q))[np.argmax(q)].tolist()


def test_values_a_rounding_apart_are_no_tie():
    q = jnp.array([1.0, np.nextafter(np.float32(1), np.float32(2)), 1.0])
    assert qjax.greedy(q, START).tolist() == [0, 1, 0]


@pytest.mark.parametrize("actions", [1, 2, 3, 18, 64])
def test_uniform(actions):
    found = qjax.uniform(jnp.array(values(1, actions)[0]), START)
    np.testing.assert_allclose(found, np.full(actions, 1 / actions), rtol=1e-6)


@pytest.mark.parametrize("temperature", [0.01, 1.0, 30.0])
def test_boltzmann_is_the_softmax(temperature):
    q = values(5, 6)
    found = jax.vmap(qjax.boltzmann(temperature), in_axes=(0, None))(q, START)
    expected = special.softmax(q.astype(np.float64) / temperature, axis=-1)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-30)


def test_boltzmann_neither_overflows_nor_loses_its_limits():
    q = jnp.array([1e4, 1e4 + 1, -1e4])
    np.testing.assert_allclose(qjax.boltzmann(0.01)(q, START), [0, 1, 0])
    np.testing.assert_allclose(qjax.boltzmann(1e9)(q, START), np.full(3, 1 / 3), rtol=1e-4)


def test_boltzmann_follows_its_schedule():
    policy, q = qjax.boltzmann(schedules.linear(2.0, 0.5, 100)), jnp.array([0.0, 1.0])
    for step, temperature in [(0, 2.0), (50, 1.25), (1000, 0.5)]:
        np.testing.assert_allclose(policy(q, at(step)), special.softmax([0, 1 / temperature]), rtol=1e-5)


@pytest.mark.parametrize("epsilon", [0.0, 0.05, 0.3, 1.0])
@pytest.mark.parametrize("actions", [1, 2, 5, 64])
def test_epsilon_greedy_closed_form(epsilon, actions):
    q = values(4, actions)
    found = np.asarray(jax.vmap(qjax.epsilon_greedy(epsilon), in_axes=(0, None))(q, START))
    expected = epsilon / actions + (1 - epsilon) * np.eye(actions)[q.argmax(-1)]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    np.testing.assert_allclose(found.sum(-1), 1, rtol=1e-6)


def test_epsilon_zero_leaves_other_actions_exactly_zero():
    # Not merely small: `draw` may never explore at epsilon 0.
    assert qjax.epsilon_greedy(0.0)(jnp.array([0.0, 1.0, 0.5]), START).tolist() == [0, 1, 0]


@pytest.mark.parametrize("base", [qjax.greedy, qjax.argmax, qjax.uniform, qjax.boltzmann(0.5)])
def test_epsilon_greedy_mixes_any_base(base):
    q = jnp.array([1.0, 2.0, 2.0, -1.0])  # with a tie, which only `greedy` shares
    expected = 0.2 / 4 + 0.8 * np.asarray(base(q, START))
    np.testing.assert_allclose(qjax.epsilon_greedy(0.2, base)(q, START), expected, rtol=1e-6)


def test_epsilon_greedy_reads_the_schedule_at_its_time():
    policy = qjax.epsilon_greedy(schedules.linear(1.0, 0.0, 10, unit="episode"))
    q = jnp.array([0.0, 1.0])
    for episode, epsilon in [(0, 1.0), (5, 0.5), (10, 0.0), (99, 0.0)]:
        np.testing.assert_allclose(policy(q, at(episode=episode)), [epsilon / 2, 1 - epsilon / 2], atol=1e-7)


def test_the_ladder_gives_each_environment_its_epsilon():
    policy = qjax.epsilon_greedy(schedules.ladder(3))
    per_env = jax.vmap(policy, in_axes=(None, Time(None, None, None, 0)))
    found = per_env(jnp.array([0.0, 1.0]), START._replace(env=jnp.arange(3)))
    np.testing.assert_allclose(found[:, 0], np.array([0.4, 0.4**4.5, 0.4**8]) / 2, rtol=1e-5)


# Draw --------------------------------------------------------------------------------------------------------


draw_many = jax.jit(jax.vmap(draw, in_axes=(0, None)))


def uniforms(probabilities):
    """A grid of [0, 1), both its ends, and both sides of every cumulative sum, where rounding decides."""
    sums = np.concatenate([np.cumsum(probabilities, dtype=np.float32), jnp.cumsum(probabilities)])
    near = [sums, np.nextafter(sums, np.float32(0)), np.nextafter(sums, np.float32(2))]
    edges = np.concatenate([[0, np.finfo(np.float32).tiny, LARGEST, 1 - 2.0**-23], *near]).astype(np.float32)
    grid = ((np.arange(GRID) + 0.5) / GRID).astype(np.float32)
    return np.concatenate([grid, edges[(edges >= 0) & (edges < 1)]])


def distributions(actions):
    """Zeros first, last, in the middle and nearly everywhere; sums that round below and above 1."""
    rng = np.random.default_rng(actions)
    full = rng.dirichlet(np.ones(actions))
    yield np.full(actions, 1 / actions)
    yield full
    yield full * (1 - 2e-6)
    yield full * (1 + 2e-6)
    for zero in ([0], [actions - 1], [actions // 2], [0, actions - 1], range(actions // 2), range(1, actions)):
        some = full.copy()
        some[list(zero)] = 0
        if some.sum():
            yield some / some.sum()
    for one in {0, actions // 2, actions - 1}:
        yield np.eye(actions)[one]
    # The last possible action is rare, so the sum reaches 1 - 1e-7 well before it.
    rare = np.full(actions, 1e-7)
    rare[0] = 1 - rare[1:].sum()
    yield rare


@pytest.mark.parametrize("actions", [1, 2, 3, 7, 18, 33, 64])
def test_draw_follows_the_distribution_and_never_takes_an_action_of_probability_zero(actions):
    for probabilities in distributions(actions):
        p = probabilities.astype(np.float32)
        drawn = np.asarray(draw_many(uniforms(p), p))
        assert drawn.dtype == np.int32
        counts = np.bincount(drawn, minlength=actions)
        assert counts.size == actions
        assert (counts[p == 0] == 0).all()
        # The grid is stratified: each action's share is its probability up to two cells and the sums' rounding.
        share = np.bincount(drawn[:GRID], minlength=actions) / GRID
        np.testing.assert_allclose(share, probabilities, atol=2 / GRID + 4e-6)


def test_some_normalised_distributions_do_add_up_below_one():
    # Otherwise the test above would reach the branch for it only where the sum is short by construction.
    normalised = [p for n in (3, 7, 33, 64) for p in distributions(n) if abs(p.sum() - 1) < 1e-12]
    sums = [float(jnp.cumsum(p.astype(np.float32))[-1]) for p in normalised]
    assert min(sums) < 1 < max(sums)


def test_draw_takes_the_last_possible_action_where_the_sums_stay_below():
    p = jnp.array([0.0, 0.5, 0.25, 0.0, 0.0])  # short of 1 by far, as no rounding is
    assert [int(draw(jnp.float32(u), p)) for u in (0, 0.49, 0.5, 0.74, 0.75, LARGEST)] == [1, 1, 2, 2, 2, 2]


@pytest.mark.parametrize("actions", [2, 5, 64])
def test_draw_is_exact_where_the_sums_are(actions):
    # Multiples of 2**-10 add up without rounding in any order: NumPy's search is then the definition.
    rng = np.random.default_rng(actions)
    p = (rng.multinomial(2**10, rng.dirichlet(np.ones(actions))) / 2**10).astype(np.float32)
    u = uniforms(p)
    expected = np.searchsorted(np.cumsum(p), u, side="right")
    np.testing.assert_array_equal(draw_many(u, p), expected)


@pytest.mark.parametrize("actions", [2, 7, 64])
def test_frequencies_agree_with_the_policy(actions):
    q = jnp.array(values(1, actions)[0])
    p = np.asarray(qjax.epsilon_greedy(0.3, qjax.boltzmann(0.7))(q, START))
    u = jax.random.uniform(jax.random.key(actions), (GRID,))
    counts = np.bincount(draw_many(u, p), minlength=actions)
    expected = GRID * p.astype(np.float64) / p.sum(dtype=np.float64)
    assert stats.chisquare(counts, expected).pvalue > 1e-3


# Schedules ---------------------------------------------------------------------------------------------------


def test_constant():
    for value in (0.25, 3, np.float64(0.5)):
        found = schedules.constant(value)(at(step=1e6))
        assert found.dtype == jnp.float32
        assert found == value


@pytest.mark.parametrize("unit", ["step", "episode", "update"])
@pytest.mark.parametrize(("start", "end"), [(1.0, 0.05), (0.0, 2.0), (0.3, 0.3)])
def test_linear(start, end, unit):
    schedule = schedules.linear(start, end, 200, unit=unit)
    for n in (0, 1, 50, 199, 200, 201, 10**6):
        # Other units run ahead: only the named one may count.
        time = at(step=7e6, episode=7_000_000, update=7e6)._replace(**{unit: n})
        np.testing.assert_allclose(schedule(time), np.interp(n, [0, 200], [start, end]), rtol=1e-6)


@pytest.mark.parametrize("unit", ["step", "episode", "update"])
@pytest.mark.parametrize(("start", "factor", "end"), [(1.0, 0.99, 0.01), (0.5, 0.9, 0.0), (1.0, 1.0, 0.1)])
def test_geometric(start, factor, end, unit):
    schedule = schedules.geometric(start, factor, end, unit=unit)
    for n in (0, 1, 2, 10, 100, 1000, 10**6):
        time = at(step=7e6, episode=7_000_000, update=7e6)._replace(**{unit: n})
        np.testing.assert_allclose(schedule(time), max(end, start * factor**n), rtol=1e-4, atol=1e-12)


def test_geometric_counts_episodes_and_linear_steps_by_default():
    assert schedules.geometric(1.0, 0.5, 0.0)(at(step=9, episode=2, update=9)) == 0.25
    assert schedules.linear(1.0, 0.0, 4)(at(step=1, episode=9, update=9)) == 0.75


def test_geometric_with_factor_zero_starts_at_its_start():
    schedule = schedules.geometric(0.5, 0.0, 0.125)
    assert [float(schedule(at(episode=n))) for n in (0, 1, 2)] == [0.5, 0.125, 0.125]


@pytest.mark.parametrize("num_envs", [1, 2, 8])
def test_ladder(num_envs):
    # Horgan et al. 2018: base 0.4 and exponent 7; a single environment stands on the first rung.
    found = [float(schedules.ladder(num_envs)(at(env=i))) for i in range(num_envs)]
    expected = [0.4 ** (1 + 7 * i / max(num_envs - 1, 1)) for i in range(num_envs)]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("unit", ["step", "episode", "update"])
def test_of_reads_an_optax_schedule_in_its_unit(unit):
    theirs = optax.warmup_cosine_decay_schedule(0.1, 1.0, 50, 400)
    ours = schedules.from_optax(theirs, unit=unit)
    for n in (0, 30, 50, 200, 1000):
        time = at(step=7e6, episode=7_000_000, update=7e6)._replace(**{unit: jnp.float32(n)})
        found = ours(time)
        assert found.dtype == jnp.float32
        np.testing.assert_allclose(found, theirs(n), rtol=1e-6)


def test_of_makes_the_policy_that_optax_schedules():
    policy = qjax.epsilon_greedy(schedules.from_optax(optax.linear_schedule(1.0, 0.1, 100)))
    np.testing.assert_allclose(policy(jnp.array([0.0, 1.0]), at(50))[0], 0.55 / 2, rtol=1e-6)


def test_as_schedule():
    given = schedules.linear(1.0, 0.1, 10)
    assert schedules.as_schedule("epsilon", given, 0, 1) is given
    assert schedules.as_schedule("epsilon", 0.5, 0, 1)(at(123)) == 0.5


POINTS = [0.0, 1.0, 33.0, 100.0, 1e6]
ENDS = np.array([[1.0, 0.05, 100.0], [0.5, 0.5, 7.0], [0.2, 0.9, 1e4]], np.float32)


@pytest.mark.parametrize(
    "make",
    [
        schedules.linear,
        lambda a, b, n: schedules.geometric(a, b, a / 8, unit="step"),
        lambda a, b, n: schedules.ladder(4, base=b, exponent=a),
        lambda a, b, n: schedules.as_schedule("value", a, 0, 1),
    ],
    ids=["linear", "geometric", "ladder", "number"],
)
def test_traced_ends_give_the_values_of_concrete_ones(make):
    def curve(ends):
        return jnp.stack([make(*ends)(at(step, env=2)) for step in POINTS])

    concrete = [[float(make(*map(float, ends))(at(step, env=2))) for step in POINTS] for ends in ENDS]
    np.testing.assert_allclose(jax.jit(jax.vmap(curve))(ENDS), concrete, rtol=2e-5)


def test_a_traced_epsilon_is_not_refused_under_vmap():
    # A sweep checks its settings on the host; inside the program they are traced and must pass, as must schedules.
    q = jnp.array([0.0, 1.0])
    epsilons = jnp.array([0.0, 0.5, 1.5])
    expected = np.stack([epsilons / 2, 1 - epsilons / 2], axis=1)
    of_number = jax.jit(jax.vmap(lambda e: qjax.epsilon_greedy(e)(q, START)))
    of_schedule = jax.jit(jax.vmap(lambda e: qjax.epsilon_greedy(schedules.linear(e, 0.0, 10))(q, START)))
    np.testing.assert_allclose(of_number(epsilons), expected)
    np.testing.assert_allclose(of_schedule(epsilons), expected)


def test_temperatures_and_ladders_are_swept_in_one_program():
    chex.clear_trace_counter()

    @jax.jit
    @chex.assert_max_traces(n=1)
    def sweep(temperatures, bases, exponents):
        def one(temperature, base, exponent):
            policy = qjax.epsilon_greedy(schedules.ladder(3, base, exponent), base=qjax.boltzmann(temperature))
            return policy(jnp.array([0.0, 1.0]), at(env=1))

        return jax.vmap(one)(temperatures, bases, exponents)

    for scale in (1.0, 2.0):  # the second time without a trace
        temperatures, bases, exponents = np.array([[0.5, 1.0, 4.0], [0.1, 0.4, 0.5], [0.0, 3.0, 7.0]]) * scale
        epsilon = bases[:, None] ** (1 + exponents[:, None] / 2)
        expected = epsilon / 2 + (1 - epsilon) * special.softmax(np.array([0, 1]) / temperatures[:, None], axis=-1)
        found = sweep(*(jnp.asarray(x, jnp.float32) for x in (temperatures, bases, exponents)))
        np.testing.assert_allclose(found, expected, rtol=1e-5)


# Bad input ---------------------------------------------------------------------------------------------------


OUTSIDE = [(1.5, "1.5"), (-0.25, "-0.25"), (float("nan"), "nan"), (2, "2")]


@pytest.mark.parametrize(("value", "named"), OUTSIDE)
def test_epsilon_outside_the_unit_interval(value, named):
    with pytest.raises(ValueError, match=rf"epsilon must lie in \[0, 1\], got {named}"):
        qjax.epsilon_greedy(value)


@pytest.mark.parametrize("value", [None, "0.1", {}])
def test_epsilon_is_a_number(value):
    with pytest.raises(TypeError, match=f"epsilon must be a number, got {value!r}"):
        qjax.epsilon_greedy(value)


def test_epsilon_is_one_number():
    with pytest.raises(TypeError, match=r"epsilon must be one number, got float64\[2\]"):
        qjax.epsilon_greedy(np.array([0.1, 0.5]))


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        (schedules.linear(1.5, 0.5, 100), r"epsilon at the start of its schedule .*\[0, 1\], got 1.5"),
        (schedules.linear(1.0, -0.5, 100), r"epsilon at the end of its schedule .*\[0, 1\], got -0.5"),
        (schedules.linear(1.0, -0.5, 100, unit="episode"), r"epsilon at the end of its schedule .*got -0.5"),
        (schedules.linear(1.0, -0.5, 100, unit="update"), r"epsilon at the end of its schedule .*got -0.5"),
        (schedules.geometric(1.0, 0.5, 1.25), r"epsilon at the start of its schedule .*got 1.25"),
        (
            schedules.from_optax(optax.linear_schedule(0.5, 2.0, 100)),
            r"epsilon at the end of its schedule .*got 2.0",
        ),
    ],
)
def test_a_schedule_is_checked_at_both_ends(schedule, message):
    with pytest.raises(ValueError, match=message):
        qjax.epsilon_greedy(schedule)


@pytest.mark.parametrize(("value", "named"), [(0, "0"), (0.0, "0.0"), (-0.5, "-0.5"), (float("nan"), "nan")])
def test_a_temperature_must_be_positive(value, named):
    with pytest.raises(ValueError, match=rf"temperature must lie in \(0, inf\), got {named}$"):
        qjax.boltzmann(value)


def test_a_temperature_must_stay_positive():
    with pytest.raises(ValueError, match=r"temperature at the end of its schedule .* got 0.0$"):
        qjax.boltzmann(schedules.linear(1.0, 0.0, 100))


@pytest.mark.parametrize("unit", ["steps", "env", "", "Step"])
@pytest.mark.parametrize(
    "make",
    [
        lambda unit: schedules.linear(1.0, 0.1, 10, unit=unit),
        lambda unit: schedules.geometric(1.0, 0.9, 0.1, unit=unit),
        lambda unit: schedules.from_optax(optax.constant_schedule(0.1), unit=unit),
    ],
    ids=["linear", "geometric", "from_optax"],
)
def test_an_unknown_unit_is_named_with_the_known_ones(make, unit):
    with pytest.raises(ValueError, match=f"unit must be one of step, episode, update, got '{unit}'"):
        make(unit)


@pytest.mark.parametrize(("duration", "named"), [(0, "0"), (-5, "-5"), (-0.5, "-0.5"), (float("nan"), "nan")])
def test_a_duration_must_be_positive(duration, named):
    with pytest.raises(ValueError, match=rf"duration must lie in \(0, inf\), got {named}$"):
        schedules.linear(1.0, 0.1, duration)


@pytest.mark.parametrize(("factor", "named"), [(1.5, "1.5"), (-0.5, "-0.5"), (float("nan"), "nan")])
def test_a_factor_lies_in_the_unit_interval(factor, named):
    with pytest.raises(ValueError, match=rf"factor must lie in \[0, 1\], got {named}$"):
        schedules.geometric(1.0, factor, 0.1)


@pytest.mark.parametrize(
    ("size", "error"), [(0, ValueError), (-2, ValueError), (2.5, TypeError), (True, TypeError)]
)
def test_a_ladder_needs_a_whole_number_of_environments(size, error, monkeypatch):
    # Without the suite's type checker, which would answer before the function's own message.
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(error, match=rf"num_envs must be .*got {size}$"):
        schedules.ladder(size)


@pytest.mark.parametrize("num_envs", [3, 4, 5])
def test_a_ladder_of_another_length(num_envs):
    """A rung outside the ladder, or one that nobody stands on, would not be noticed."""
    lake = qjax.make("FrozenLake-v1")
    policy = qjax.epsilon_greedy(schedules.ladder(4))
    acting = qjax.make_loop(lake, qjax.tabular(16, 4, 0.1), policy, qjax.online(), gamma=0.9, num_envs=num_envs)
    target_policy = qjax.expected(policy)
    learning = qjax.make_loop(
        lake,
        qjax.tabular(16, 4, 0.1, target_policy=target_policy),
        qjax.greedy,
        qjax.online(),
        gamma=0.9,
        num_envs=num_envs,
    )
    for loop in (acting, learning):
        if num_envs == 4:
            jax.eval_shape(loop.init, jax.random.key(0))
        else:
            with pytest.raises(ValueError, match=f"a ladder of 4 environments in a loop with {num_envs}"):
                jax.eval_shape(loop.init, jax.random.key(0))


@pytest.mark.parametrize(
    ("rung", "message"),
    [
        ({"base": 0.0}, r"ladder's base must lie in \(0, 1\], got 0.0$"),
        ({"base": 1.5}, r"ladder's base must lie in \(0, 1\], got 1.5$"),
        ({"exponent": -0.5}, r"ladder's exponent must lie in \[0, inf\), got -0.5$"),
        ({"exponent": float("nan")}, r"ladder's exponent must lie in \[0, inf\), got nan$"),
    ],
)
def test_a_ladder_stays_within_the_unit_interval(rung, message):
    with pytest.raises(ValueError, match=message):
        schedules.ladder(4, **rung)


def test_the_largest_is_found_of_values_that_are_computed_twice():
    """With few optimisations the compiler computes h^-1 for each side of a comparison, with other roundings."""
    out = jax.random.normal(jax.random.key(0), (100, 3))
    inverse = qjax.signed_hyperbolic().inverse
    found = jax.jit(jax.vmap(lambda x: qjax.greedy(inverse(x))))(out)
    np.testing.assert_array_equal(found, np.eye(3)[out.argmax(-1)])
