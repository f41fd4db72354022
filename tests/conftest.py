"""Every test runs with jaxtyping's annotations checked at run time, and on two CPU devices.

What takes long to compile is compiled once for all processes of a test run, in a cache that ends with it.
"""

import atexit
import os
import shutil
import tempfile

os.environ.setdefault("JAX_PLATFORMS", "cpu")
if "PYTEST_XDIST_WORKER" not in os.environ:  # the workers, and what tests start, inherit it
    cache = tempfile.mkdtemp(prefix="qjax-tests-")
    atexit.register(shutil.rmtree, cache, ignore_errors=True)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = cache
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.2"

from jaxtyping import install_import_hook

install_import_hook("qjax", "typecheck.check")

from qjax import use_cores  # noqa: E402 (the hook comes first)

use_cores(2)
