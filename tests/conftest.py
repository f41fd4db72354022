"""Every test runs with jaxtyping's annotations checked at run time, and on two CPU devices.

Programs are compiled quickly, and once for all processes of a test run, in a cache that ends with it.
"""

import atexit
import gc
import os
import shutil
import signal
import tempfile
from importlib.util import find_spec
from pathlib import Path

import compilation
import gate
import pytest

for number in (signal.SIGINT, signal.SIGHUP):  # ignored where the tests run in the background, and so in children
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
os.environ.setdefault("JAX_PLATFORMS", "cpu")
if "PYTEST_XDIST_WORKER" not in os.environ:  # the workers, and what tests start, inherit it
    compilation.use_flags()
    if os.access("/dev/shm", os.W_OK) and shutil.disk_usage("/dev/shm").free > 2**31:  # a disk in memory
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", "/dev/shm")
        tempfile.tempdir = "/dev/shm"
    cache = tempfile.mkdtemp(prefix="qjax-tests-")
    atexit.register(shutil.rmtree, cache, ignore_errors=True)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = cache
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"


def pytest_configure(config):
    if not hasattr(config, "workerinput") and config.getoption("dist", "no") != "no":
        return  # the workers run the tests; this process need not import JAX
    from jaxtyping import install_import_hook

    folders = Path(find_spec("qjax").origin).parent.iterdir()
    checked = [f"qjax.{path.stem}" for path in folders if path.stem != "cli"]  # the command line has no arrays
    install_import_hook(checked, "typecheck.check")
    from qjax import use_cores

    use_cores(2)
    compilation.share_context()
    gc.set_threshold(50_000, 20, 50)  # JAX makes objects by the million, and few circles of them


@pytest.hookimpl(tryfirst=True)  # before pytest itself deselects by marks
def pytest_collection_modifyitems(config, items):
    config.stash[gate.COLLECTED] = [item.nodeid for item in items]
    for item in items:
        if gate.left_out(item.nodeid):
            item.add_marker(pytest.mark.slow)


@pytest.fixture
def as_users():
    """Have sweeps compile as users do."""
    with compilation.sweeps(compilation.AS_USERS):
        yield
