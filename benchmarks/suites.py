"""How fast is an environment of each suite that is installed: bare, with episodes, and while DQN is trained on it?

python -m benchmarks.suites
"""

from importlib.util import find_spec

from benchmarks.harness import Contender, Row, rounds, run_as_script, versus
from qjax.envs.suites.names import SUITES


def names() -> list[str]:
    """Return an environment of gymnax's, and one of each suite that is installed."""
    return ["Breakout-MinAtar", *(f"{name}:{suite.example}" for name, suite in SUITES.items() if find_spec(name))]


def rows(quick: bool) -> list[Row]:
    """Compare random actions with the suite's bare steps, and with training in as many environments."""
    seconds, repeats = (1.0, 2) if quick else (5.0, 5)
    found = []
    for name in names():
        with (
            Contender("random_steps", env_name=name) as alone,
            Contender("bare_steps", env_name=name) as bare,
            Contender("qjax_training", algorithm="dqn", env_name=name, warmup=1000) as training,
        ):
            rounds([alone, bare, training], seconds, repeats)
            found.append(versus(f"{name}, random actions: its own steps, no limit, no new episodes", alone, bare))
            found.append(versus(f"{name}, random actions in 160 environments: DQN, 16 seeds", alone, training))
    return found


if __name__ == "__main__":
    run_as_script(rows)
