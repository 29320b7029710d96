import sys
from pathlib import Path

import pytest

from distill.entry import run_function
from distill.types import UserError

PACKAGE = Path(__file__).parents[1] / "distill"


def greet(name: str, times: int = 1) -> None:
    """Greet."""
    if name == "nobody":
        raise UserError("nobody: cannot be greeted")
    if name == "disk":
        raise PermissionError(13, "Permission denied", "greeting.txt")
    if name == "bug":
        raise OSError("of no file")
    sys.stdout.write("hola " * times + name)


def test_options_are_the_parameters(capsys):
    run_function(greet, ["--name", "Ana", "--times", "2"])
    assert capsys.readouterr().out == "hola hola Ana"


@pytest.mark.parametrize(
    ("name", "message"),
    [("nobody", "error: nobody: cannot be greeted\n"), ("disk", "error: greeting.txt: Permission denied\n")],
)
def test_a_mistake_is_one_line_and_exit_code_1(name, message, capsys):
    with pytest.raises(SystemExit) as end:
        run_function(greet, ["--name", name])
    assert end.value.code == 1
    assert capsys.readouterr().err == message


def test_a_wrong_option_is_exit_code_2(capsys):
    with pytest.raises(SystemExit) as end:
        run_function(greet, ["--name", "Ana", "--times", "often"])
    assert end.value.code == 2
    assert "times" in capsys.readouterr().err


def test_a_misspelt_option_is_one_line_that_names_the_right_one(capsys):
    with pytest.raises(SystemExit) as end:
        run_function(greet, ["--nmae", "Ana"])
    assert end.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1].endswith("--nmae Ana; did you mean --name?")


def test_a_bug_keeps_its_traceback():
    with pytest.raises(OSError, match="of no file"):
        run_function(greet, ["--name", "bug"])


def test_every_module_that_is_a_command_ends_so():
    commands = [file for file in PACKAGE.rglob("*.py") if "auto_cli(" in file.read_text(encoding="utf-8")]
    assert [file.name for file in commands] == ["entry.py"]
