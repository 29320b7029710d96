"""Who may import whom, and what stands at the top level."""

import ast
import subprocess
import tomllib
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "distill"

#: The layers from the bottom up; a module imports from its own layer and from those below.
LAYERS = [
    {"types", "suggestions", "parser", "entry", "files", "processor", "settings", "quiet", "checkpoints"},
    {"distributed"},
    {"stages", "metrics", "tasks.base"},
    {"tasks", "assets", "text"},
    {"models", "losses", "reporting"},
    {"data", "teaching", "loggers", "log_steps", "csv_log"},
    {"modules", "callbacks"},
    {"export"},
    {"answering"},
    {"augmentation", "demo"},
    {"cli", "links", "sweeps", "resuming", "mistakes"},
]


def layer_of(name: str) -> int:
    """Return the layer of a module, given its dotted name inside the package."""
    parts = name.split(".")
    for index, layer in enumerate(LAYERS):
        if ".".join(parts[:2]) in layer:
            return index
    return next(index for index, layer in enumerate(LAYERS) if parts[0] in layer)


def imports_of(file: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("distill."):
            names.add(node.module.removeprefix("distill."))
    return names


MODULES = sorted(file for file in PACKAGE.rglob("*.py") if file != PACKAGE / "__init__.py")


@pytest.mark.parametrize("file", MODULES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_imports_point_downwards(file):
    name = ".".join(file.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")
    upwards = {other for other in imports_of(file) if layer_of(other) > layer_of(name)}
    assert not upwards, f"{name} may not import {sorted(upwards)}"


def test_losses_know_no_module_and_only_question_answering_knows_answers():
    for file in (PACKAGE / "losses").rglob("*.py"):
        assert not any(name.startswith(("modules", "tasks.question_answering")) for name in imports_of(file))


def test_files_have_one_job():
    long = {str(file): n for file in MODULES if (n := len(file.read_text(encoding="utf-8").splitlines())) > 300}
    assert not long
    assert not [file for file in MODULES if file.stem in {"utils", "helpers", "common", "misc"}]


def test_top_level_holds_nothing_but_what_it_should():
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    top = {path.split("/")[0] for path in tracked}
    assert {name for name in top if not name.startswith(".")} == {
        *("pyproject.toml", "README.md", "train.py", "distill", "configs", "tests", "lightning_logs"),
        *("LICENSE", "requirements.lock"),
    }


def test_lock_file_pins_every_requirement_within_its_range():
    lines = [line for line in (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines() if line[0] != "#"]
    locked = dict(line.split("==") for line in lines)
    assert list(locked) == sorted(locked)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = [*project["dependencies"], *chain.from_iterable(project["optional-dependencies"].values())]
    for requirement in map(Requirement, needed):
        if requirement.name != project["name"]:
            assert locked[canonicalize_name(requirement.name)] in requirement.specifier, requirement


def test_no_extra_brings_what_breaks_the_import_of_transformers():
    """Torchvision as it comes from the index is built for CUDA; beside torch for CPUs it lacks its operators."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = {Requirement(text).name for text in chain.from_iterable(project["optional-dependencies"].values())}
    locked = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert "torchvision==" not in locked
    assert not names & {"torchvision", "torchdistill"}
