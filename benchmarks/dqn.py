"""How fast is DQN on CartPole, against plain JAX and the classic PyTorch loop? And what is each trick of the loop
worth? (Against other libraries: `benchmarks.peers`.)

    python -m benchmarks.dqn
"""

from benchmarks.contenders.measuring import cores
from benchmarks.contenders.tricks import TRICKS
from benchmarks.harness import Contender, Row, ablated, ratio, rounds, run_as_script, versus

LEARNER = ((4, 120), (120, 84), (84, 2))
"""Layers of CleanRL's network."""
BATCH, STEPS_PER_UPDATE = 128, 10


def update_operations() -> int:
    """Return the useful floating-point operations of one update, counted by hand.

    A layer of m inputs and n outputs takes 2 m n for each row: forwards in the online and in the target network,
    for the weights' gradient, and, but for the first layer, for the gradient of its inputs.
    """
    forward = sum(2 * m * n for m, n in LEARNER)
    inputs = sum(2 * m * n for m, n in LEARNER[1:])
    return BATCH * (3 * forward + inputs)


def protocols(quick: bool) -> list[Row]:
    """Compare with what people use."""
    seconds, repeats = (1.5, 3) if quick else (8.0, 5)
    copies = cores()
    with (
        Contender("qjax_dqn", lanes=64) as many,
        Contender("plain_dqn", seeds=64) as plain,
        Contender("plain_dqn", seeds=64, sharded=True) as sharded,
        Contender("sgemm") as sgemm,
    ):
        rounds([many, plain, sharded, sgemm], seconds, repeats)
        rows = [
            versus("DQN, CleanRL protocol, 64 seeds: one plain `vmap(scan)`, flashbax", many, plain, "2.5"),
            versus("the same, sharded over the cores", many, sharded),
        ]
        rate = [speed / STEPS_PER_UPDATE * update_operations() for speed in many.speeds]
        share = ratio(rate, sgemm.speeds)
        done, most = (f"{x / 1e9:,.0f} GFLOP/s" for x in (sorted(rate)[len(rate) // 2], sgemm.speed))
        rows.append(Row("its learner's operations per second of the whole loop: SGEMM", done, most, share, "0.45"))
    with (
        Contender("qjax_dqn", protocol="tutorial", lanes=16) as tutorial,
        Contender("torch_cartpole", copies, threads=1) as torch,
    ):
        rounds([tutorial, torch], seconds, repeats)
        claim = f"DQN, tutorial protocol, 16 seeds: classic PyTorch loop, {copies} copies, a thread each"
        rows.append(versus(claim, tutorial, torch, "25"))
        if not quick:
            with Contender("torch_cartpole", copies) as free:
                torch.speeds = []
                rounds([torch, free], seconds, repeats)
                claim = f"PyTorch loop, {copies} copies, a thread each: PyTorch's default threads"
                rows.append(versus(claim, torch, free))
    return rows


def ablations() -> list[Row]:
    """Take one trick out at a time."""
    return ablated("qjax_dqn", "DQN, 64 seeds", TRICKS, 6.0, 5, lanes=64)


def rows(quick: bool) -> list[Row]:
    """Return all of them."""
    return [*protocols(quick), *([] if quick else ablations())]


if __name__ == "__main__":
    run_as_script(rows)
