"""The order of the house: every folder imports only what stands before it."""

import ast
import re
from pathlib import Path

import pytest

import vad_pipeline

PACKAGE = "vad_pipeline"
SOURCE = Path(vad_pipeline.__file__).parent
DOCS = Path(__file__).resolve().parents[1] / "docs"

# From the ground up, folders and single files; docs/architecture.md draws it.
ORDER = (
    "__init__",
    "tracking",
    "clips",
    "fitting",
    "sources",
    "flow",
    "features",
    "evaluation",
    "anomalies",
    "inpainting",
    "models",
    "training",
    "scoring",
    "detection",
    "experiments",
    "report",
    "io",
    "pipelines",
    "pipeline_registry",
    "hooks",
    "terminal",
    "config_loader",
    "settings",
    "cli",
)
KEDRO = {"io", "pipelines", "pipeline_registry", "hooks", "terminal", "config_loader", "settings", "cli"}
MLFLOW = {"tracking.py", "hooks.py", "detection/served_model.py"}


def room_of(path):
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imports(path):
    """(module, line) of every import of a file, wherever it stands: under TYPE_CHECKING and in functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}:{node.lineno}: relative imports are not read here"
            if node.module == PACKAGE:
                yield from ((f"{PACKAGE}.{alias.name}", node.lineno) for alias in node.names)
            else:
                yield str(node.module), node.lineno


FILES = sorted(SOURCE.rglob("*.py"))


def test_every_room_has_its_place():
    assert {room_of(path) for path in FILES} == set(ORDER)


@pytest.mark.parametrize("room", ORDER)
def test_a_room_imports_only_what_stands_before_it(room):
    above = set(ORDER[ORDER.index(room) + 1 :])
    wrong = [
        f"{path.relative_to(SOURCE)}:{line} imports {module}"
        for path in FILES
        if room_of(path) == room
        for module, line in imports(path)
        if module.startswith(f"{PACKAGE}.") and module.split(".")[1] in above
    ]
    assert not wrong


def test_the_page_and_its_drawing_show_the_rooms_in_their_order():
    rooms = list(ORDER[1:])
    page = (DOCS / "architecture.md").read_text(encoding="utf-8")
    table = page.split("| in `src/vad_pipeline/` | holds |")[1].split("\n\n")[0]
    first_column = " ".join(row.split("|")[1] for row in table.splitlines() if row)
    assert [name.removesuffix(".py").rstrip("/") for name in re.findall(r"`([^`]+)`", first_column)] == rooms
    drawing = (DOCS / "architecture.svg").read_text(encoding="utf-8")
    drawn = re.findall(r'<text class="room"[^>]*>([^<]+)</text>', drawing)
    assert [name.removesuffix(".py").rstrip("/") for name in drawn] == rooms


@pytest.mark.parametrize("library", ["kedro", "kedro_datasets"])
def test_kedro_is_imported_where_it_belongs(library):
    found = {room_of(path) for path in FILES for module, _ in imports(path) if module.split(".")[0] == library}
    assert found <= KEDRO
    assert found, f"nothing imports {library}: the reading of imports is broken"


def test_mlflow_is_imported_by_what_tracks_and_what_serves():
    found = {path for path in FILES for module, _ in imports(path) if module.split(".")[0] == "mlflow"}
    assert {path.relative_to(SOURCE).as_posix() for path in found} == MLFLOW
