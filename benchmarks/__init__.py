"""One script per claim, its baselines beside it."""
