"""Command lines in this process."""

import sys

import pytest


def status_of(main, *words):
    """Run a command's `main` with these words; return its exit status."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["qjax", *map(str, words)])
        patch.setenv("COLUMNS", "200")
        with pytest.raises(SystemExit) as ended:
            main()
    return ended.value.code
