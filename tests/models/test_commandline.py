"""Numbers on command lines: what JSON takes, wherever a parser's flags stand."""

import json
from pathlib import Path

import pytest

from models.commandline import Parser, place, within

WRONG = ["1_0", "٣", " 7 ", "7\n", "+7", "07", "1e400", "-1e400", "nan", "inf", "0x10", "1,5", "", "-", "9" * 5000]


@pytest.fixture
def parser() -> Parser:
    """`draw N`, with --size in a group and --rate."""
    made = Parser(prog="draw")
    command = made.add_subparsers(required=True).add_parser("draw")
    command.add_argument("count", type=int)
    command.add_argument_group("a group").add_argument("--size", type=int)
    command.add_argument("--rate", type=float)
    return made


@pytest.mark.parametrize("text", ["0", "7", "-7", str(2**63 - 1)])
def test_whole_numbers(parser: Parser, text: str) -> None:
    typed = parser.parse_args(["draw", text, "--size", text])
    assert (typed.count, typed.size) == (json.loads(text), json.loads(text))


@pytest.mark.parametrize("text", ["0", "-0.5", "1e-4", "2E+3", "12.25e2", "1e308", "1e-400"])
def test_numbers(parser: Parser, text: str) -> None:
    assert parser.parse_args(["draw", "1", "--rate", text]).rate == json.loads(text)


@pytest.mark.parametrize("text", WRONG)
@pytest.mark.parametrize("flag", ["--size", "--rate"])
def test_what_json_does_not_take(parser: Parser, flag: str, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        parser.parse_args(["draw", "1", f"{flag}={text}"])
    assert stopped.value.code == 2
    sentence = capsys.readouterr().err.splitlines()[-1]
    assert f"argument {flag}: " in sentence
    assert len(sentence) < 200


@pytest.mark.parametrize("text", ["1.5", "1e2", str(2**63)])
def test_what_is_no_whole_number(parser: Parser, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser.parse_args(["draw", text])
    assert "argument count: " in capsys.readouterr().err


def test_flags_are_written_in_full(parser: Parser, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser.parse_args(["draw", "1", "--siz", "2"])
    assert "unrecognized arguments: --siz 2" in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["--out", "--set"])
def test_an_empty_text_names_no_place(parser: Parser, flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    parser.add_argument("--out", type=Path)
    parser.add_argument("--set", type=place)
    with pytest.raises(SystemExit):
        parser.parse_args([flag, "", "draw", "1"])
    assert f"argument {flag}: an empty text names nothing" in capsys.readouterr().err
    assert parser.parse_args(["--out", "a/b", "draw", "1"]).out == Path("a/b")


def test_bounds(parser: Parser, capsys: pytest.CaptureFixture[str]) -> None:
    parser.add_argument("--threads", type=within(0, 4096))
    assert [parser.parse_args([f"--threads={text}", "draw", "1"]).threads for text in ("0", "4096")] == [0, 4096]
    for text in ("-1", "4097", "1_0"):
        with pytest.raises(SystemExit):
            parser.parse_args([f"--threads={text}", "draw", "1"])
        assert "argument --threads: " in capsys.readouterr().err
