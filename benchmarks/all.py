"""Every claim about speed, with its baseline beside it, as one Markdown table.

    python -m benchmarks.all --quick

`--quick` measures less often and shorter, in some twelve minutes on two cores.
"""

from pathlib import Path

import tyro

from benchmarks import dqn, lake, recurrent, ring, scaling, startup
from benchmarks.harness import machine, markdown


def main(quick: bool = False, out: Path = Path("runs/benchmarks.md")) -> None:
    """Print the table, and write it.

    Args:
        quick: measure less often and shorter.
        out: a file for the table.

    """
    rows = [row for script in (lake, dqn, recurrent, scaling, ring, startup) for row in script.rows(quick)]
    text = f"{machine()}\n\n{markdown(rows)}\n"
    print(text)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text)
    print(f"written to {out}")


if __name__ == "__main__":
    tyro.cli(main)
