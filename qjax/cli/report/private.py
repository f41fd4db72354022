"""What a page that goes to somebody else does not tell: where its runs lie on this machine."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ABSOLUTE = re.compile(r"(?<![\w.>/~-])~?/(?:[^\s/:;,'\"()\[\]]+/)+(?=[^\s/:;,'\"()\[\]])")
"""The folders of an absolute path, or of one in somebody's home."""


class Hidden:
    """Takes paths out of text: a run's folder is its name, of other absolute paths the last part is left."""

    def __init__(self, folders: Mapping[Path, str]):
        """Take the runs' folders with their names."""
        ways = {str(way): name for path, name in folders.items() for way in (path, path.resolve())}
        named = [(way, name) for way, name in ways.items() if way.strip("./")]  # "." is in every sentence
        self._ways = sorted(named, key=lambda way: -len(way[0]))

    def __call__(self, text: str) -> str:
        """Return text without paths."""
        for way, name in self._ways:
            plain = name.replace("\\", r"\\")  # no group of the expression is meant
            text = re.sub(rf"(?<![\w./-]){re.escape(way)}(?![\w.-]*[\w-])", plain, text)
        return ABSOLUTE.sub("", text)

    def tree(self, value: Any) -> Any:
        """Return what JSON holds, without paths."""
        if isinstance(value, Mapping):
            return {self(str(key)): self.tree(each) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return [self.tree(each) for each in value]
        return self(value) if isinstance(value, str) else value
