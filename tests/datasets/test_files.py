"""What is saved is loaded bit for bit; what is not, or is for another environment, is refused by name."""

import json
import shutil

import jax
import numpy as np
import pytest

import qjax
from qjax import datasets
from qjax.core import jsonfile

CART = qjax.make("CartPole-v1")


def made(obs, probability=True, **changed):
    """Seven rows of two streams of an observation, in random bits."""
    rng = np.random.default_rng(0)
    random = lambda x: np.frombuffer(rng.bytes(x.nbytes * 14), x.dtype).reshape(7, 2, *x.shape)
    observed = lambda x: rng.integers(2, size=(7, 2, *x.shape)).astype(bool) if x.dtype == bool else random(x)
    rows = [jax.tree.map(observed, obs) for _ in range(2)]
    return datasets.Dataset(
        obs=rows[0], action=rng.integers(2, size=(7, 2)).astype(np.int32), reward=random(np.float32(0)) % 1e3,
        terminated=rng.integers(2, size=(7, 2)).astype(bool), truncated=rng.integers(2, size=(7, 2)).astype(bool),
        next_obs=rows[1], num_actions=2, env="CartPole-v1",
        probability=rng.uniform(0.1, 1, (7, 2)).astype(np.float32) if probability else (),
    )._replace(**changed)  # fmt: skip


def cart(**changed):
    data = made(np.zeros(4, np.float32), **changed)
    return data._replace(reward=np.nan_to_num(data.reward, posinf=1, neginf=1))


KINDS = {
    "box": np.zeros(4, np.float32),
    "number": np.int32(0),
    "pixels": np.zeros((3, 3, 2), np.uint8),
    "flags": np.zeros((3, 2), bool),
    "nothing": np.zeros((0,), np.float32),
    "dict": {"b": np.zeros(2, np.float16), "a": {"x": np.int8(0)}, "a/../b": np.uint32(0)},
    "tuple": (np.zeros(2, np.float32), [np.zeros((), bool)]),
    "one of a dict": {"a": np.zeros(2, np.float32)},
    "record": qjax.types.Scaled(np.zeros(2, np.float32), np.int32(0)),
}


def same(one, other):
    """Whether two data sets are the same, bit for bit."""
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for x, y in zip(*map(jax.tree.leaves, (one, other)), strict=True):
        assert np.asarray(x).dtype == np.asarray(y).dtype and np.shape(x) == np.shape(y)
        assert np.asarray(x).tobytes() == np.asarray(y).tobytes()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("probability", [True, False])
def test_bit_for_bit(kind, probability, tmp_path):
    data = made(KINDS[kind], probability)
    data = data._replace(reward=np.nan_to_num(data.reward, posinf=1, neginf=1))
    datasets.save(tmp_path / "a", data)
    for mapped in (True, False):
        found = datasets.load(tmp_path / "a", mapped=mapped)
        same(found, data)
        assert all(isinstance(x, np.memmap) == mapped for x in jax.tree.leaves(found) if hasattr(x, "shape"))
    datasets.save(tmp_path / "b", datasets.load(tmp_path / "a"))
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_the_files_are_as_the_guide_says(tmp_path):
    data = cart()
    datasets.save(tmp_path / "a", data)
    arrays = {"obs", "action", "reward", "terminated", "truncated", "next_obs", "probability"}
    assert {path.name for path in (tmp_path / "a").iterdir()} == {"dataset.json", *(f"{x}.npy" for x in arrays)}
    for name in arrays:
        np.testing.assert_array_equal(np.load(tmp_path / "a" / f"{name}.npy"), getattr(data, name))
    told = json.loads((tmp_path / "a" / "dataset.json").read_text())
    assert {name: told[name] for name in ("format", "env", "num_actions", "rows", "streams")} == {
        "format": 1, "env": "CartPole-v1", "num_actions": 2, "rows": 7, "streams": 2,
    }  # fmt: skip
    assert told["arrays"]["obs.npy"].keys() == {"shape", "dtype", "bytes", "crc32"}
    datasets.save(tmp_path / "b", made(KINDS["dict"]))
    names = {path.name for path in (tmp_path / "b").glob("*obs*")}
    assert names == {f"{name}.{number}.npy" for name in ("obs", "next_obs") for number in range(3)}


def test_a_file_cut_at_any_length_is_named(tmp_path):
    datasets.save(tmp_path / "whole", cart())
    for path in sorted((tmp_path / "whole").iterdir()):
        size = path.stat().st_size
        for length in (
            0,
            1,
            8,
            64,
            size // 2,
            size - 2,
            size - 1 - (path.suffix == ".json"),
        ):  # which ends in a line
            folder = shutil.copytree(tmp_path / "whole", tmp_path / "cut")
            (folder / path.name).write_bytes(path.read_bytes()[:length])
            for mapped in (True, False):
                with pytest.raises(ValueError, match=f"cut/{path.name} is damaged"):
                    datasets.load(folder, mapped=mapped)
            shutil.rmtree(folder)


def test_a_file_that_is_longer_missing_or_altered_is_named(tmp_path):
    datasets.save(tmp_path / "whole", cart())
    for path in sorted((tmp_path / "whole").glob("*.npy")):
        folder, own = tmp_path / "a", tmp_path / "a" / path.name
        shutil.copytree(tmp_path / "whole", folder)
        own.write_bytes(path.read_bytes() + b"x")
        with pytest.raises(ValueError, match=f"{path.name} is damaged: it has .* bytes, .* were written"):
            datasets.load(folder)
        own.unlink()
        with pytest.raises(ValueError, match=f"{path.name} is missing"):
            datasets.load(folder)
        altered = bytearray(path.read_bytes())
        altered[-1] ^= 1
        own.write_bytes(altered)
        with pytest.raises(ValueError, match=f"{path.name} is damaged: it holds other bytes than were written"):
            datasets.load(folder, mapped=False)
        header = path.read_bytes().replace(b"(7, 2", b"(2, 7", 1)
        own.write_bytes(header)
        with pytest.raises(
            ValueError, match=rf"{path.name} is damaged: it holds .*\[2, 7.*, dataset.json says .*\[7, 2"
        ):
            datasets.load(folder)
        shutil.rmtree(folder)
    with pytest.raises(FileNotFoundError, match="holds no data set: there is no such folder"):
        datasets.load(tmp_path / "nowhere")
    (tmp_path / "whole" / "dataset.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"it has no dataset\.json, which is written last"):
        datasets.load(tmp_path / "whole")


def altered(folder, change):
    """Change what `dataset.json` says, with a checksum that holds."""
    path = folder / "dataset.json"
    content = json.loads(path.read_text())
    del content["checksum"]
    change(content)
    path.write_text(jsonfile.text(jsonfile.sealed(content)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(format=2), "has format 2, this qjax reads 1"),
        (lambda c: c.update(rows=8), r"tells of float32\[4\] \[8, 2\], its files are of float32\[4\] \[7, 2\]"),
        (lambda c: c.update(obs={"array": [5], "dtype": "float32"}), r"tells of float32\[5\]"),
        (lambda c: c.update(obs={"array": [4], "dtype": "nonsense"}), "'nonsense' is no dtype"),
        (lambda c: c.update(obs={"record": "nowhere:X", "fields": {}}), "nowhere is not imported"),
        (lambda c: c.update(num_actions=0), "'num_actions' is 0"),
        (lambda c: c.pop("env"), "it has no 'env'"),
        (lambda c: c["arrays"].pop("reward.npy"), "reward.npy is missing in it"),
        (lambda c: c["arrays"].update({"../x.npy": c["arrays"]["reward.npy"]}), "../x.npy is missing in it, or"),
        (lambda c: c["arrays"]["obs.npy"].pop("bytes"), "'arrays' is .* not a record"),
    ],
)  # fmt: skip
def test_what_dataset_json_says_is_checked(change, message, tmp_path):
    datasets.save(tmp_path / "a", cart())
    altered(tmp_path / "a", change)
    with pytest.raises(ValueError, match=message):
        datasets.load(tmp_path / "a")
    path = tmp_path / "a" / "dataset.json"
    path.write_text(path.read_text().replace("CartPole", "Cartpole").replace('"format": 2', '"format": 1'))
    with pytest.raises(ValueError):
        datasets.load(tmp_path / "a")


def test_numbers_that_are_none_are_refused_on_both_ways(tmp_path, monkeypatch):
    data = cart()
    for name, value, message in (
        ("reward", np.nan, "reward is no finite number in 1 places, the first is row 3 of stream 1: nan"),
        ("reward", np.inf, "reward is no finite number in 1 places, the first is row 3 of stream 1: inf"),
        ("action", 2, "action is none of 2 actions in 1 places, the first is row 3 of stream 1: 2"),
        ("probability", 1.5, r"probability is not in \(0, 1\] in 1 places, the first is row 3 of stream 1: 1.5"),
    ):
        array = getattr(data, name).copy()
        array[3, 1] = value
        wrong, folder = data._replace(**{name: array}), tmp_path / f"{name}-{value}"
        with pytest.raises(ValueError, match=message):
            datasets.save(folder, wrong)
        assert not folder.exists()
        with monkeypatch.context() as patch:
            patch.setattr(datasets.files, "check_dataset", lambda *_: None)
            datasets.save(folder, wrong)
        for mapped in (True, False):
            with pytest.raises(ValueError, match=f"{folder.name}: {message}"):
                datasets.load(folder, mapped=mapped)


def test_another_environment_is_named(tmp_path):
    datasets.save(tmp_path / "a", cart())
    same(datasets.load(tmp_path / "a", CART), datasets.load(tmp_path / "a"))
    lake, more = qjax.make("FrozenLake-v1"), CART._replace(name="Cart3", num_actions=3)
    with pytest.raises(ValueError, match=r"of CartPole-v1 float32\[4\]; those of FrozenLake-v1 are int32\[\]"):
        datasets.load(tmp_path / "a", lake)
    with pytest.raises(ValueError, match="of CartPole-v1 with 2 actions; Cart3 has 3"):
        datasets.load(tmp_path / "a", more)
    parts = CART._replace(obs_spec={"x": CART.obs_spec})
    with pytest.raises(ValueError, match=r"float32\[4\]; those of CartPole-v1 are \['x'\] float32\[4\]"):
        datasets.load(tmp_path / "a", parts)


def test_nothing_is_written_over(tmp_path):
    datasets.save(tmp_path / "a", cart())
    with pytest.raises(FileExistsError, match="a is not empty: no data set is written over"):
        datasets.save(tmp_path / "a", cart(probability=False))
    same(datasets.load(tmp_path / "a"), cart())
    (tmp_path / "file").write_text("x")
    with pytest.raises(FileExistsError, match="file is not empty"):
        datasets.save(tmp_path / "file", cart())
    (tmp_path / "empty").mkdir()
    datasets.save(tmp_path / "empty", cart())
    with pytest.raises(ValueError, match="data: reward must be float32"):
        datasets.save(tmp_path / "b", cart()._replace(reward=np.zeros((7, 3), np.float32)))


def test_a_save_that_breaks_off_leaves_no_data_set(tmp_path, monkeypatch):
    wrote = np.save

    def breaks(file, array, **options):
        if array.dtype == bool:
            raise OSError("no space left")
        wrote(file, array, **options)

    with monkeypatch.context() as patch, pytest.raises(OSError, match="no space left"):
        patch.setattr(np, "save", breaks)
        datasets.save(tmp_path / "a", cart())
    with pytest.raises(FileNotFoundError, match="a holds no data set"):
        datasets.load(tmp_path / "a")
    datasets.save(tmp_path / "a", cart())  # what broke off stands in nobody's way
    same(datasets.load(tmp_path / "a"), cart())
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_collected_and_loaded_again_it_is_the_same(tmp_path):
    agent = qjax.tabular(16, 4, 0.1)
    lake = qjax.make("FrozenLake-v1")
    data = datasets.collect(lake, agent, np.zeros((16, 4), np.float32), qjax.uniform, jax.random.key(0), 40, 2)
    datasets.save(tmp_path / "a", data)
    same(datasets.load(tmp_path / "a", lake), data)
