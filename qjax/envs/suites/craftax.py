"""Craftax: an open world, in its classic form and in full."""

from typing import Any

from qjax.core.checks import LARGEST
from qjax.envs.suites.base import Suite


class Craftax(Suite):
    """An environment of Craftax. Its time limit is told as if the world had ended, so it is counted by the base."""

    @staticmethod
    def ids() -> list[str]:
        """Return Craftax's names."""
        kinds = ("Classic-Pixels", "Classic-Symbolic", "Pixels", "Symbolic")
        return [f"Craftax-{kind}-v1" for kind in kinds]

    @staticmethod
    def build(name: str, **options: Any) -> Any:
        """Return Craftax's environment and parameters; `max_timesteps` is its time limit."""
        from craftax.craftax_env import make_craftax_env_from_name

        env = make_craftax_env_from_name(name, auto_reset=False)
        return env, env.default_params.replace(**options)

    def __init__(self, name: str, built: Any) -> None:
        """Make it from the whole name, Craftax's environment and its parameters."""
        self.name, (self.env, params) = name, built
        self.limit, self.params = params.max_timesteps, params.replace(max_timesteps=LARGEST)
        self.num_actions = self.env.action_space(params).n

    def first(self, key: Any) -> Any:
        """Begin an episode in a world of its own."""
        return self.env.reset_env(key, self.params)

    def advance(self, key: Any, state: Any, action: Any) -> Any:
        """Take one step."""
        obs, state, reward, terminated, _ = self.env.step_env(key, state, action, self.params)
        return obs, state, reward, terminated
