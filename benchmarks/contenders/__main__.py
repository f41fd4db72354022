"""One contender in a process of its own.

    python -m benchmarks.contenders NAME '{"argument": value}'

speaks the harness's protocol: it prints a line of JSON when ready, and a line with its speed and how many cores it
had for each line of seconds that it reads.
"""

import json
import sys
import time
from importlib import import_module

MODULES = ("others", "sweeps", "environments", "pieces")
"""In the environment of another library only the first can be imported."""


def main() -> None:
    """Answer the harness."""
    name, arguments = sys.argv[1], json.loads(sys.argv[2])
    began = time.perf_counter()
    modules = (import_module(f"benchmarks.contenders.{module}") for module in MODULES)
    setup = next(vars(module)[name] for module in modules if name in vars(module))
    measure = setup(**arguments)
    print(json.dumps({"ready_s": time.perf_counter() - began}), flush=True)
    for line in sys.stdin:
        began, used = time.perf_counter(), time.process_time()
        speed = measure(float(line))
        had = (time.process_time() - used) / (time.perf_counter() - began)
        print(json.dumps({"speed": speed, "cores": had}), flush=True)


if __name__ == "__main__":
    main()
