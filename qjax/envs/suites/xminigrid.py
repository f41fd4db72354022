"""XLand-MiniGrid: MiniGrid's tasks, and XLand's with goals and rules."""

from typing import Any

from qjax.envs.suites.base import Suite


class Xminigrid(Suite):
    """An environment of xminigrid, which never resets itself and goes on after `max_steps`."""

    @staticmethod
    def ids() -> list[str]:
        """Return xminigrid's names."""
        import xminigrid

        return sorted(xminigrid.registered_environments())

    @staticmethod
    def build(name: str, **options: Any) -> Any:
        """Return xminigrid's environment and parameters; `max_steps` is its time limit, and scales its rewards."""
        import xminigrid

        return xminigrid.make(name, **options)

    def __init__(self, name: str, built: Any) -> None:
        """Make it from the whole name, xminigrid's environment and its parameters."""
        self.name, (self.env, self.params) = name, built
        self.num_actions, self.limit = self.env.num_actions(self.params), self.params.max_steps

    def first(self, key: Any) -> Any:
        """Begin an episode; xminigrid's state is its whole time step."""
        timestep = self.env.reset(self.params, key)
        return timestep.observation, timestep

    def advance(self, key: Any, state: Any, action: Any) -> Any:
        """Take one step; xminigrid keeps a key of its own."""
        timestep = self.env.step(self.params, state, action)
        return timestep.observation, timestep, timestep.reward, timestep.discount == 0
