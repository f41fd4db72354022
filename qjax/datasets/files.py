"""A data set as a folder: one `.npy` file for each array, and `dataset.json` to know and check them by.

`obs.npy`, `action.npy` and so on are NumPy's own format, `[T, N, ...]`; of observations of several arrays they are
`obs.0.npy`, `obs.1.npy`, ... in the order of their names. `dataset.json` is written last, and the folder gets
its name when it is whole.
"""

import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np

from qjax.core import files, jsonfile
from qjax.core.checks import check_flag, check_path, check_record, describe
from qjax.core.jsonfile import COUNT, RECORD, SIZE, TEXT, Kind, list_of, record_of
from qjax.core.structure import Unknown, described, rebuilt
from qjax.core.text import short
from qjax.datasets.dataset import Dataset, alike, check_dataset, check_env, known, one_of, told
from qjax.types import Env

FORMAT = 1
DATASET = "dataset.json"
OBSERVED, PROBABILITY = ("obs", "next_obs"), "probability"
ARRAY = {"shape": list_of(COUNT), "dtype": TEXT, "bytes": COUNT, "crc32": COUNT}
_ARRAY = Kind(
    "a record with shape, dtype, bytes and crc32",
    lambda x: (
        RECORD.holds(x) and x.keys() == ARRAY.keys() and all(kind.holds(x[name]) for name, kind in ARRAY.items())
    ),
)
KINDS: jsonfile.Kinds = {
    "format": COUNT, "env": TEXT, "num_actions": SIZE, "rows": SIZE, "streams": SIZE, "obs": RECORD,
    "arrays": record_of(_ARRAY), jsonfile.CHECKSUM: COUNT,
}  # fmt: skip
"""Of the keys of `dataset.json`, all of which it has."""


def save(folder: str | Path, data: Dataset) -> None:
    """Write a data set into a folder, bit for bit; nothing is ever written over.

    Args:
        folder: a new or an empty one.
        data: what is written; arrays mapped from other files are copied piece by piece.

    Raises:
        FileExistsError: the folder holds something, or is a file.
        TypeError: `data` is no `Dataset`, or a field of it no array of its dtype.
        ValueError: it is not as `Dataset` says, or holds NaN rewards, for instance.

    """
    check_path("folder", folder)
    check_record("data", data, Dataset)
    check_dataset(data, "data")
    folder, one = Path(folder), one_of(data.obs)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder} is not empty: no data set is written over, so choose another folder")
    try:
        structure = described(one)
    except Unknown as why:
        raise ValueError(f"data: its observations cannot be saved: {why}") from None
    new = folder.with_name(f".{folder.name}.new")  # what broke off stays there, and the next one takes its place
    shutil.rmtree(new, ignore_errors=True)
    files.make(new)
    rows, streams = data.action.shape
    content = {
        "format": FORMAT, "env": data.env, "num_actions": int(data.num_actions), "rows": rows, "streams": streams,
        "obs": structure, "arrays": _write(new, data),
    }  # fmt: skip
    files.write(new / DATASET, jsonfile.text(jsonfile.sealed(content)))
    files.put(new, folder)


def load(folder: str | Path, env: Env | None = None, mapped: bool = True) -> Dataset:
    """Return a data set that `save` wrote, bit for bit.

    Args:
        folder: where it stands.
        env: the environment that it is for; another's observations or actions are refused.
        mapped: map the arrays from their files, which may be larger than memory, and check their sizes and
            headers, rewards, actions and probabilities. False reads them whole, and checks every byte.

    Raises:
        FileNotFoundError: the folder holds no data set.
        ValueError: a file is missing, cut short or altered, of another version, or the data are of another
            environment than `env`; the file, and what differs, are named.

    """
    check_path("folder", folder)
    mapped = check_flag("mapped", mapped)
    if env is not None:
        check_record("env", env, Env)
    content, one = _content(Path(folder))
    fields = {}
    for field, names in _names(one, f"{PROBABILITY}.npy" in content["arrays"]).items():
        arrays = [_read(Path(folder) / name, content["arrays"][name], mapped) for name in names]
        fields[field] = jax.tree.unflatten(jax.tree.structure(one), arrays) if field in OBSERVED else arrays[0]
    data = Dataset(**fields, num_actions=content["num_actions"], env=content["env"])
    check_dataset(data, str(folder))
    axes, found = (content["rows"], content["streams"]), one_of(data.obs)
    if data.action.shape != axes or not alike(found, one):
        said, held = (f"{told(x)} {list(shape)}" for x, shape in ((one, axes), (found, data.action.shape)))
        raise ValueError(f"{Path(folder) / DATASET} is damaged: it tells of {said}, its files are of {held}")
    if env is not None:
        check_env(data, str(folder), env)
    return data


def _names(one: Any, probability: bool) -> dict[str, list[str]]:
    """Return the files of each field, by one observation and whether probabilities are known."""
    ends = (
        [""] if jax.tree_util.all_leaves([one]) else [f".{number}" for number in range(len(jax.tree.leaves(one)))]
    )
    fields = [name for name in Dataset._fields if name not in {"num_actions", "env", PROBABILITY}]
    fields += [PROBABILITY] * probability
    return {name: [f"{name}{end}.npy" for end in (ends if name in OBSERVED else [""])] for name in fields}


def _write(folder: Path, data: Dataset) -> dict[str, Any]:
    """Write the arrays, and return what `dataset.json` says of each file."""
    told_of = {}
    for field, names in _names(one_of(data.obs), known(data.probability)).items():
        for name, array in zip(names, jax.tree.leaves(getattr(data, field)), strict=True):
            path = folder / name
            with path.open("xb") as file:
                np.save(file, np.asarray(array), allow_pickle=False)
            files.sync(path)
            length, crc = files.digest(path)
            told_of[name] = {
                "shape": list(array.shape), "dtype": array.dtype.name, "bytes": length, "crc32": crc,
            }  # fmt: skip
    return told_of


def _content(folder: Path) -> tuple[dict[str, Any], Any]:
    """Return what `dataset.json` says, checked, and one observation by it."""
    path = folder / DATASET
    if not path.is_file():
        lacking = f"it has no {DATASET}, which is written last" if folder.is_dir() else "there is no such folder"
        raise FileNotFoundError(f"{folder} holds no data set: {lacking}")
    content = jsonfile.read(path, {"format": COUNT}, needs=["format"])
    if content["format"] != FORMAT:
        raise ValueError(f"{path} has format {content['format']}, this qjax reads {FORMAT}")
    jsonfile.check(path, content, KINDS, needs=KINDS)
    if jsonfile.broken(content):
        raise ValueError(f"{path} is damaged: it is not what was written, by its own checksum")
    try:
        one = rebuilt(content["obs"])
    except Unknown as why:
        raise ValueError(f"{path} tells of observations that are records, which cannot be made: {why}") from None
    there = {name for names in _names(one, f"{PROBABILITY}.npy" in content["arrays"]).values() for name in names}
    if differ := sorted(there ^ content["arrays"].keys()):
        raise ValueError(f"{path} is damaged: {differ[0]} is missing in it, or none of a data set's")
    return content, one


def _read(path: Path, entry: dict[str, Any], mapped: bool) -> np.ndarray:
    """Return an array from its file, which must be what was written."""
    if not path.is_file():
        raise ValueError(f"{path} is missing: the data set is damaged")
    if (length := path.stat().st_size) != entry["bytes"]:
        raise ValueError(f"{path} is damaged: it has {length} bytes, {entry['bytes']} were written")
    if not mapped and files.digest(path)[1] != entry["crc32"]:
        raise ValueError(f"{path} is damaged: it holds other bytes than were written")
    try:
        array = np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{path} is damaged: {short(str(error))}") from None
    if list(array.shape) != entry["shape"] or array.dtype.name != entry["dtype"]:
        said = f"{entry['dtype']}{entry['shape']}"
        raise ValueError(f"{path} is damaged: it holds {describe(array)}, {DATASET} says {said}")
    return array
