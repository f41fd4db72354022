"""What a sweep adds up between log points."""

import numpy as np
import probes

import qjax
from qjax.runs.points import Tally


def test_a_lane_diverges_at_its_own_step_whichever_report_has_it():
    env = qjax.make(probes.Walk())
    agent = qjax.tabular(env.num_states, env.num_actions, 0.1)
    loop = qjax.make_loop(env, agent, qjax.epsilon_greedy(0.1), qjax.online(), gamma=0.9)
    tally, zero = Tally(loop, 2, None, {}, None), np.zeros(2, np.int32)
    for diverged in ([-1, -1], [-1, 30], [50, 7]):
        report = {name: zero for name in ("total_episodes", "lengths", "updates", "episodes", "returns")}
        tally.add({**report, "steps": zero + 100, "diverged_at": np.array(diverged, np.int32)})
    assert tally.totals.diverged_at.tolist() == [250, 130] and tally.totals.env_steps.tolist() == [300, 300]


def test_sums_of_an_unfinished_interval_go_through_a_checkpoint():
    """A point after a resume is that of the whole interval, not of what came after the checkpoint."""
    env = qjax.make(probes.Walk())
    agent = qjax.tabular(env.num_states, env.num_actions, 0.1)
    loop = qjax.make_loop(env, agent, qjax.epsilon_greedy(0.1), qjax.online(), gamma=0.9)

    def report(part):
        counts = {"steps": 10, "updates": 5 * part, "episodes": part, "total_episodes": part * (part + 1) // 2}
        sums = {"lengths": 0.0, "returns": 1.0 + part, "loss": 4.0 * part}
        return {name: np.array([value, 2 * value]) for name, value in {**counts, **sums}.items()} | {
            "diverged_at": np.array([-1, -1])
        }

    whole, before, after = (Tally(loop, 2, 100, {}, None) for _ in range(3))
    for tally in (whole, before):
        tally.add(report(1))
    after.restore(before.totals, before.pending())
    for tally in (whole, after):
        tally.add(report(2))
    expected, found = whole.point(0.0), after.point(0.0)
    np.testing.assert_allclose(found.mean_return, [5 / 3, 5 / 3])
    np.testing.assert_allclose(found.means["loss"], [12 / 15, 12 / 15])
    assert found.updates == expected.updates == 45 and not after.pending()
    np.testing.assert_array_equal(found.env_steps, [20, 40])
