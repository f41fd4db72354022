"""navix: MiniGrid's rooms, keys and doors."""

from typing import Any

from qjax.envs.suites.base import Suite


class Navix(Suite):
    """An environment of navix; its step is the one that does not reset, and goes on after `max_steps`."""

    @staticmethod
    def ids() -> list[str]:
        """Return navix's names."""
        import navix

        return sorted(navix.registry())

    @staticmethod
    def build(name: str, **options: Any) -> Any:
        """Return navix's environment; `max_steps` is its time limit."""
        import navix

        return navix.make(name, **options)

    def __init__(self, name: str, built: Any) -> None:
        """Make it from the whole name and navix's environment."""
        self.name, self.env = name, built
        self.num_actions, self.limit = len(built.action_set), built.max_steps

    def first(self, key: Any) -> Any:
        """Begin an episode; navix's state is its whole time step."""
        timestep = self.env.reset(key)
        return timestep.observation, timestep

    def advance(self, key: Any, state: Any, action: Any) -> Any:
        """Take one step; navix keeps a key of its own."""
        timestep = self.env._step(state, action)  # `step` traces a reset, whatever `disable_autoreset` says
        return timestep.observation, timestep, timestep.reward, timestep.is_termination()
