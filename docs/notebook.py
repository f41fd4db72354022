"""Makes the notebook of the tutorial from its page: `python docs/notebook.py` writes start.ipynb.

Blocks of Python are its cells of code, everything else its text.
"""

import json
import re
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parent / "start.md"


def notebook(text: str) -> str:
    """Return a Markdown page as a Jupyter notebook."""
    cells: list[dict[str, Any]] = []
    for number, part in enumerate(re.split(r"^```python\n(.*?)^```\n", text, flags=re.DOTALL | re.MULTILINE)):
        if not part.strip():
            continue
        cell: dict[str, Any] = {"id": f"cell-{number}", "metadata": {}, "source": part.strip().splitlines(True)}
        is_code = number % 2 == 1
        kind = (
            {"cell_type": "code", "execution_count": None, "outputs": []} if is_code else {"cell_type": "markdown"}
        )
        cells.append(cell | kind)
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    made = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(made, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    PAGE.with_suffix(".ipynb").write_text(notebook(PAGE.read_text()))
