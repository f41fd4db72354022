"""What the benchmarks share: contenders in processes of their own, measured in turn; ratios with their spread.

A contender is set up and warmed up once, in its own process with its own number of threads and devices, and waits
without using the machine until it is told to measure. Those of a round are set up side by side, and none measures
before all are ready. So rounds are interleaved, and compilation stays outside.
"""

import datetime
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
import tyro

from benchmarks.contenders.measuring import cores
from qjax.machine.devices import processor

PACKAGES = (
    "qjax-rl", "jax", "flax", "optax", "numpy", "gymnax", "flashbax", "torch", "stable-baselines3", "sbx-rl",
    "gymnasium",
)  # fmt: skip


class Row(NamedTuple):
    """One line of the table."""

    claim: str
    ours: str
    baseline: str
    ratio: str
    """Median over the rounds, and the smallest and largest."""
    target: str = ""


class Contender:
    """A process, or several at once, that measures itself when told to by `rounds`; its speeds are in `speeds`.

    `cores` has how many cores it had each time, on average: under other work that is fewer than it could use.
    """

    def __init__(self, name: str, copies: int = 1, python: str = sys.executable, **arguments: Any):
        """Start `benchmarks.contenders.<name>(**arguments)`, `copies` times, with the Python of an environment."""
        self.label = f"{name} {arguments or ''}".strip()
        self.speeds: list[float] = []
        self.cores: list[float] = []
        command = [python, "-m", "benchmarks.contenders", name]
        self._processes = [
            subprocess.Popen(
                [*command, json.dumps({**arguments, **({"seed": i} if copies > 1 else {})})],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={"XLA_PYTHON_CLIENT_PREALLOCATE": "false", **os.environ},  # several share a GPU
                stderr=subprocess.DEVNULL if not os.environ.get("BENCHMARK_STDERR") else None,
                text=True,
            )
            for i in range(copies)
        ]
        self._starting = list(self._processes)

    def wait(self) -> None:
        """Return when it is set up."""
        while self._starting:
            self._answer(self._starting.pop())

    def _answer(self, process: subprocess.Popen) -> Any:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        raise RuntimeError(f"{self.label} ended with status {process.wait()} (BENCHMARK_STDERR=1 shows why)")

    def measure(self, seconds: float) -> None:
        """Measure for about so long; copies run at once and their speeds add up."""
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write(f"{seconds}\n")
            process.stdin.flush()
        answers = [self._answer(process) for process in self._processes]
        self.speeds.append(sum(answer["speed"] for answer in answers))
        self.cores.append(sum(answer["cores"] for answer in answers))

    @property
    def speed(self) -> float:
        """The median."""
        return float(np.median(self.speeds))

    def __enter__(self) -> "Contender":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes:
            process.kill()
            process.wait()


def rounds(contenders: Sequence[Contender], seconds: float, repeats: int) -> None:
    """Let them measure in turn, `repeats` times, forwards and backwards, when all are set up."""
    for contender in contenders:
        contender.wait()
    for number in range(repeats):
        for contender in contenders[:: 1 if number % 2 else -1]:
            contender.measure(seconds)


def ratio(ours: Sequence[float], base: Sequence[float], factor: float = 1.0) -> str:
    """Return the ratio of each round as text: median, smallest and largest."""
    found = factor * np.array(ours) / np.array(base)
    digits = 2 if np.median(found) < 10 else 0
    return f"{np.median(found):.{digits}f} ({found.min():.{digits}f} to {found.max():.{digits}f})"


def versus(claim: str, ours: Contender, base: Contender, target: str = "", unit: str = "env-steps/s") -> Row:
    """Return the row of a claim about speeds."""
    return Row(claim, f"{ours.speed:,.0f} {unit}", f"{base.speed:,.0f}", ratio(ours.speeds, base.speeds), target)


def ablated(
    name: str, claim: str, tricks: Sequence[str], seconds: float, repeats: int, **arguments: Any
) -> list[Row]:
    """Return the rows of a contender against itself less one trick at a time."""
    found = []
    with Contender(name, **arguments) as whole:
        for trick in tricks:
            with Contender(name, without=trick, **arguments) as without:
                whole.speeds = []
                rounds([whole, without], seconds, repeats)
                found.append(versus(f"{claim}: without {trick}", whole, without))
    return found


def program(code: str, cache: str = "") -> tuple[list[float], float]:
    """Return the seconds, or other numbers, that a program says, and how long its process takes.

    Nothing is compiled before it, but for what a folder of JAX's persistent cache holds.
    """
    environment = {**os.environ, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    if cache:
        environment["JAX_COMPILATION_CACHE_DIR"] = cache
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    took = time.perf_counter() - began
    return (json.loads(done.stdout.splitlines()[-1]) if done.stdout else []), took


def machine() -> str:
    """Return date, machine and versions in one line."""
    found = []
    for package in PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            found.append(f"no {package}")
    today = datetime.datetime.now(tz=datetime.UTC).date()
    python = f"Python {platform.python_version()}"
    return f"{today}, {processor()}, {cores()} cores, {_accelerator()}{python}, {', '.join(found)}"


def _accelerator() -> str:
    """Return the GPU's name where JAX finds one; asked in another process, so that JAX does not start here."""
    code = "import jax; d = jax.devices()[0]; print('' if d.platform == 'cpu' else d.device_kind + ', ')"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False).stdout.strip(
        "\n"
    )


def markdown(rows: Sequence[Row]) -> str:
    """Return rows as a Markdown table."""
    lines = [("claim", "qjax", "baseline", "ratio: median (spread)", "target"), ("---",) * 5, *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def run_as_script(rows: Callable[[bool], list[Row]]) -> None:
    """Print a script's rows as a table; `--quick` measures less often and shorter."""

    def main(quick: bool = False) -> None:
        print(f"{machine()}\n\n{markdown(rows(quick))}")

    tyro.cli(main)
