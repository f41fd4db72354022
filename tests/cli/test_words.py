"""How the words of every command line are read."""

import shlex

import pytest

from experiments import cartpole, family, frozenlake, records, results, study, textbook
from qjax.cli import plot, reading, train, watch, words
from qjax.cli.arguments import resolve
from qjax.cli.words import keywords, literal, whole
from qjax.core import jsonfile
from qjax.mdp.lakes import lake_map

PROGRAMS = (cartpole, frozenlake, family, textbook, study, train, watch)


@pytest.mark.parametrize(
    ("text", "value"),
    [("100000", 10**5), ("100_000", 10**5), ("1e5", 10**5), ("1E+5", 10**5), ("2.5e3", 2500), ("-3", -3), ("0", 0)],
)
def test_whole_numbers(text, value):
    found = whole(text)
    assert found == value and type(found) is int


@pytest.mark.parametrize("text", ["1.5", "1.5e0", "1e-1", "2.0", "", "x", "nan", "inf", "1e99999999999", "0x10"])
def test_no_whole_numbers(text):
    with pytest.raises(ValueError, match="a whole number is written like 100000, 100_000 or 1e5, got"):
        whole(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("8x8", "8x8"),
        ("SFFF", "SFFF"),
        ("true", True),
        ("False", False),
        ("none", None),
        ("None", None),
        ("null", None),
        ("12", 12),
        ("1e3", 1000),
        ("1_000", 1000),
        ("0.5", 0.5),
        ("1.0", 1.0),
        (".5", 0.5),
        ("1e-3", 0.001),
        ("-1", -1),
        ('["SFFF","FHFH","FFFH","HFFG"]', ["SFFF", "FHFH", "FFFH", "HFFG"]),
        ("['SF', 'HG']", ["SF", "HG"]),
        ("SF,HG", ("SF", "HG")),
        ("1,-1,-0.01", (1, -1, -0.01)),
        ("1e3,None", (1000, None)),
        ("(1, 2)", (1, 2)),
        ("[[1, 2], [3]]", [[1, 2], [3]]),
        ('{"a": [1, null]}', {"a": [1, None]}),
        ('"8"', "8"),
        ("a,,b", "a,,b"),
        ("a=b", "a=b"),
        ("", ""),
        ("[" * 100_000, "[" * 100_000),
    ],
)
def test_values_of_keywords(text, value):
    found = literal(text)
    assert found == value and type(found) is type(value)


def test_keywords():
    assert keywords("--k", ["a=B=c", "b=1,x"]) == {"a": "B=c", "b": (1, "x")}
    for given, said in ((["a"], "--k takes KEY=VALUE, got a"), (["a=1", "a=2"], "a twice"), (["=1"], "got =1")):
        with pytest.raises(ValueError, match=said):
            keywords("--k", given)


def test_a_map_from_the_command_line():
    """Letters stay as they are typed, and the run's command can be pasted into a shell."""
    rows = ['desc=["SFFF","FHFH","FFFH","HFFG"]', "is_slippery=False", "reward_schedule=1,-1,-0.01"]
    args = resolve(reading.read(["q-learning", "--env-kwargs", *rows, "--out", "x"]))
    assert lake_map(args.make().unwrapped) == ["SFFF", "FHFH", "FFFH", "HFFG"]
    written = records.command(jsonfile.plain(args.recorded), str(args.out))
    assert reading.read(shlex.split(written)[2:]).env_kwargs == tuple(rows)


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_every_program_reads_words_alike(program, capsys):
    parse, needed = (
        reading.read if program is train else program.Arguments.parse,
        {train: ["dqn", "--out", "x"], watch: ["RUN"]}.get(program, []),
    )
    whole_flag = "--lake-seeds" if program is study else "--seed"
    name = whole_flag.removeprefix("--").replace("-", "_")
    assert getattr(parse([*needed, whole_flag, "1e1"]), name) == 10
    assert parse([*needed, "--cores=2"]).cores == 2
    near = f"{whole_flag}x"
    for given, said in (
        ([near, "3"], f"no flag {near}; did you mean .*{whole_flag}"),
        ([*needed, whole_flag, ""], f"an empty word after {whole_flag}"),
    ):
        with pytest.raises(ValueError, match=said):
            parse(given)
    with pytest.raises(ValueError, match=f"^{whole_flag}: a whole number is written like .*, got '1.5'$"):
        parse([*needed, whole_flag, "1.5"])
    assert capsys.readouterr().err == ""


def test_programs_without_a_device():
    for parse in (
        lambda given: words.parse(plot.Arguments, given, "plot"),
        lambda given: words.parse(results.main, given, "results"),
    ):
        with pytest.raises(ValueError, match="no flag --remarx; "):
            parse(["--remarx", "x"])
    assert words.parse(plot.Arguments, ["x", "--window", "1e1"], "plot").window == 10
    with pytest.raises(FileNotFoundError, match="nowhere"):
        words.parse(results.main, ["nowhere"], "results")


@pytest.mark.parametrize("program", (*PROGRAMS, plot), ids=lambda program: program.__name__)
def test_help_at_80_columns(program, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as ended:
        words.parse(program.Arguments, ["--help"], f"python -m {program.__name__}")
    lines = capsys.readouterr().out.splitlines()
    assert ended.value.code == 0 and len(lines) > 10 and max(map(len, lines)) <= 80
    first = " ".join(program.Arguments.__doc__.split("\n\n")[0].split())
    assert first in " ".join(" ".join(lines).split())
