"""Nothing that a file holds is run: no pickle, no eval, and every reader is told to take plain values only."""

import ast
from collections.abc import Iterator

import pytest

from tests.test_architecture import FILES

FORBIDDEN_MODULES = {"cloudpickle", "cPickle", "dill", "joblib", "jsonpickle", "marshal", "pickle", "shelve"}
ALLOWED_NAMES = {"pickle.UnpicklingError"}  # what torch.load raises at code in a file
FORBIDDEN_CALLS = {
    "eval", "exec", "compile", "__import__", "os.system", "os.popen", "np.fromregex", "pd.read_pickle", "yaml.load",
    "yaml.load_all", "yaml.full_load", "yaml.full_load_all", "yaml.unsafe_load", "yaml.unsafe_load_all",
    "torch.jit.load", "torch.hub.load", "torch.package.PackageImporter",
}  # fmt: skip
REQUIRED = {
    "torch.load": ("weights_only", True),
    "np.load": ("allow_pickle", False),
    "np.save": ("allow_pickle", False),
}
MODULE_NAMES = {"numpy": "np", "pandas": "pd"}


def names(tree: ast.AST) -> dict[str, str]:
    """Return what the names of a file stand for, so that `from torch import load as read` hides nothing."""
    found: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.asname: alias.name for alias in node.names if alias.asname}
        elif isinstance(node, ast.ImportFrom):
            found |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return found


def full_name(node: ast.AST, known: dict[str, str]) -> str:
    """Return the dotted name of an expression, with numpy as np; an empty text if it is not a name."""
    text = ast.unparse(node) if isinstance(node, ast.Name | ast.Attribute) else ""
    first, dot, rest = text.partition(".")
    first, dot, rest = (known.get(first, first) + dot + rest).partition(".")
    return MODULE_NAMES.get(first, first) + dot + rest


def unsafe(source: str) -> Iterator[str]:
    """Yield the line and name of everything in a file that may run what another file holds."""
    tree = ast.parse(source)
    known = names(tree)
    for node in ast.walk(tree):
        name = full_name(node, known)
        if name.partition(".")[0] in FORBIDDEN_MODULES and "." in name and name not in ALLOWED_NAMES:
            yield f"{node.lineno}: {name}"  # type: ignore[attr-defined]
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in FORBIDDEN_MODULES:
            yield f"{node.lineno}: import of {node.module}"
        if isinstance(node, ast.keyword) and (node.arg, ast.unparse(node.value)) in (
            ("allow_pickle", "True"), ("weights_only", "False"), ("shell", "True"), ("trust_remote_code", "True"),
        ):  # fmt: skip
            yield f"{node.lineno}: {node.arg}={ast.unparse(node.value)}"
        if isinstance(node, ast.Call):
            called = full_name(node.func, known)
            if called in FORBIDDEN_CALLS:
                yield f"{node.lineno}: {called}"
            option, value = REQUIRED.get(called, ("", None))
            given = {one.arg: ast.unparse(one.value) for one in node.keywords}
            if option and given.get(option) != str(value):
                yield f"{node.lineno}: {called} without {option}={value}"


def test_nothing_that_a_file_holds_is_run() -> None:
    found = [f"{file}:{one}" for file, source in FILES.items() for one in unsafe(source)]
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize(
    "source",
    [
        "import pickle\npickle.load(file)",
        "import pickle as p\np.loads(text)",
        "from pickle import loads",
        "import joblib\njoblib.load(path)",
        "eval(text)",
        "exec(text)",
        "import yaml\nyaml.load(text, Loader=yaml.Loader)",
        "from yaml import unsafe_load\nunsafe_load(text)",
        "import torch\ntorch.load(path)",
        "import torch\ntorch.load(path, weights_only=False)",
        "import torch\ntorch.load(path, weights_only=safe)",
        "from torch import load as read\nread(path)",
        "import torch as t\nt.load(path)",
        "import numpy as np\nnp.load(path)",
        "import numpy\nnumpy.load(path, allow_pickle=True)",
        "read(path, allow_pickle=True)",
        "import subprocess\nsubprocess.run(text, shell=True)",
    ],
)
def test_an_unsafe_way_is_found(source: str) -> None:
    assert list(unsafe(source))


@pytest.mark.parametrize(
    "source",
    [
        "import torch\ntorch.load(path, weights_only=True)",
        "import numpy as np\nnp.load(path, allow_pickle=False)",
        "import yaml\nyaml.safe_load(text)",
        "import pickle\ntry:\n    read()\nexcept pickle.UnpicklingError:\n    pass",
        "network.eval()",
        "import re\nre.compile(text)",
    ],
)
def test_a_safe_way_is_not_found(source: str) -> None:
    assert not list(unsafe(source))
