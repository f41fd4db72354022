"""One readable script per experiment: `python -m experiments.NAME --help`.

Started so, this is the first line of ours that runs, seconds before JAX is there: from here on Ctrl-C ends the
command with one line.
"""

import sys
from importlib.util import find_spec
from pathlib import Path
from runpy import run_path

if sys.argv[:1] == ["-m"]:  # while Python looks for the module that was named, and never after
    found = find_spec("qjax")
    assert found is not None and found.origin is not None
    run_path(f"{Path(found.origin).parent / 'machine' / 'startup.py'}")["begin"]()  # to import qjax imports JAX
