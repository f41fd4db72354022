"""A search that is small enough to be made many times, also in a process of its own: `python small.py FOLDER`."""

import sys

import probes

import qjax
from qjax import searches
from qjax.sweeps import saving

SPACE = {"alpha": searches.log_uniform(1e-3, 1.0), "epsilon": searches.uniform(0.05, 0.9)}
WORK = {
    "steps": 900, "settings": 9, "tuning_seeds": 3, "fresh_seeds": 4, "log_points": 9, "width": 2,
    "default": {"alpha": 0.1, "epsilon": 0.3}, "chunk_seconds": 1e-9, "checkpoint_every": 0.0,
}  # fmt: skip


def build(hyper, n=1):
    env = qjax.make(probes.Walk())
    agent = qjax.tabular(env.num_states, env.num_actions, hyper["alpha"])
    return qjax.make_loop(env, agent, qjax.epsilon_greedy(hyper["epsilon"]), qjax.online(n), gamma=0.9)


def other(hyper, slippery=False):
    """Return the loop of another environment, whose iterations take two steps."""
    env = qjax.make("FrozenLake-v1", is_slippery=slippery)
    agent = qjax.tabular(env.num_states, env.num_actions, hyper["alpha"])
    policy = qjax.epsilon_greedy(hyper["epsilon"])
    return qjax.make_loop(env, agent, policy, qjax.online(), gamma=0.9, num_envs=2)


if __name__ == "__main__":
    saving.CHECKPOINT_SHARE = 0
    qjax.use_cores(2)
    kind = {"one": build, "two": {"walk": build, "lake": other}}[sys.argv[2]]
    qjax.search(kind, SPACE, folder=sys.argv[1], method="hyperband", resume=True, **WORK)
    print("done", flush=True)
