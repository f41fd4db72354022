"""The pictures that `qjax plot` draws, with captions in place of titles."""

from collections.abc import Iterator, Mapping, Sequence

from qjax.cli import compare
from qjax.cli.compare import DRAW, Group, Kind
from qjax.cli.report.material import Material, evaluated
from qjax.cli.report.parts import Figure, Section, Words
from qjax.cli.report.pictures import figure

CURVES: tuple[Kind, ...] = ("curves", "efficiency")
SEEDS: tuple[Kind, ...] = ("seeds", "profiles")

SHOWN: dict[Kind, str] = {
    "curves": "Learning curves: {metric} against {unit}. Lines and bands: {rest}.",
    "efficiency": "Left: {unit} until a return is first reached, the median over seeds with its 95% interval from"
    " order statistics; a line ends where half of the seeds fall short. Right: the share of seeds that have"
    " reached the dotted level, with Wilson's 95% interval. {rest}",
    "seeds": "{score} of every seed, a dot each; {rest}.",
    "profiles": "The share of seeds whose score lies above each threshold (Agarwal et al. 2021): {rest}.",
    "sensitivity": "{score} against swept values: {rest}.",
}
"""Captions: what stands in a title's first line comes before, and the other lines are `rest`."""


def sections(material: Material) -> Iterator[Section]:
    """Yield learning curves, the scores of seeds, and sensitivity where something was swept."""
    groups = material.groups
    parts = [part for group in groups for part in _curves(material, group)]
    if parts:
        yield Section("curves", "Learning curves", parts)
    parts = [part for group in groups for kind in SEEDS for part in _drawn(group, kind)]
    if len(groups) > 1:
        parts += _across(groups)
    if parts:
        yield Section("seeds", "Seeds", parts)
    swept = [group for group in groups if any(run.swept for run in group.runs.values())]
    parts = [part for group in swept for part in _drawn(group, "sensitivity")]
    if parts:
        yield Section("sensitivity", "Sensitivity to swept values", parts)


def _curves(material: Material, group: Group) -> Iterator[Figure | Words]:
    while_training = evaluated(material, group)
    yield from _drawn(group, "curves")
    if while_training is not None:
        yield from _drawn(while_training, "curves")
    yield from _drawn(group, "efficiency")


def _drawn(group: Group, kind: Kind) -> Iterator[Figure | Words]:
    """Yield the pictures of one kind, or why there are none."""
    score = group.scored
    words = {"metric": group.metric.replace("\n", " "), "unit": group.unit, "score": score[:1].upper() + score[1:]}
    try:
        for _, drawn in DRAW[kind](group):
            yield figure(drawn, _caption(kind, drawn.get_suptitle(), words))
    except ValueError as error:
        yield Words(f"No picture ({kind}): {error}.", notice=True)


def _across(groups: Sequence[Group]) -> Iterator[Figure]:
    """Yield the profiles over all environments, where a name has a run in each."""
    try:
        for _, drawn in compare.across(groups):
            yield figure(drawn, _caption("profiles", drawn.get_suptitle(), {}))
    except ValueError:
        return  # other names in other environments: nothing is missing


def _caption(kind: Kind, title: str, words: Mapping[str, str]) -> str:
    """Return a picture's title as a caption."""
    first, *rest = title.splitlines()
    return f"{first}. {SHOWN[kind].format(**words, rest='; '.join(rest))}".strip()
