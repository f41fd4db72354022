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
