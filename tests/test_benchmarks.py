"""The benchmarks' baselines compute what they are compared with; kernels are counted as they are launched."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import qjax
from benchmarks import gpu
from benchmarks.baselines import plain_recurrent_pqn as plain
from benchmarks.contenders.sweeps import started
from benchmarks.kernels import launches, program
from qjax.agents.pqn import shuffled
from qjax.networks.recurrent import RecurrentParams
from qjax.types import Batch, Time, Transition

KEY = jax.random.key(0)


def as_recurrent_params(params):
    dense, norm, cell, output = (params["params"][x] for x in ("Dense_0", "LayerNorm_0", "Cell_0", "Dense_1"))
    parts = {"Dense_0": dense, "LayerNorm_0": norm}, cell["GRUCell_0"], {"Dense_0": output}
    return RecurrentParams(*({"params": each} for each in parts), width=dense["bias"].size)


def as_batch(carry, rows, after):
    following = jnp.concatenate([rows.obs[1:], after.obs[None]])  # wrong where one terminates: nothing may read it
    discount = plain.GAMMA * (1 - rows.terminated.astype(jnp.float32))
    data = Transition(rows.obs, rows.action, rows.reward, discount, following, rows.terminated)
    envs = jnp.arange(plain.ENVS)
    return Batch(data, jnp.ones(rows.reward.shape), envs, envs, carry.hidden)


def test_plain_recurrent_pqn_takes_the_steps_of_qjaxs():
    """From a second rollout, before which its actors remember something, and both with the default constants."""
    parts = qjax.algorithms.parts("recurrent-pqn", qjax.make("MemoryChain-bsuite"))
    agent, envs, rollout = parts.agent, parts.num_envs, parts.rollout
    steps = qjax.algorithms.config("recurrent-pqn").steps
    assert (envs, rollout, steps) == (plain.ENVS, plain.ROLLOUT, plain.TOTAL)
    _, _, order_key, _ = jax.random.split(KEY, 4)
    order = shuffled(order_key, plain.ENVS, "", plain.EPOCHS, plain.MINIBATCHES)

    @jax.jit
    def both(key):
        carry = plain.collect(plain.init(key))[0]
        after, rows, value = plain.collect(carry)
        # As qjax's actors, who begin anew in the tick in which an episode ends.
        carry = carry._replace(hidden=jnp.where(carry.begun[:, None], 0, carry.hidden))
        state = agent.init(KEY, carry.obs)._replace(params=as_recurrent_params(carry.params))
        found, _ = agent.learn(KEY, state, as_batch(carry, rows, after), Time(0, 0, 0, envs=plain.ENVS))
        expected, _ = plain.learn(carry.params, carry.opt_state, carry.hidden, rows, value, order)
        return found.params, as_recurrent_params(expected), state.params, rows.terminated, carry.begun

    found, expected, before, terminated, begun = both(KEY)
    assert terminated.any() and not begun.all()
    moved = jax.tree.map(lambda x, y: abs(x - y).max(), expected, before)
    assert all(x > 1e-4 for x in jax.tree.leaves(moved)), moved
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-3, atol=1e-6), found, expected)


PROGRAM = """
HloModule jit_run, is_scheduled=true

%add (x: f32[], y: f32[]) -> f32[] {
  %x = f32[] parameter(0)
  %y = f32[] parameter(1)
  ROOT %sum = f32[] add(%x, %y)
}

%inner (p: (s32[], f32[4])) -> (s32[], f32[4]) {
  %p = (s32[], f32[4]{0}) parameter(0)
  %i = s32[] get-tuple-element(%p), index=0
  %v = f32[4]{0} get-tuple-element(%p), index=1
  %one = (f32[4]{0}, /*index=1*/f32[]) fusion(%v), kind=kInput, calls=%add
  %two = f32[4]{0} custom-call(%v), custom_call_target="__cublas$gemm"
  ROOT %t = (s32[], f32[4]{0}) tuple(%i, %two)
}

%outer (q: (s32[], f32[4])) -> (s32[], f32[4]) {
  %q = (s32[], f32[4]{0}) parameter(0)
  %start = (f32[4]{0}, f32[4]{0}) copy-start(%q)
  %done = f32[4]{0} copy-done(%start)
  ROOT %w = (s32[], f32[4]{0}) while(%q), condition=%c, body=%inner, backend_config={"known_trip_count":{"n":"5"}}
}

ENTRY %main (a: f32[4]) -> f32[4] {
  %a = f32[4]{0} parameter(0)
  %b = (s32[], f32[4]{0}) call(%a), to_apply=%add
  %w.2 = (s32[], f32[4]{0}) while(%b), condition=%c, body=%outer
  %z = (s32[]) conditional(%a, %a, %a), branch_computations={%add, %inner}
  ROOT %r = f32[4]{0} copy(%a)
}
"""


def test_kernels_are_counted_as_often_as_they_run():
    """A call of one; a copy and five times two, in a loop of unknown length; a choice and two; a copy."""
    assert launches(PROGRAM) == 1 + (1 + 5 * 2) + (1 + 2) + 1


def test_loops_of_compiled_programs_count_as_often_as_they_run():
    def text(length):
        many = lambda x: jax.lax.fori_loop(0, length, lambda i, x: jnp.sin(x @ x), x)
        return jax.jit(many).lower(jnp.ones((3, 3))).compile().as_text()

    short, long = launches(text(10)), launches(text(30))
    assert (long - short) % 20 == 0 and long - short >= 40  # the product and the sine, at least


@pytest.mark.parametrize("name, most", [("dqn", 123), ("q-learning", 64)])
def test_an_iteration_has_no_more_kernels_than_it_had(name, most, as_users):
    """Compiled for a CPU, random numbers among them: 117 and 61 with JAX 0.10.2, 122 and 63 with 0.11.2."""
    begun = started(gpu.LOOPS[name](), 16, 16, jax.random.key(0), gpu.LEAST_ITERATIONS)
    assert launches(begun.programs.compiled["learn"].as_text()) / begun.inner <= most


@pytest.mark.slow
@pytest.mark.parametrize("name, most", [("dqn", 44), ("q-learning", 16), ("pqn", 51)])
def test_an_iteration_has_no_more_kernels_on_an_h100_than_it_had(name, most):
    """Its innermost loops have no more each."""
    pytest.importorskip("jax_plugins.xla_cuda12")
    from benchmarks import h100

    def innermost(loop):
        return [kernels for each in loop.inner for kernels in innermost(each)] or [loop.kernels]

    assert max(innermost(program(h100.compiled(name).as_text()))) <= most


@pytest.mark.slow
def test_the_gpus_table_in_small(tmp_path, capsys):
    """On a CPU: a line of the lake, one for which there is no time, one that fails."""
    small = {"seconds": 0.1, "shares": (2,), "out": tmp_path / "gpu.md"}
    gpu.main(gpu.Arguments(algorithms=("q-learning",), lanes=(1, 4), **small))
    lines = (tmp_path / "gpu.md").read_text().splitlines()
    found = [line.strip("| ").split(" | ") for line in lines[4:]]
    assert [line[:3] for line in found] == [["q-learning", lanes, width] for lanes, width in ("11", "44", "42")]
    assert {len(line) for line in found} == {len(gpu.COLUMNS)}
    seconds = 1e-6 * float(found[1][5].split()[0])  # an iteration is a step of each of four lanes
    assert 4 / seconds == pytest.approx(float(found[1][3].split()[0].replace(",", "")), rel=0.1)
    gpu.main(gpu.Arguments(algorithms=("dqn",), lanes=(1,), minutes=0.0, **small))
    assert "| dqn | 1 | 1 | no time left |" in capsys.readouterr().out
    with pytest.raises(ValueError, match="sarsa is none of dqn, pqn"):
        gpu.main(gpu.Arguments(algorithms=("sarsa",), **small))
