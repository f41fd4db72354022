"""What runs were given: where they differ first, then everything."""

import json
from collections.abc import Iterator
from typing import Any

from qjax.cli.report.material import Material, Run
from qjax.cli.report.parts import Code, Folded, Pairs, Section, Table
from qjax.core.text import joined, short
from qjax.runs.config import CONFIG, flat

NOT_TOLD = ("out", "initial_agents", "config")
"""Of the machine's arguments: where things lie."""


def sections(material: Material) -> Iterator[Section]:
    """Yield constants that differ, those that do not, and each run's config."""
    given = {run.name: flat(run.config.get("arguments", {})) for run in material.runs if not run.searches}
    names = list(dict.fromkeys(name for found in given.values() for name in found))
    rows = {name: [_shown(found[name]) if name in found else "" for found in given.values()] for name in names}
    rows = {name: row for name, row in rows.items() if any(row)}
    differ = [[name, *row] for name, row in rows.items() if len(set(row)) > 1]
    same = [[name, row[0]] for name, row in rows.items() if len(set(row)) == 1]
    parts: list[Any] = []
    hidden = material.hidden
    if differ:
        parts.append(Table("Where the runs differ.", ["", *given], hidden.tree(differ), len(given) + 1))
    if same:
        caption = "What all runs have alike" if len(given) > 1 else "Everything that the run was given"
        parts.append(Pairs(f"{caption}; what has no value is left out.", hidden.tree(same)))
    parts += [_config(run, material) for run in material.runs]
    yield Section("settings", "Settings", parts)


def _config(run: Run, material: Material) -> Folded:
    """Return a run's config as it stands in its folder, without where things lie."""
    config = dict(run.config)
    if isinstance(config.get("machine"), dict):
        config["machine"] = {name: value for name, value in config["machine"].items() if name not in NOT_TOLD}
    text = json.dumps(material.hidden.tree(config), indent=1, ensure_ascii=False)
    return Folded(f"{CONFIG} of {run.name}", [Code("", text)])


def _shown(value: Any) -> str:
    """Return a constant in words, nothing of one without a value."""
    return "" if value is None or value in ([], {}) else short(joined(value))
