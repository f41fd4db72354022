"""Every test runs with jaxtyping's annotations checked at run time, and on two CPU devices."""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")

from jaxtyping import install_import_hook

install_import_hook("qjax", "typecheck.check")

from qjax import use_cores  # noqa: E402 (the hook comes first)

use_cores(2)
