"""Does the ring's work grow with its capacity? A block written and a batch drawn, against a bare gather of rows.

python -m benchmarks.ring
"""

from benchmarks.harness import Contender, Row, ratio, rounds, run_as_script


def rows(quick: bool) -> list[Row]:
    """Compare a ring of a million with a gather, and with a small ring."""
    seconds, repeats = (1.0, 5) if quick else (3.0, 15)
    with (
        Contender("ring", capacity=1_000_000) as large,
        Contender("ring", capacity=10_000) as small,
        Contender("gather", capacity=1_000_000) as bare,
        Contender("gather", capacity=1_000_000, packed=True) as packed,
    ):
        rounds([large, small, bare, packed], seconds, repeats)
        unit = "a second"
        speeds = f"{large.speed:,.0f} {unit}"
        return [
            Row(
                "ring of 1,000,000, time of a write and a sample: bare gather of as many rows",
                speeds,
                f"{bare.speed:,.0f}",
                ratio(bare.speeds, large.speeds),
                "at most 1.3",
            ),
            Row(
                "the same: a bare gather of as many packed rows",
                speeds,
                f"{packed.speed:,.0f}",
                ratio(packed.speeds, large.speeds),
                "at most 1.3",
            ),
            Row("the same: a ring of 10,000", speeds, f"{small.speed:,.0f}", ratio(small.speeds, large.speeds)),
        ]


if __name__ == "__main__":
    run_as_script(rows)
