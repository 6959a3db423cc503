"""Public functions and classes have docstrings, with an informative line for each argument and attribute."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "carsfg").rglob("*.py"))
SECTION = re.compile(r"^Args:\n((?:[ ]{4}.*\n?|\n)+)", re.MULTILINE)
SECTIONS = re.compile(r"^(?:Args|Attributes):\n((?:[ ]{4}.*\n?|\n)+)", re.MULTILINE)
ENTRY = re.compile(r"^ {4}\*{0,2}(\w+): (.*(?:\n {5,}.*)*)", re.MULTILINE)
MIN_INFORMATIVE_WORDS = 2
FILLERS = frozenset(
    re.findall(
        r"\w+",
        "a an and are as at be by for from in is it its itself likewise of on one ones or other others so some such "
        "than that the their them they thing this to was what which whose with",
    )
)
# methods that Lightning and the parsers call, never a user: what they take is written down there
HOOK = re.compile(
    r"on_\w+|setup|teardown|train|\w+_step|write_on_\w+|load_from_checkpoint|init_parser|add_arguments_to_parser|"
    r"parse_arguments|error"
)
Function = ast.FunctionDef | ast.AsyncFunctionDef


def documented(text: str) -> set[str]:
    """Return the names that have a line in the section `Args:` of a docstring."""
    section = SECTION.search(text)
    return set(re.findall(r"^ {4}(\*{0,2}\w+): \S", section[1], re.MULTILINE)) if section else set()


def empty_lines(text: str) -> Iterator[str]:
    """Yield `name: description` of each argument or attribute whose description only repeats the name or says nothing.

    Args:
        text: cleaned docstring.
    """
    for section in SECTIONS.findall(text):
        for name, description in ENTRY.findall(section):
            known = FILLERS | {
                form for part in name.lower().split("_") for form in (part, f"{part}s", part.rstrip("s"))
            }
            words = set(re.findall(r"[a-z0-9]+", description.lower())) - known
            if len(words) < MIN_INFORMATIVE_WORDS:
                yield f"{name}: {' '.join(description.split())}"


def empty_lines_of(path: Path) -> Iterator[str]:
    """Yield `file:line: name: description` for each line of a file's docstrings that says nothing."""
    source = path.read_text()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, Function | ast.ClassDef):
            for offence in empty_lines(ast.get_docstring(node) or ""):
                first = node.body[0].lineno
                near = source.splitlines()[first - 1 : node.body[0].end_lineno]
                start = offence.partition(":")[0] + ": "
                line = next(
                    number for number, one in enumerate(near, first) if one.strip().lstrip("*").startswith(start)
                )
                yield f"{path.relative_to(ROOT)}:{line}: {offence}"


def arguments(function: Function) -> list[str]:
    """Return the names of a function's arguments, but for the object or class that a method is of."""
    given = function.args
    names = [argument.arg for argument in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    stars = [f"{star}{argument.arg}" for star, argument in (("*", given.vararg), ("**", given.kwarg)) if argument]
    return [name for name in names if name not in {"self", "cls"}] + stars


def offences(node: ast.Module | ast.ClassDef, where: str) -> Iterator[str]:
    """Yield what public functions and classes in a module or class leave unsaid."""
    for inner in node.body:
        if not isinstance(inner, Function | ast.ClassDef):
            continue
        constructs = inner.name == "__init__"
        if inner.name.startswith("_") and not constructs:
            continue
        name = where if constructs else f"{where}.{inner.name}"
        text = ast.get_docstring(node if constructs else inner) or ""
        if not text and not constructs:
            yield f"{name}: no docstring"
        if isinstance(inner, ast.ClassDef):
            yield from offences(inner, name)
        elif constructs or not (isinstance(node, ast.ClassDef) and HOOK.fullmatch(inner.name)):
            missing = [argument for argument in arguments(inner) if argument not in documented(text)]
            if missing:
                yield f"{name}: no line for {', '.join(missing)}"


def test_all_arguments_are_documented() -> None:
    found = [
        offence
        for path in FILES
        for offence in offences(ast.parse(path.read_text()), ".".join(path.relative_to(ROOT).with_suffix("").parts))
    ]
    assert not found, "\n" + "\n".join(found)


def test_no_line_of_a_docstring_is_empty_of_meaning() -> None:
    found = [offence for path in FILES for offence in empty_lines_of(path)]
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("line", "empty"),
    [
        ("image: it.", True),
        ("image: the image.", True),
        ("images: the image itself.", True),
        ("coat: its colours.", True),
        ("body: likewise.", True),
        ("class_names: names of the class.", True),
        ("image: RGB image of any size.", False),
        ("coat: colours of the parts.", False),
        ("seed: of\n        the random generator.", False),
    ],
)
@pytest.mark.parametrize("section", ["Args", "Attributes"])
def test_a_line_without_information_is_found(line: str, empty: bool, section: str) -> None:
    assert bool(list(empty_lines(f"Do it.\n\n{section}:\n    x: first number.\n    {line}\n"))) is empty


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("def f(): pass", ["m.f: no docstring"]),
        (
            "def f(a, *b, c=1):\n '''Do.\n\n Args:\n     a: it.\n\n Raises:\n     c: no.\n '''",
            ["m.f: no line for c, *b"],
        ),
        ("class C:\n '''C.'''\n def __init__(self, a): pass", ["m.C: no line for a"]),
        ("class C:\n '''C.'''\n def setup(self, a): '''Do.'''\n def _g(self, a): pass", []),
        ("def setup(a): '''Do.'''", ["m.setup: no line for a"]),
    ],
)
def test_what_is_found(source: str, said: list[str]) -> None:
    assert list(offences(ast.parse(source), "m")) == said
