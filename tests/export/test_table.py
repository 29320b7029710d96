import copy
import io

from rich.console import Console

from distill.export.table import export_table
from tests.export.test_card import EXPORT


def printed(export) -> list[str]:
    console = Console(file=io.StringIO(), force_terminal=True, width=120, color_system="standard")
    console.print(export_table(export))
    return console.file.getvalue().splitlines()


def test_what_is_not_good_enough_is_red():
    lines = printed(EXPORT)
    bad = next(line for line in lines if "int8" in line)
    assert "\x1b[31m" in bad
    assert "loses 1.00 F1" in bad
    good = next(line for line in lines if "onnx" in line)
    assert "\x1b[31m" not in good
    assert "good" in good


def test_speed_is_told_against_float32_torch():
    assert "4.00x" in next(line for line in printed(EXPORT) if "int8" in line)
    slow = copy.deepcopy(EXPORT)
    slow["formats"]["int8"]["latency"][0]["p50_ms"] = 20.0
    assert "0.50x" in next(line for line in printed(slow) if "int8" in line)
