"""A plan says what a sweep will take, and refuses what cannot fit."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import platformdirs
import probes
import pytest
import victim

import qjax
from experiments import cartpole, frozenlake
from qjax.machine import devices
from qjax.sweeps import phases
from qjax.sweeps import plan as plans
from qjax.sweeps.placement import Placement
from qjax.sweeps.programs import Programs

PLAN = sys.modules["qjax.sweeps.plan"]


def endless(**kwargs):
    env = qjax.make(probes.Walk())
    agent = qjax.tabular(env.num_states, 2, 0.5)
    return qjax.make_loop(env, agent, qjax.uniform, qjax.online(), gamma=0.9, **kwargs)


def lengths(loop, steps, log_points):
    return [(p.iterations, p.learning, p.log) for p in phases.phases(loop, steps, log_points)]


def test_phases_end_at_log_points():
    assert lengths(endless(), 100, 2) == [(50, True, True)] * 2
    assert lengths(endless(), 110, 4) == [(28, True, True)] * 3 + [(26, True, True)]
    # What is left is an interval of its own from half of one on; episodes of less would not be like the others.
    assert lengths(endless(), 100, 9) == [(11, True, True)] * 8 + [(12, True, True)]
    assert lengths(endless(), 105, 10) == [(10, True, True)] * 10 + [(5, True, True)]
    assert lengths(endless(sync_every=10, warmup=1000), 2010, 10) == [(200, False, True)] * 5 + [
        (200, True, True)
    ] * 4 + [(210, True, True)]
    # Warm-up that fills no interval belongs to the first one with learning.
    assert lengths(endless(warmup=30), 100, 4) == [
        (25, False, True), (5, False, False), (25, True, True), (25, True, True), (20, True, True),
    ]  # fmt: skip


def test_no_phase_outgrows_its_sums():
    """10**12 steps in one log interval: int32 counts and float32 sums of each phase stay small, none is lost."""
    loop = endless(num_envs=100, sync_every=50)
    found = phases.phases(loop, 10**12, 1)
    assert sum(p.iterations * p.repeat for p in found) * 100 == 10**12
    assert max(p.iterations for p in found) <= 2**16 and max(p.iterations for p in found) * 100 < 2**31
    assert [p.log for p in found] == [False, True]


def test_no_phase_makes_more_updates_than_int32_counts():
    loop = endless(updates=2**20)
    assert max(p.iterations for p in phases.phases(loop, 10**6, 1)) * loop.updates < 2**31
    with pytest.raises(ValueError, match=r"4096 iterations make 4294967296 updates, not below 2\*\*31"):
        jax.eval_shape(lambda key: loop.run(loop.init(key), qjax.clock.at(0), 4096), jax.random.key(0))


def test_the_inner_loop_divides_every_phase():
    found = phases.phases(endless(sync_every=5, warmup=30), 1030, 10)
    assert phases.inner_iterations(found, True, 5) % 5 == 0
    for learning in (False, True):
        inner = phases.inner_iterations(found, learning, 5)
        assert all(phase.iterations % inner == 0 for phase in found if phase.learning == learning)
    assert phases.inner_iterations(phases.phases(endless(), 4096, 2), True, 1) == 64


@pytest.mark.parametrize("name", [pytest.param("cartpole", marks=pytest.mark.slow), "deep", "frozenlake"])
def test_the_estimate_is_the_compilers_own(name):
    """Five groups: what all their arguments and one program's temporaries take, by its memory analysis."""
    if name == "cartpole":
        loop = cartpole.build(cartpole.preset("cleanrl", None))
        work = {"seeds": 9, "steps": 12_000, "width": 2, "devices": jax.devices()[:1]}
    elif name == "deep":
        loop, work = victim.build("deep"), {"seeds": 9, "steps": 200, "width": 2, "devices": jax.devices()[:1]}
    else:
        loop = frozenlake.build(True, "4x4", "random", 100)
        work = {"seeds": 70, "width": 16, "devices": jax.devices()[:1]}
    plan = qjax.sweep.plan(lambda _: loop, **work)
    assert plan.groups == 5 and plan.lanes == work["seeds"] and plan.fits
    placement = Placement(np.zeros(9, int), np.arange(9), plan.width, jax.devices()[:1])
    inner = phases.inner_iterations(phases.phases(loop, work.get("steps"), 100), True, loop.sync_every)
    programs = Programs(lambda _: loop, None, jax.random.key(0), placement).compile({True: inner})
    found = programs.compiled["learn"].memory_analysis()
    expected = 5 * found.argument_size_in_bytes + found.temp_size_in_bytes
    assert plan.total_bytes == pytest.approx(expected, rel=0.1)
    # A checkpoint holds the lanes, and what is printed says so.
    assert plan.checkpoint_bytes == plan.state_bytes == plan.lane_bytes * 5 * plan.width
    assert plan.padding == 5 * plan.width - plan.lanes
    assert f"of 1 cpu device(s) x {plan.width} lanes, {plan.padding} of them padding" in str(plan)
    assert f"{plan.lanes} = 1 setting(s)" in str(plan) and plans.size(plan.total_bytes) in str(plan)


def test_what_cannot_fit_is_refused_with_what_does(monkeypatch):
    """Just enough memory for two groups of two devices by two lanes."""
    work = {"steps": 20, "log_points": 1, "width": 2}
    plan = qjax.sweep.plan(lambda _: endless(), seeds=3, **work)
    monkeypatch.setattr(PLAN, "memory_limit", lambda _: plan.temp_bytes + 2 * plan.state_bytes)
    assert qjax.sweep(lambda _: endless(), seeds=8, **work).env_steps == 8 * 20
    with pytest.raises(MemoryError, match=r"9 lanes need .* at most 8 lanes fit"):
        qjax.sweep(lambda _: endless(), seeds=9, **work)
    assert not qjax.sweep.plan(lambda _: endless(), seeds=9, **work).fits


def test_the_largest_number_where_not_one_group_fits(monkeypatch):
    """A width as large as the sweep, as on a GPU: what fits is told all the same."""
    work = {"steps": 20, "log_points": 1, "width": 64, "devices": jax.devices()[:1]}
    plan = qjax.sweep.plan(lambda _: endless(), seeds=64, **work)
    monkeypatch.setattr(PLAN, "memory_limit", lambda _: plan.total_bytes // 2)
    assert qjax.sweep.plan(lambda _: endless(), seeds=64, **work).largest_lanes in (31, 32)


def test_a_plan_says_where_numbers_depend_on_the_machine():
    plan = qjax.sweep.plan(lambda _: endless(), seeds=1, steps=20, log_points=1)
    assert (plan.width, plan.groups, plan.devices, plan.padding) == (1, 1, 1, 0)
    assert "padding" not in str(plan).splitlines()[1] and "last digits" not in str(plan)
    assert "depends on the number of gpu devices" in str(plan._replace(platform="gpu"))


HUNGRY = """
import resource, sys
import qjax
qjax.use_cores(2)
import jax.numpy as jnp
import probes
sys.modules["qjax.sweeps.plan"].memory_limit = lambda _: 2**62
env = qjax.make(probes.Walk())
agent = qjax.tabular(env.num_states, 2, 0.5)
build = lambda _: qjax.make_loop(env, agent, qjax.uniform, qjax.ring(2**24, 1), gamma=0.9)
jnp.ones(3)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**31, resource.RLIM_INFINITY))
try:
    qjax.sweep(build, seeds=2, steps=4, width=64)
except MemoryError as error:
    print(error)
"""


def test_out_of_device_memory_is_said_plainly():
    """The devices hold less than they said: the allocation of 4 GiB of observations fails, not the plan."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", HUNGRY], env=environment, capture_output=True, text=True, timeout=100, check=False
    )
    assert "out of device memory with 2 lanes" in done.stdout and "try fewer lanes" in done.stdout, done.stderr


def test_compiled_programs_are_kept_for_this_version_and_cpu(tmp_path, monkeypatch):
    before = jax.config.jax_compilation_cache_dir
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    try:
        folder = devices.use_cache(tmp_path)
        assert folder.parent == tmp_path and folder.name.startswith(f"jax-{jax.__version__}-")
        assert jax.config.jax_compilation_cache_dir == str(folder) and devices.use_cache(tmp_path) == folder
        monkeypatch.setattr(platformdirs, "user_cache_path", lambda name: tmp_path / "home" / name)
        assert devices.use_cache().parent == tmp_path / "home" / "qjax"
        monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "/elsewhere")
        jax.config.update("jax_compilation_cache_dir", "/elsewhere")
        assert str(devices.use_cache()) == jax.config.jax_compilation_cache_dir == "/elsewhere"
    finally:
        jax.config.update("jax_compilation_cache_dir", before)


def test_a_plan_tells_the_bytes_of_a_transition_by_field():
    env = qjax.make(probes.Walk(limit=5))
    agent = qjax.tabular(env.num_states, 2, 0.5)

    def plan(memory):
        loop = qjax.make_loop(env, agent, qjax.uniform, memory, gamma=0.9)
        return qjax.sweep.plan(lambda _: loop, seeds=1, steps=20)

    whole = {"obs": 4, "action": 4, "reward": 4, "discount": 4, "next_obs": 4, "last": 0.125, "padding": 3.875}
    replayed = plan(qjax.prioritized(10, 2, 0.5, 0.5))
    assert replayed.transition_bytes == whole
    said = "transition  24 B: obs 4, action 4, reward 4, discount 4, next_obs 4, last 0.125, padding 3.875"
    assert said in str(replayed)
    once = plan(qjax.ring(10, 2, frames=qjax.Frames(env.max_steps)))
    assert sum(once.transition_bytes.values()) == 20 and "next_obs" not in once.transition_bytes
    online = plan(qjax.online())
    assert online.transition_bytes == {} and "transition " not in str(online)
