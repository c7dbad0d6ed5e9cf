"""Flags as gflags reads them: forms, files, the environment, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from programs import program

from caffe import glog
from caffe.commands.flags import FlagError, Flags, integer
from caffe.commands.program import Parser, run

VALUED, SWITCHES = ("solver", "level"), ("quick",)


def read(*arguments: str) -> dict[str, str]:
    return Flags("caffe", VALUED, SWITCHES, arguments).values


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("-solver", "s"), {"solver": "s"}),
        (("--solver=s=t",), {"solver": "s=t"}),
        (("-solver", "-level"), {"solver": "-level"}),
        (("-solver=",), {"solver": ""}),
        (("-quick",), {"quick": "true"}),
        (("-quick=false",), {"quick": "false"}),
        (("--noquick=true",), {"quick": "false"}),
        (("-solver=a", "-quick", "--solver", "b"), {"solver": "b", "quick": "true"}),
        (("-undefok=x,y", "-y=1", "-x"), {"undefok": "x,y"}),
    ],
)
def test_forms(arguments: tuple[str, ...], expected: dict[str, str]) -> None:
    assert read(*arguments) == expected


def test_what_is_no_flag_is_left_in_its_order() -> None:
    flags = Flags("caffe", VALUED, SWITCHES, ["train", "-quick", "true", "-", "--", "-solver", "s"])
    assert flags.others == ["train", "true", "-", "-solver", "s"]
    assert flags.values == {"quick": "true"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("-sol", "s"), "unknown command line flag 'sol'"),
        (("---solver=s",), "unknown command line flag '-solver'"),
        (("-solve", "-nobogus"), "'solve', unknown command line flag 'nobogus'"),
        (("-solver",), "flag '-solver' is missing its argument"),
        (("-nosolver",), "takes a value"),
        (("-flagfile", "none.txt"), "none.txt: No such file"),
        (("-fromenv=solver",), "FLAGS_solver not found"),
    ],
)
def test_mistakes(arguments: tuple[str, ...], words: str) -> None:
    with pytest.raises(FlagError, match=words):
        read(*arguments)


def test_a_switch_is_true_or_false() -> None:
    flags = Flags("caffe", VALUED, SWITCHES, ["-quick=Yes"])
    assert flags.truth("quick")
    with pytest.raises(FlagError, match="illegal value '2' specified for bool flag 'quick'"):
        Flags("caffe", VALUED, SWITCHES, ["-quick=2"]).truth("quick")


def test_numbers_may_be_hexadecimal() -> None:
    assert [integer(text) for text in ("010", "-5", "0x1F")] == [10, -5, 31]


def test_a_file_holds_a_flag_a_line_for_the_programs_it_names(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("# mine\n\n  --level=1\n-quick\n-bogus=1\n-solver s\n")
    (tmp_path / "two").write_text("other\n-level=2\ncaf* b\n-solver=mine\nother\ncaffe\n-noquick\n")
    assert read(f"-flagfile={tmp_path / 'one'}") == {
        "flagfile": str(tmp_path / "one"), "level": "1", "quick": "true",
    }  # fmt: skip
    both = read("-flagfile", f"{tmp_path / 'one'},{tmp_path / 'two'}", "-level", "3")
    assert both["level"] == "3"
    assert both["solver"] == "mine"
    assert both["quick"] == "false"


def test_a_file_that_reads_itself_is_refused(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text(f"-flagfile={two}\n")
    two.write_text(f"-level=1\n-flagfile={one}\n")
    with pytest.raises(FlagError, match=r"one: this flag file reads itself; take -flagfile="):
        read(f"-flagfile={one}")
    two.write_text("-level=1\n")
    assert read(f"-flagfile={one},{two}", f"-flagfile={one}")["level"] == "1"


def test_flags_come_from_the_environment_if_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLAGS_solver", "s")
    assert read() == {}
    assert read("-fromenv=solver")["solver"] == "s"
    assert read("-tryfromenv=level,solver")["solver"] == "s"


def test_flags_of_the_log_reach_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(glog, "_handler", glog.GlogHandler())
    given = ["-nolog_prefix", "-minloglevel=2", "-noalsologtostderr", "-stderrthreshold", "3"]
    assert run(Parser("p", ""), lambda options: 0, [*given, "-log_dir=here", "-v", "1"]) == 0
    settings = glog.settings()
    assert not settings.prefix
    assert not settings.also_to_stderr
    assert (settings.minimum, settings.stderr_threshold, settings.folder) == (2, 3, "here")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("-backe", "lmdb"), "unknown flag '-backe'"),
        (("--b=lmdb",), "unknown flag '--b=lmdb'"),
        (("-backend",), "missing its value"),
        (("-debug=2",), "illegal value '2'"),
        (("-logtostderr", "-v=1", "-vmodule", "x=1", "-nolog_prefix", "none"), "none"),
    ],
)
def test_the_tools_take_no_flags_but_their_own_and_the_logs(
    tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    done = program(tmp_path, "compute_image_mean", *arguments)
    assert done.returncode == 1
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
