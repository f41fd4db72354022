"""Every claim about speed, with its baseline beside it, as one Markdown table.

    python -m benchmarks.all --quick --rejax PYTHON

`--rejax` is the interpreter of an environment that has rejax (`benchmarks.peers` tells how to make one); without it
that library's rows are left out. `--quick` measures less often and shorter, and leaves out what single pieces cost
and how fast environments are (`benchmarks.pieces`, `benchmarks.suites`), what each trick gains, lengths of
sequences, and rejax on every core.
"""

from pathlib import Path

import tyro

from benchmarks import dqn, lake, peers, pieces, recurrent, ring, scaling, startup, suites
from benchmarks.harness import machine, markdown


def main(quick: bool = False, rejax: str = "", out: Path = Path("runs/benchmarks.md")) -> None:
    """Print the table, and write it.

    Args:
        quick: measure less often and shorter.
        rejax: the interpreter of an environment with rejax and its gymnax; none to leave it out.
        out: a file for the table.

    """
    scripts = [lake, dqn, recurrent, scaling, ring, startup, *([] if quick else [pieces, suites])]
    rows = [row for script in scripts for row in script.rows(quick)] + peers.rows(quick, rejax)
    text = f"{machine()}\n\n{markdown(rows)}\n"
    print(text)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text)
    print(f"written to {out}")


if __name__ == "__main__":
    tyro.cli(main)
