"""pgx: of its games those for one player, 2048 and MinAtar."""

from typing import Any

from qjax.envs.suites.base import Suite


class Pgx(Suite):
    """A game of pgx for one player; pgx has no time limit."""

    refused = frozenset(
        {"animal_shogi", "backgammon", "chess", "connect_four", "gardner_chess", "go_19x19", "go_9x9", "hex"}
        | {"kuhn_poker", "leduc_holdem", "othello", "shogi", "sparrow_mahjong", "tic_tac_toe"}
    )

    @staticmethod
    def ids() -> list[str]:
        """Return pgx's names, those for several players among them."""
        import pgx

        return sorted(pgx.available_envs())

    @staticmethod
    def build(name: str, **options: Any) -> Any:
        """Return pgx's game."""
        import pgx

        return pgx.make(name, **options)

    def __init__(self, name: str, built: Any) -> None:
        """Make it from the whole name and pgx's game.

        Raises:
            ValueError: it is for several players.

        """
        if built.num_players != 1:
            raise ValueError(f"{name} is for {built.num_players} players; qjax needs an environment for one")
        self.name, self.env, self.num_actions = name, built, built.num_actions
        if not built.id.startswith("minatar"):  # there all actions always are
            self.legal = lambda obs: obs["legal"]

    def first(self, key: Any) -> Any:
        """Begin an episode."""
        state = self.env.init(key)
        return self._seen(state), state

    def advance(self, key: Any, state: Any, action: Any) -> Any:
        """Take one step; an illegal action ends a game of pgx, and pays -1."""
        state = self.env.step(state, action, key)
        return self._seen(state), state, state.rewards[0], state.terminated

    def _seen(self, state: Any) -> Any:
        if self.legal is None:
            return state.observation
        return {"obs": state.observation, "legal": state.legal_action_mask}
