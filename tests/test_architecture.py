"""The structure of the package: imports go one way, files stay short, and three files alone import FAISS."""

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = {path.relative_to(ROOT).as_posix(): path.read_text() for path in sorted((ROOT / "carsfg").rglob("*.py"))}
LAYERS = (  # from low to high; a module imports its own layer and the layers below it
    "errors", "seeding", "progress", "files", "untrusted", "hardware", "class_paths", "run_record", "configs",
    "synthetic", "data", "models", "tasks", "retrieval", "evaluation", "plots", "search", "callbacks",
    "report", "app", "commands", "cli", "__init__", "__main__",
)  # fmt: skip
EXCEPTIONS: dict[tuple[str, str], str] = {}  # (file, imported module): reason; none is needed so far
MAX_LINES = 300
FAISS_FILES = tuple(f"carsfg/retrieval/{name}.py" for name in ("faiss_index", "faiss_changes", "index_file"))


def nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield all nodes of a syntax tree, without the blocks that only type checkers read."""
    if isinstance(tree, ast.If) and ast.unparse(tree.test).endswith("TYPE_CHECKING"):
        for other in tree.orelse:
            yield from nodes(other)
        return
    yield tree
    for child in ast.iter_child_nodes(tree):
        yield from nodes(child)


def package_of(file: str) -> list[str]:
    """Return the parts of the name of the package that a file belongs to."""
    return list(Path(file).parent.parts)


def imported_modules(file: str, source: str) -> Iterator[tuple[int, str]]:
    """Yield the line and the absolute name of each import; `from m import x` and `carsfg.x` give `m.x`, `carsfg.x`."""
    for node in nodes(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package_of(file) if node.level else []
            parts = parts[: len(parts) - node.level + 1] + ([node.module] if node.module else [])
            yield from ((node.lineno, ".".join([*parts, alias.name])) for alias in node.names)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "carsfg":
            yield node.lineno, f"carsfg.{node.attr}"


def layer_of(name: str) -> str | None:
    """Return the layer of an absolute module name; None for other packages and for carsfg's name and version."""
    first, _, rest = name.partition(".")
    part = rest.partition(".")[0]
    if first != "carsfg" or part in {"", "__version__"}:
        return None
    return part if part in LAYERS else "__init__"  # a public name, which __init__ imports from any layer


def upward_imports(files: Iterable[tuple[str, str]]) -> list[str]:
    """Return `file:line` and both layers of each import of a higher layer that is not an exception."""
    found = []
    for file, source in files:
        own = layer_of(file.removesuffix(".py").replace("/", ".")) or "__init__"
        for line, name in imported_modules(file, source):
            other = layer_of(name)
            if other and LAYERS.index(other) > LAYERS.index(own) and (file, name) not in EXCEPTIONS:
                found.append(f"{file}:{line}: {own} imports {name}, of the higher layer {other}")
    return found


def faiss_imports(files: Iterable[tuple[str, str]]) -> list[str]:
    """Return `file:line` of each import of FAISS outside its three files."""
    return [
        f"{file}:{line}"
        for file, source in files
        for line, name in imported_modules(file, source)
        if name.partition(".")[0] == "faiss" and file not in FAISS_FILES
    ]


def test_every_module_has_a_layer() -> None:
    modules = {Path(file).relative_to("carsfg").parts[0].removesuffix(".py") for file in FILES}
    assert modules == set(LAYERS), "a new module or package needs its place in LAYERS"


def test_imports_go_one_way() -> None:
    found = upward_imports(FILES.items())
    assert not found, "\n" + "\n".join(found)


def test_only_three_files_import_faiss() -> None:
    assert faiss_imports(FILES.items()) == []
    for file in FAISS_FILES:
        assert any(name == "faiss" for _, name in imported_modules(file, FILES[file]))


def test_no_file_is_too_long() -> None:
    long = {file: lines for file, source in FILES.items() if (lines := len(source.splitlines())) > MAX_LINES}
    assert not long, f"files above {MAX_LINES} lines: {long}"


@pytest.mark.parametrize(
    ("file", "source", "broken"),
    [
        ("carsfg/data/a.py", "from carsfg.models.cnn import CNN", True),
        ("carsfg/data/a.py", "from carsfg.synthetic.dataset import draw_cars", False),
        ("carsfg/data/a.py", "from carsfg.data.b import c", False),
        ("carsfg/data/a.py", "def f():\n    import carsfg.tasks.base as base", True),
        ("carsfg/data/a.py", "from ..tasks.base import CarsTask", True),
        ("carsfg/data/a.py", "from . import b", False),
        ("carsfg/data/__init__.py", "from ..tasks import base", True),
        ("carsfg/data/a.py", "from carsfg import CarsTask", True),
        ("carsfg/data/a.py", "import carsfg\ncarsfg.CarsTask", True),
        ("carsfg/data/a.py", "import carsfg\ncarsfg.__version__", False),
        ("carsfg/errors.py", "from carsfg.seeding import seed", True),
        ("carsfg/data/a.py", "if TYPE_CHECKING:\n    from carsfg.cli import main", False),
        ("carsfg/data/a.py", "if typing.TYPE_CHECKING:\n    pass\nelse:\n    from carsfg.cli import main", True),
        ("carsfg/app/a.py", "import torch, carsfg.commands.app", True),
    ],
)
def test_an_import_of_a_higher_layer_is_found(file: str, source: str, broken: bool) -> None:
    assert bool(upward_imports([(file, source)])) is broken


@pytest.mark.parametrize(
    "source", ["import faiss", "def f():\n    from faiss.contrib import ivf_tools", "import faiss as f"]
)
def test_an_import_of_faiss_is_found(source: str) -> None:
    assert len(faiss_imports([("carsfg/search/engine.py", source)])) == 1
    assert faiss_imports([(FAISS_FILES[0], source)]) == []
