"""One readable script per experiment: `python -m experiments.NAME --help`."""
