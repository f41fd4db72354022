"""One of several hosts: `python host.py MODE FOLDER [FLAG...]`, what the test of that mode asks of it."""

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import jax

import qjax
from qjax.cli import command
from qjax.machine import hosts


@dataclass(kw_only=True)
class Arguments(command.Common):
    seeds: int = 1
    out: Path = Path()


def run(args):
    number = jax.process_index()
    if MODE == "late":  # this one looks when the others could have written
        time.sleep(2 * number)
    given = {"host": number if MODE == "differ" else 0}
    with qjax.Run(args.out, "hosts", given, resume=args.resume, overwrite=args.overwrite) as folder:
        folder.lifecycle.begin()
        if MODE in ("fails", "first-fails") and number == (MODE == "fails"):
            raise ValueError("no more")
        if MODE == "killed" and number == 1:
            os._exit(9)
        hosts.gather({})  # what one that has gone would be waited for in
        if MODE == "stopped":
            command.stop(command.EXIT["SIGTERM"])
    print("done")


if __name__ == "__main__":
    MODE = sys.argv.pop(1)
    sys.argv[1:1] = ["--out"]
    if MODE == "alone":
        hosts.JOIN_SECONDS = 1
        hosts.initialize.__defaults__ = (1,)
    command.main(run, Arguments.parse)
