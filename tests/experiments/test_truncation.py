"""What a limit costs that is taken for an end: the environment that does so, and what is said of the runs."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import qjax
from experiments import truncation


def test_nothing_but_truncation_is_another():
    env = qjax.make("CartPole-v1", max_steps_in_episode=9)
    other = truncation.ends_at_its_limit(env)

    @jax.jit
    def both(key):
        def step(states, key):
            action = jax.random.bernoulli(key, 0.5).astype(jnp.int32)
            made = [each.step(key, state, action) for each, state in zip((env, other), states, strict=True)]
            return [x.state for x in made], made

        states = [each.reset(key)[1] for each in (env, other)]
        return jax.lax.scan(step, states, jax.random.split(key, 400))[1]

    made, wrong = both(jax.random.key(0))
    assert made.truncated.any() and made.terminated.any()
    assert not wrong.truncated.any()
    np.testing.assert_array_equal(wrong.terminated, made.terminated | made.truncated)
    for name in ("obs", "reward", "final_obs"):
        np.testing.assert_array_equal(getattr(wrong, name), getattr(made, name))


def test_what_is_said_is_of_the_last_parameters_and_of_each_seeds_best():
    returns = [[500.0] * 8, [100.0] * 4 + [300.0] * 4]
    told = truncation.said("Env", {"dqn": {"env_steps": [1, 2], "eval_return": returns}})
    assert told.startswith("Env\n  dqn: 200.0 [100.0, 300.0]; each seed's best of 2 evaluations says 300.0 more")


def test_what_is_unknown_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"^\['lake'\] is none of cartpole, mountaincar, pendulum$"):
        truncation.run(truncation.Arguments(tasks=("lake",), out=tmp_path))
    with pytest.raises(ValueError, match=r"^\['sarsa'\] is none of dqn, "):
        truncation.run(truncation.Arguments(names=("sarsa",), out=tmp_path))


@pytest.mark.slow
def test_from_training_to_picture(tmp_path, capsys):
    args = truncation.Arguments(
        tasks=("pendulum",), names=("dqn",), seeds=2, shorten=15, evaluations=3, out=tmp_path
    )
    truncation.run(args)
    lines = json.loads((tmp_path / "truncation.json").read_text())["Pendulum-v1 in 5 bins"]
    assert list(lines) == ["dqn, limit as such", "dqn, limit as an end"]
    for each in lines.values():
        assert np.shape(each["eval_return"]) == (3, 2) and each["env_steps"][-1] >= 200_000 // 15
    assert lines["dqn, limit as such"] != lines["dqn, limit as an end"]
    assert {"truncation.png", "truncation.svg"} <= {path.name for path in tmp_path.iterdir()}
    capsys.readouterr()
    truncation.run(args)  # nothing is trained again
    assert "compiling" not in capsys.readouterr().err
