"""What pyproject.toml lets in of JAX is what was tested: its insides are read, and its programs decide numbers."""

import re
import tomllib
from pathlib import Path

import jax
from packaging.requirements import Requirement
from packaging.version import Version

PROJECT = Path(__file__).parent.parent / "pyproject.toml"


def minor(version):
    return version.release[:2]


def test_jax_is_bounded_on_both_sides_by_what_was_tested():
    text = PROJECT.read_text()
    tested = sorted(
        Version(found) for found in re.findall(r"\bjax (\d+\.\d+\.\d+)", text.partition("dependencies =")[0])
    )
    given = map(Requirement, tomllib.loads(text)["project"]["dependencies"])
    bounds = next(each.specifier for each in given if each.name == "jax")
    oldest, newest = tested[0], tested[-1]
    assert {each.operator: each.version for each in bounds}.keys() == {">=", "<"}
    assert oldest in bounds and newest in bounds
    assert Version(f"{oldest.major}.{oldest.minor}.{oldest.micro - 1}") not in bounds
    assert Version(f"{newest.major}.{newest.minor}.999") in bounds
    assert Version(f"{newest.major}.{newest.minor + 1}.0") not in bounds


def test_the_jax_that_runs_these_tests_is_one_of_them():
    tested = re.findall(r"\bjax (\d+\.\d+\.\d+)", PROJECT.read_text())
    assert minor(Version(jax.__version__)) in {minor(Version(found)) for found in tested}
