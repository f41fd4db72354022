"""The algorithms that `qjax train` knows, and the presets."""

import shutil
import textwrap
from functools import partial

from qjax import algorithms
from qjax.algorithms.presets import PRESETS
from qjax.cli import grid
from qjax.cli.arguments import FIELDS
from qjax.cli.command import as_command


def listing(columns: int) -> str:
    """Return the algorithms with their composition, paper and own flags, and the presets with their source."""
    lines = ["Algorithms, what they are made of, and the flags that few others read:"]
    for family in (algorithms.TABULAR, algorithms.DEEP):
        reads = {name: algorithms.fields(each.config) for name, each in family.items()}
        rare = [field for field in FIELDS if sum(field in read for read in reads.values()) <= len(family) / 4]
        for name, each in family.items():
            own = " ".join(grid.flag(field) for field in rare if field in reads[name] and field != "policy")
            lines += ["", name, *(f"    {text}" for text in (each.composition, each.paper, own) if text)]
    lines += ["", "One of your own is MODULE:FUNCTION, a function (env, config) whose config is a dataclass."]
    lines += ["", "", "Presets, for --preset:"]
    for name, preset in PRESETS.items():
        lines += ["", name, f"    {preset.algorithm} on {preset.env}: {preset.source}"]
        lines += [f"    differs: {preset.differs}"] * bool(preset.differs)
    fill = partial(textwrap.fill, width=columns, break_long_words=False, break_on_hyphens=False)
    return "\n".join(fill(line, subsequent_indent=" " * 6) for line in lines)


@as_command()
def main() -> None:
    """Print the list, as wide as the terminal."""
    print(listing(shutil.get_terminal_size().columns))
