"""One script per claim, its baselines beside it."""

import experiments  # noqa: F401 - from here on Ctrl-C ends a command with one line
