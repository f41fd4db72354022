"""Exact solutions against SciPy in float64, on random MDPs; known values; tables held against them."""

import jax
import jax.extend
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
import scipy.linalg
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st

import qjax
from qjax.mdp import arrays as mdp
from qjax.mdp import examples, solve

SHAPES = [(1, 1, 1), (6, 3, 2), (15, 2, 4)]
GAMMAS = [0.0, 0.5, 0.9, 0.99]


def random_mdp(rng, shape, termination):
    """Rewards everywhere, outcomes of probability 0, and successors that coincide."""
    states = shape[0]
    probability = rng.random(shape) * (rng.random(shape) < 0.7)
    probability[..., 0] += probability.sum(-1) == 0
    return mdp.from_outcomes(
        rng.integers(0, states, shape),
        probability / probability.sum(-1, keepdims=True),
        rng.normal(size=shape) * 10,
        rng.random(shape) < termination,
        rng.dirichlet(np.ones(states)),
    )


def problems(gammas=tuple(GAMMAS)):
    """What a `problem` is made from: outside of the strategy, as what is drawn there should be plain."""
    sampled = (st.sampled_from(values) for values in (SHAPES, [0.0, 0.1, 0.5], gammas))
    return st.tuples(st.integers(0, 2**31), *sampled)


def problem(seed, shape, termination, gamma):
    """Return a random MDP, a random policy with zeros, and gamma."""
    rng = np.random.default_rng(seed)
    policy = rng.random(shape[:2]) * (rng.random(shape[:2]) < 0.7)
    policy[:, 0] += policy.sum(-1) == 0
    policy = jnp.asarray(policy / policy.sum(-1, keepdims=True), jnp.float32)
    return random_mdp(rng, shape, termination), policy, gamma


def system(model, policy):
    """A policy's transition matrix without what terminates, and its rewards, entry by entry in float64."""
    successor, probability, reward, terminated, _ = (np.asarray(x, np.float64) for x in model)
    states = len(successor)
    step, earned = np.zeros((states, states)), np.zeros(states)
    for s, a, k in np.ndindex(successor.shape):
        weight = float(policy[s, a]) * probability[s, a, k]
        earned[s] += weight * reward[s, a, k]
        step[s, int(successor[s, a, k])] += weight * (1 - terminated[s, a, k])
    return step, earned


def values_of(model, policy, gamma):
    step, earned = system(model, policy)
    return scipy.linalg.solve(np.eye(len(step)) - gamma * step, earned)


def backup_of(model, values, gamma):
    successor, probability, reward, terminated, _ = (np.asarray(x, np.float64) for x in model)
    return (probability * (reward + gamma * (1 - terminated) * values[successor.astype(int)])).sum(-1)


def optimal_of(model, gamma):
    """Policy iteration in float64, with SciPy's solver."""
    states, actions, _ = model.successor.shape
    action = np.asarray(mdp.steps_to_end(model)).argmin(-1)
    # Three float32 thirds make more than 1, so that without a discount there would be no best way to go round.
    p = np.asarray(model.probability, np.float64)
    model = model._replace(probability=p / p.sum(-1, keepdims=True))
    for _ in range(100):
        q = backup_of(model, values_of(model, np.eye(actions)[action], gamma), gamma)
        better = q.max(-1) > q[np.arange(states), action] + 1e-10 * np.abs(q).max()
        if not better.any():
            return q
        action = np.where(better, q.argmax(-1), action)
    raise AssertionError("the reference goes round")


def close(found, expected, gamma, roundings=40):
    """Check to float32 roundings of the largest value, divided by 1 - gamma."""
    tolerance = roundings * 2.0**-24 * max(np.abs(expected).max(), 1e-30) / (1 - gamma)
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)


# Against SciPy --------------------------------------------------------------------------------------------------


@given(problems())
@settings(max_examples=25, deadline=None)
def test_policies_against_scipy(drawn):
    model, policy, gamma = problem(*drawn)
    expected = values_of(model, policy, gamma)
    close(solve.policy_values(model, policy, gamma), expected, gamma)
    close(solve.policy_evaluation(model, policy, gamma), expected, gamma)
    close(solve.action_values(model, policy, gamma), backup_of(model, expected, gamma), gamma)


@given(problems())
@settings(max_examples=25, deadline=None)
def test_visits_against_scipy(drawn):
    model, policy, gamma = problem(*drawn)
    step, _ = system(model, policy)
    sparse = scipy.sparse.csc_matrix(np.eye(len(step)) - gamma * step.T)
    expected = np.atleast_1d(scipy.sparse.linalg.spsolve(sparse, np.asarray(model.start, np.float64)))
    found = solve.visits(model, policy, gamma)
    close(found, expected, gamma)
    # What a policy is worth is what its visits earn.
    assert float(found @ (policy * solve.backup(model, jnp.zeros(len(step)), 0.0)).sum(-1)) == pytest.approx(
        np.asarray(model.start, np.float64) @ values_of(model, policy, gamma), abs=1e-3 / (1 - gamma)
    )


@given(problems())
@settings(max_examples=25, deadline=None)
def test_optimal_values_against_scipy(drawn):
    model, _, gamma = problem(*drawn)
    expected = optimal_of(model, gamma)
    close(solve.value_iteration(model, gamma), expected, gamma)
    close(solve.policy_iteration(model, gamma), expected, gamma)


@pytest.mark.parametrize("name", ["CliffWalkingSlippery-v1", "Taxi-v4"])
def test_undiscounted_episodes_against_scipy(name):
    model = examples.toy_text(name).default_params.mdp
    uniform = jnp.full(model.successor.shape[:2], 1 / model.successor.shape[1])
    expected = values_of(model, uniform, 1.0)
    steps = values_of(model._replace(reward=np.ones(model.reward.shape)), uniform, 1.0).max()  # to the end
    close(solve.policy_values(model, uniform, 1.0), expected, 1 - 1 / steps, roundings=4)
    best = optimal_of(model, 1.0)
    for found in (solve.value_iteration(model, 1.0), solve.policy_iteration(model, 1.0)):
        np.testing.assert_allclose(found, best, atol=1e-5 * np.abs(best).max())


def test_expected_and_best_return_against_slow_recursions():
    rng = np.random.default_rng(3)
    model = random_mdp(rng, (12, 3, 4), 0.1)
    policy = rng.dirichlet(np.ones(3), 12).astype(np.float32)
    step, reward = system(model, policy)
    mass, total = np.asarray(model.start, np.float64), 0.0
    values = np.zeros(12)
    for _ in range(25):
        total += mass @ reward
        mass = mass @ step
        values = backup_of(model, values, 1.0).max(-1)
    assert float(solve.expected_return(model, jnp.asarray(policy), 25)) == pytest.approx(total, abs=1e-4)
    best = float(np.asarray(model.start, np.float64) @ values)
    assert float(solve.best_return(model, 25)) == pytest.approx(best, abs=1e-3)


# Many at once ---------------------------------------------------------------------------------------------------


def test_many_mdps_are_solved_as_one_by_one():
    rng = np.random.default_rng(0)
    models = jax.tree.map(lambda *x: jnp.stack(x), *(random_mdp(rng, (6, 3, 2), 0.2) for _ in range(7)))
    policy = jnp.full((6, 3), 1 / 3)
    gammas = jnp.linspace(0.3, 0.95, 7)
    solvers = [
        solve.value_iteration,
        solve.policy_iteration,
        lambda m, g: solve.action_values(m, policy, g),
        lambda m, g: solve.policy_evaluation(m, policy, g),
        lambda m, g: solve.visits(m, policy, g),
        lambda m, g: solve.report(solve.exact(m, g), m, policy, g)["regret"],
    ]
    together = jax.jit(jax.vmap(lambda m, g: [solver(m, g) for solver in solvers]))(models, gammas)
    for i in range(7):
        model = jax.tree.map(lambda x, i=i: x[i], models)
        for solver, found in zip(solvers, together, strict=True):
            np.testing.assert_allclose(found[i], solver(model, gammas[i]), atol=1e-4 / (1 - gammas[i]))


def test_no_dense_matrix_where_states_are_many():
    shape = (1_000_000, 2, 2)
    like = lambda dtype, *shape: jax.ShapeDtypeStruct(shape, dtype)
    model = mdp.TabularMDP(
        *(like(dtype, *shape) for dtype in (jnp.int32, jnp.float32, jnp.float32, bool)),
        like(jnp.float32, shape[0]),
    )

    def everything(model, table):
        exact = solve.exact(model, 1.0)
        return solve.report(exact, model, table, 1.0), solve.policy_evaluation(model, table, 0.9)

    jaxpr = jax.make_jaxpr(everything)(model, like(jnp.float32, *shape[:2]))
    largest = max(
        int(np.prod(v.aval.shape))
        for eqn in equations(jaxpr.jaxpr)
        for v in eqn.outvars
        if hasattr(v.aval, "shape")
    )
    assert largest <= np.prod(shape)


def equations(jaxpr):
    for eqn in jaxpr.eqns:
        yield eqn
        for inner in jax.extend.core.jaxprs_in_params(eqn.params):
            yield from equations(inner)


# Known values ---------------------------------------------------------------------------------------------------


def lake(name="FrozenLake-v1", **kwargs):
    env = qjax.make(name, **kwargs)
    return env, examples.frozen_lake(env)


@pytest.mark.parametrize(
    ("name", "slippery", "best"),
    [("FrozenLake-v1", True, 0.744), ("FrozenLake8x8-v1", True, 0.913), ("FrozenLake-v1", False, 1)],
)
def test_the_best_success_probability_within_the_limit(name, slippery, best):
    env, model = lake(name, is_slippery=slippery)
    assert float(solve.best_return(model, int(env.max_steps))) == pytest.approx(best, abs=1e-3)


def test_the_lake_without_a_limit():
    # The 4x4 lake's best success probability is 14/17, whatever the time it takes; 0.99 per step: 0.5420.
    _, model = lake()
    for solver in (solve.value_iteration, solve.policy_iteration):
        assert float(solver(model, 1.0)[0].max()) == pytest.approx(14 / 17, abs=1e-4)
        assert float(solver(model, 0.99)[0].max()) == pytest.approx(0.54203, abs=1e-5)
    # Six steps lead over the ice that is not slippery, the last one paid.
    assert float(solve.value_iteration(lake(is_slippery=False)[1], 0.9)[0].max()) == pytest.approx(0.9**5)


def test_expected_return_is_what_episodes_give():
    env, model = lake()
    q = solve.value_iteration(model, 0.99)
    exact = float(solve.expected_return(model, jax.vmap(qjax.argmax)(q), int(env.max_steps)))
    agent = qjax.tabular(16, 4, 0.1)
    played = qjax.evaluate(env, agent, q, jax.random.key(0), episodes=4000, policy=qjax.argmax)
    mean = float(played.returns.mean())
    assert abs(mean - exact) < 4 * np.sqrt(exact * (1 - exact) / 4000)


def test_the_cliffs_shortest_path():
    # Thirteen steps along the edge (Sutton and Barto 2018, example 6.6), each state of them visited once.
    model = examples.toy_text("CliffWalking-v1").default_params.mdp
    found = solve.exact(model, 1.0)
    assert float(found.start_value) == -13
    edge = np.isin(np.arange(48), [36, *range(24, 36)])
    np.testing.assert_allclose(found.weights, edge / 13, atol=1e-6)
    # Acted in: neither the goal nor the cliff.
    assert np.flatnonzero(~np.asarray(found.acts)).tolist() == list(range(37, 48))


# A table held against the solution --------------------------------------------------------------------------------


def test_the_solution_itself_is_no_distance_away():
    for name in ("Taxi-v4", "CliffWalkingSlippery-v1"):
        model = examples.toy_text(name).default_params.mdp
        found = solve.exact(model, 0.9)
        report = solve.report(found, model, found.q, 0.9)
        assert float(found.weights.sum()) == pytest.approx(1)
        assert float(report["distance"]) == float(report["weighted_distance"]) == 0
        assert abs(float(report["regret"])) < 1e-4 * abs(float(found.start_value))


@given(problems(gammas=(0.5, 0.9)))
@settings(max_examples=10, deadline=None)
def test_reports_against_slow_ones(drawn):
    model, table, gamma = problem(*drawn)
    table = jnp.round(table * 3)  # with ties
    found = solve.exact(model, gamma)
    report = {name: float(x) for name, x in solve.report(found, model, table, gamma).items()}
    q = optimal_of(model, gamma)
    slack = 1e-4 * max(np.abs(q).max(), 1) / (1 - gamma)
    start = np.asarray(model.start, np.float64)

    def shared(x, near):
        best = x >= x.max(-1, keepdims=True) - near
        return best / best.sum(-1, keepdims=True)

    best = shared(q, 1e-9)
    step, _ = system(model, best)
    weights = np.linalg.solve(np.eye(len(step)) - gamma * step.T, start)
    weights /= weights.sum()
    assert report["distance"] == pytest.approx(np.abs(table - q).max(), abs=slack)  # every state is a first one
    root = np.sqrt(weights @ ((np.asarray(table) - q) ** 2).mean(-1))
    assert report["weighted_distance"] == pytest.approx(root, abs=slack)
    value = start @ values_of(model, shared(np.asarray(table), 0), gamma)
    assert report["greedy_start_value"] == pytest.approx(value, abs=slack)
    assert report["regret"] == pytest.approx(start @ q.max(-1) - value, abs=2 * slack)
    assert report["regret"] > -slack


def test_many_tables_are_reported_as_one_by_one():
    model = examples.toy_text("FrozenLake-v1").default_params.mdp
    found = solve.exact(model, 0.95)
    tables = jax.random.normal(jax.random.key(0), (20, 16, 4))
    together = jax.jit(jax.vmap(lambda table: solve.report(found, model, table, 0.95)))(tables)
    one = jax.jit(lambda table: solve.report(found, model, table, 0.95))
    for i in range(20):
        for name, x in one(tables[i]).items():
            assert float(together[name][i]) == pytest.approx(float(x), abs=1e-6)
    assert (together["regret"] > -1e-6).all() and len(set(map(float, together["regret"]))) > 5


def circles():
    """From 0, each action leads to its own way of never ending, paid on the way, or (the last one) to the end.

    1 pays nothing for ever; 2 pays -1 for ever; 3 pays +1 for ever; 4 and 5 alternate +1 and -1; 6 ends, paid 2.
    """
    after = [0, 1, 2, 3, 5, 4, 6]
    successor = np.broadcast_to(np.array(after)[:, None], (7, 5)).copy()
    successor[0] = [1, 2, 3, 4, 6]
    reward = np.broadcast_to(np.array([0.5, 0, -1, 1, 1, -1, 2])[:, None], (7, 5))
    ends = np.broadcast_to((np.arange(7) == 6)[:, None], (7, 5)).copy()
    ends[1:6, 4] = True  # so that an end is in reach, but for greedy policies that do not take it
    shape = (7, 5, 1)
    return mdp.from_outcomes(
        successor.reshape(shape), np.ones(shape), reward.reshape(shape), ends.reshape(shape), np.eye(7)[0]
    )


@pytest.mark.parametrize(
    ("action", "value"),
    [(0, 0.5), (1, -np.inf), (2, np.inf), (3, np.nan), (4, 2.5), ([0, 4], 1.5), ([0, 1], -np.inf)],
)
def test_undiscounted_policies_that_never_end(action, value):
    model = circles()
    table = jnp.zeros((7, 5)).at[:, 0].set(1.0)  # elsewhere: the first action, which goes round
    table = table.at[0].set(0.0).at[0, jnp.array(action)].set(1.0)
    nothing = solve.Exact(jnp.zeros((7, 5)), model.start, jnp.ones(7, bool), jnp.float32(3))
    report = jax.jit(lambda table, gamma: solve.report(nothing, model, table, gamma))
    found = report(table, 1.0)
    assert float(found["greedy_start_value"]) == pytest.approx(value, nan_ok=True)
    assert float(found["regret"]) == pytest.approx(3 - value, nan_ok=True)
    # A discounted sum is finite, and the same program takes it.
    policy = jax.vmap(qjax.greedy)(table)
    expected = values_of(model, policy, 0.5)[0]
    assert float(report(table, 0.5)["greedy_start_value"]) == pytest.approx(expected, abs=1e-5)
    assert float(solve.report(nothing, model, table, 0.5)["greedy_start_value"]) == pytest.approx(
        expected, abs=1e-5
    )


@given(st.integers(0, 2**31))
@settings(max_examples=40, deadline=None)
def test_what_is_visited_for_ever(seed):
    # A state is so if no end can be reached from it, and it can be from all that it reaches.
    rng = np.random.default_rng(seed)
    model = random_mdp(rng, (9, 2, 2), 0.05)
    policy = jnp.asarray(rng.random((9, 2)) < 0.6, jnp.float32)
    step, _ = system(model, policy)
    reach = np.linalg.matrix_power(np.eye(9) + (step > 0), 9) > 0
    ends = (np.asarray(mdp.possible(model, policy)) & np.asarray(model.terminated)).any((1, 2))
    expected = [
        not (reach[s] & ends).any() and all(reach[t, s] for t in np.flatnonzero(reach[s])) for s in range(9)
    ]
    np.testing.assert_array_equal(jax.jit(solve._forever)(model, policy), expected)


# Bad input ------------------------------------------------------------------------------------------------------


def trap():
    """0 may end or go to 1; from 1 only 1 can be reached, and 2 ends."""
    successor = np.array([[[0], [1]], [[1], [1]], [[2], [2]]])
    terminated = np.array([[[True], [False]], [[False], [False]], [[True], [True]]])
    return mdp.from_outcomes(successor, np.ones((3, 2, 1)), np.ones((3, 2, 1)), terminated, np.eye(3)[0])


def test_undiscounted_mdps_must_be_able_to_end():
    message = r"gamma = 1 needs episodes that end: no policy can reach a terminal outcome from state 1(\n|$)"
    model = trap()
    for solver in (solve.value_iteration, solve.policy_iteration, solve.exact):
        with pytest.raises(ValueError, match=message):
            solver(model, 1.0)
        with pytest.raises(ValueError, match=message):
            jax.jit(lambda solver=solver: solver(model, 1))()  # concrete arrays inside a traced function
        solver(model, 0.9)


def test_undiscounted_policies_must_be_able_to_end():
    model = examples.toy_text("CliffWalking-v1").default_params.mdp
    up = jax.nn.one_hot(jnp.zeros(48, jnp.int32), 4)
    message = r"the policy cannot reach a terminal outcome from state 0 \(and from 47 more\)"
    for solver in (solve.policy_values, solve.policy_evaluation, solve.action_values, solve.visits):
        with pytest.raises(ValueError, match=message):
            solver(model, up, 1.0)
        solver(model, up, 0.9)
        jax.jit(solver).lower(model, up, 1.0)  # traced values pass


def test_holes_are_fine_without_discount():
    _, model = lake()
    uniform = jnp.full((16, 4), 0.25)
    expected = values_of(model, uniform, 1.0)
    np.testing.assert_allclose(solve.policy_values(model, uniform, 1.0), expected, atol=1e-6)


def test_policies_and_tables_that_are_none(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # it would answer first
    model, half = trap(), jnp.full((3, 2), 0.5)
    wrong = {
        r"a policy of shape \[3, 3\] for an MDP with 3 states and 2 actions": jnp.full((3, 3), 1 / 3),
        "a policy's rows must sum to 1, got 0.75 at state 1$": half.at[1, 0].set(0.25),
        r"a policy's probabilities must not be negative, got -0.5 at state 2, action 0$": half.at[2].set(
            jnp.array([-0.5, 1.5])
        ),
    }
    solvers = [solve.policy_values, solve.policy_evaluation, solve.action_values, solve.visits]
    for message, policy in wrong.items():
        for solver in [*solvers, lambda m, p, _: solve.expected_return(m, p, 3)]:
            with pytest.raises(ValueError, match=message):
                solver(model, policy, 0.9)
    found = solve.exact(model, 0.9)
    with pytest.raises(ValueError, match=r"a table of shape \[2, 3, 2\] for an MDP with 3 states and 2 actions"):
        solve.report(found, model, jnp.zeros((2, 3, 2)), 0.9)
    with pytest.raises(ValueError, match=r"an exact solution of shape \[3, 2\] for an MDP with 7 states"):
        solve.report(found, circles(), jnp.zeros((7, 5)), 0.9)


def test_bad_numbers():
    model, policy = trap(), jnp.full((3, 2), 0.5)
    for solver in (solve.value_iteration, solve.policy_iteration, solve.exact):
        with pytest.raises(ValueError, match=r"gamma must lie in \[0, 1\], got 1.5"):
            solver(model, 1.5)
    for solver in (solve.policy_values, solve.policy_evaluation, solve.action_values, solve.visits):
        with pytest.raises(ValueError, match=r"gamma must lie in \[0, 1\], got -0.1"):
            solver(model, policy, -0.1)
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        solve.expected_return(model, policy, 0)
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        solve.best_return(model, 0)
    with pytest.raises(ValueError, match="max_iterations must be at least 1, got 0"):
        solve.value_iteration(model, 0.9, max_iterations=0)
