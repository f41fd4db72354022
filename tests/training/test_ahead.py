"""What is drawn ahead is what would have been drawn, also where JAX is not as expected and nothing is drawn ahead.

With one step and one update, no draw is left in the loop.
"""

import functools
import warnings
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import probes
import pytest

import qjax
from qjax.training import ahead, cut


def equations(closed):
    """Yield every equation of a jaxpr, inner ones too."""
    for equation in getattr(closed, "jaxpr", closed).eqns:
        yield equation
        for inner in jax.tree.leaves(list(equation.params.values()), is_leaf=lambda x: hasattr(x, "eqns")):
            if hasattr(inner, "eqns") or hasattr(inner, "jaxpr"):
                yield from equations(inner)


def primitives(closed):
    return [equation.primitive.name for equation in equations(closed)]


def function(early, late):
    key, scale = early
    first, second, third = jax.random.split(key, 3)
    drawn = scale * jax.random.uniform(first, (3,)) + late["x"]
    folded = jax.random.fold_in(second, late["n"])  # depends on the late argument: not ahead
    inner = jax.jit(lambda key, x: (jax.random.randint(key, (), 0, 100) + x, jax.random.split(key)[1]))
    number, deeper = inner(third, late["n"])
    return {"drawn": drawn, "folded": jax.random.normal(folded), "inner": number, "last": jax.random.bits(deeper)}


EARLY = (jax.random.key(3), jnp.float32(2))
LATE = {"x": jnp.arange(3.0), "n": jnp.int32(7)}


@pytest.mark.parametrize("key", [jax.random.key(3), qjax.fast_key(3)])
def test_the_same_numbers(key):
    early = (key, EARLY[1])
    halves = cut.cut(function, early, LATE)
    found = jax.jit(lambda early: halves.use(halves.draw(early), early, LATE))(early)
    jax.tree.map(np.testing.assert_array_equal, found, jax.jit(function)(early, LATE))


def test_what_depends_on_the_late_argument_is_drawn_late():
    halves = cut.cut(function, EARLY, LATE)
    numbers = jax.eval_shape(halves.draw, EARLY)
    assert [x.shape for x in numbers] == [(3,), (), ()]  # uniform, randint, the last word
    late = jax.make_jaxpr(halves.use)(numbers, EARLY, LATE)
    assert primitives(late).count("random_bits") == 1
    assert primitives(jax.make_jaxpr(function)(EARLY, LATE)).count("random_bits") == 5


def test_what_is_drawn_reaches_the_result():
    halves = cut.cut(function, EARLY, LATE)
    other = [x + 1 for x in halves.draw(EARLY)]
    found, true = halves.use(other, EARLY, LATE), function(EARLY, LATE)
    assert (found["drawn"] != true["drawn"]).all() and found["inner"] != true["inner"]
    np.testing.assert_array_equal(found["folded"], true["folded"])


def test_under_vmap_and_with_traced_constants():
    @jax.jit
    def run(factor, keys):
        def scaled(early, late):
            return factor * jax.random.uniform(early) + late

        halves = cut.cut(scaled, jax.random.key(0), jnp.float32(0))
        numbers = jax.vmap(halves.draw)(keys)
        return jax.vmap(lambda n, key: halves.use(n, key, jnp.float32(1)))(numbers, keys)

    keys = jax.random.split(jax.random.key(1), 5)
    np.testing.assert_allclose(run(3.0, keys), 3 * jax.vmap(jax.random.uniform)(keys) + 1, rtol=1e-6)


def test_without_randomness_nothing_is_drawn():
    halves = cut.cut(lambda early, late: late + 1, jax.random.key(0), jnp.int32(1))
    assert halves.draw(jax.random.key(0)) == []
    assert halves.use([], jax.random.key(0), jnp.int32(1)) == 2


def ran(loop, lane, iterations):
    return jax.jit(lambda lane: loop.run(lane, qjax.clock.at(0), iterations))(lane)


def step_by_step(loop, lane, iterations):
    """Run a loop by its public functions, which draw as they go."""

    @jax.jit
    def once(lane, clock):
        lane = loop.learn(loop.step(lane, clock), clock)
        return lane._replace(agent=loop.agent.sync(lane.key, lane.agent, qjax.Time(1, 0, 1)))

    for number in range(iterations):
        lane = once(lane, qjax.clock.at(number * loop.rollout))
    return lane


def lake():
    """Return a loop in which all draws, never traced yet, its first lane, and that lane 12 iterations later."""
    return on_a_lake(), *known()


@functools.cache
def known():
    loop = on_a_lake()
    start = jax.jit(loop.init)(jax.random.key(2))
    return start, step_by_step(loop, start, 12)


def on_a_lake():
    env = qjax.make("FrozenLake-v1", is_slippery=True)
    agent = qjax.tabular(env.num_states, env.num_actions, 0.1, target_policy=qjax.sampled(qjax.greedy))
    return qjax.make_loop(env, agent, qjax.epsilon_greedy(0.5), qjax.online(), gamma=0.99, num_envs=3, rollout=2)


def check_same(found, slow):
    np.testing.assert_array_equal(jax.random.key_data(found.key), jax.random.key_data(slow.key))
    for name in ("env", "obs", "memory", "episodes", "episode_length"):
        jax.tree.map(np.testing.assert_array_equal, getattr(found, name), getattr(slow, name))
    np.testing.assert_allclose(found.agent, slow.agent, rtol=1e-6)


def test_a_loop_runs_the_same_however_many_iterations_are_drawn_ahead(monkeypatch):
    for size in (1, 4, 64):
        loop, start, slow = lake()
        monkeypatch.setattr(ahead, "AHEAD_ITERATIONS", size)
        check_same(ran(loop, start, 12), slow)


def without(*names, **others):
    """Return what `cut` reads of JAX's jaxprs, some of it gone and some of it another thing."""
    return SimpleNamespace(**{name: x for name, x in vars(jax.extend.core).items() if name not in names} | others)


BROKEN = {
    "a function is gone": ("core", without("jaxpr_as_fun")),
    "a class has another signature": ("core", without(ClosedJaxpr=lambda jaxpr: jaxpr)),
    "literals are of another kind": ("core", without(Literal=int)),
    "equations give another number of values": ("_apply", lambda jaxpr, equation, values: [values[0]] * 2),
    "draws come in another shape": ("_apply", lambda jaxpr, equation, values: [jnp.zeros(7, jnp.uint32)]),
}


@pytest.mark.parametrize("name", BROKEN)
def test_where_jaxprs_are_not_as_expected_iterations_run_plainly(name, monkeypatch):
    loop, start, slow = lake()
    monkeypatch.setattr(cut, *BROKEN[name])
    with pytest.warns(UserWarning, match=rf"not drawn ahead, which is slower: jax {jax.__version__} .*Error: "):
        check_same(ran(loop, start, 12), slow)


def test_where_draws_have_another_name_none_is_drawn_ahead(monkeypatch):
    loop, start, slow = lake()
    monkeypatch.setattr(cut, "DRAW", "random_words")
    check_same(ran(loop, start, 12), slow)


@pytest.mark.parametrize("sync_every", [1, 4])
def test_the_plain_path_has_the_same_numbers_in_a_network(sync_every, monkeypatch):
    network = qjax.MLP(2, (4,))
    agent = qjax.dqn(network, optax.sgd(0.1), target=qjax.periodic(8))
    env, policy = qjax.make("CartPole-v1"), qjax.epsilon_greedy(0.5)
    loop, again = (
        qjax.make_loop(env, agent, policy, qjax.ring(32, 4), gamma=0.9, num_envs=2, sync_every=sync_every)
        for _ in range(2)
    )
    start = jax.jit(loop.init)(jax.random.key(2))
    found = ran(loop, start, 8)
    monkeypatch.setattr(cut, "core", without("jaxpr_as_fun"))
    with pytest.warns(UserWarning, match="not drawn ahead"):
        plain = ran(again, start, 8)
    kept = [lane._replace(key=jax.random.key_data(lane.key)) for lane in (found, plain)]
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), *kept)
    np.testing.assert_array_equal(found.memory.unpacked().action, plain.memory.unpacked().action)


def test_an_error_of_the_iteration_itself_is_no_fault_of_jax():
    _, start, _ = lake()

    def other(lane, clock, key):
        return lane._replace(obs=jnp.zeros(1))

    with warnings.catch_warnings(action="error"), pytest.raises(TypeError, match="carry"):
        ahead.repeated(other, start.key, 1, 12, start)(start, qjax.clock.at(0))

    def refuses(lane, clock, key):
        raise KeyError("an environment's own")

    with pytest.raises(KeyError, match="an environment's own"):
        ahead.repeated(refuses, start.key, 1, 12, start)


@pytest.mark.parametrize("name", ["FrozenLake-v1", "CartPole-v1"])
def test_nothing_is_drawn_in_the_hot_loop(name):
    env = qjax.make(name)
    if env.num_states:
        agent, memory = qjax.tabular(env.num_states, env.num_actions, 0.1), qjax.online()
    else:
        network = qjax.encoded(qjax.MLP(env.num_actions, (8,)), env.encode)
        agent, memory = qjax.dqn(network, optax.sgd(0.1)), qjax.ring(32, 4)
    loop = qjax.make_loop(env, agent, qjax.epsilon_greedy(0.1), memory, gamma=0.99, num_envs=2, sync_every=4)
    lane = jax.eval_shape(loop.init, jax.random.key(0))
    program = jax.make_jaxpr(lambda lane: loop.run(lane, qjax.clock.at(0), 16))(lane)
    scans = [e for e in equations(program) if e.primitive.name == "scan" and e.params["length"] == 4]
    assert any("random_bits" not in primitives(e.params["jaxpr"]) for e in scans)
    assert "random_bits" in primitives(program)


def test_an_environment_may_keep_a_key():
    """Its state holds a key of the kind that it was reset with, and draws from it."""

    walk = probes.Walk()

    class Keeper:
        action_space, observation_space = walk.action_space, walk.observation_space
        default_params = walk.default_params

        def reset(self, key, params):
            obs, state = walk.reset(key, params)
            return obs, (state, key)

        def step(self, key, state, action, params):
            inner, own = state
            obs, inner, *rest = walk.step(key, inner, action, params)
            return obs, (inner, jnp.where(jax.random.bernoulli(own), key, own)), *rest

    env = qjax.make(Keeper())
    agent = qjax.tabular(env.num_states, 2, 0.1)
    loop = qjax.make_loop(env, agent, qjax.epsilon_greedy(0.5), qjax.online(), gamma=0.9, num_envs=2)
    for key in (jax.random.key(0), qjax.fast_key(0)):
        start = jax.jit(loop.init)(key)
        found, slow = ran(loop, start, 8), step_by_step(loop, start, 8)
        np.testing.assert_array_equal(jax.random.key_data(found.env[1]), jax.random.key_data(slow.env[1]))
        np.testing.assert_array_equal(found.obs, slow.obs)
