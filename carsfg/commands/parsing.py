"""Error messages of command lines and configs, in one line each."""

import re
from collections.abc import Mapping
from typing import NoReturn

from carsfg.errors import InputError, suggestion


class ParserError(InputError):
    """What a parser says of its words, with all lines: `one_line` finds in them what is wrong."""

    def __str__(self) -> str:
        """Return the message with its line breaks."""
        return Exception.__str__(self)


class RaisingErrors:
    """Mix-in for parsers that raise their errors instead of printing them and exiting."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise the error of the parser."""
        raise ParserError(message)


def argument_names(cls: type) -> list[str]:
    """Return the arguments of a class on the command line, those that `**kwargs` pass to its base classes included.

    Args:
        cls: class whose `__init__` is read.
    """
    from jsonargparse import ArgumentParser

    return [str(name) for name in ArgumentParser().add_class_arguments(cls, fail_untyped=False)]


def one_line(message: str, known: Mapping[str, str]) -> str:
    """Shorten an error message of jsonargparse, which may have sixty lines, to what is wrong.

    Args:
        message: the message; nested ones list, for each type that was tried, why the value does not have it.
        known: names of all keys, for suggestions, each with the tasks that it is an argument of.
    """
    message = message.strip()
    unknown = re.search(
        r"(?:does not accept option|Option) '([^']+)'|unrecognized arguments: (?:--)?([^\s=]+)", message
    )
    if unknown:
        key = unknown[1] or unknown[2]
        parent = re.match(r'Parser key "([^"]+)"', message)
        where = f" in {parent[1]}" if parent else ""
        block = parent[1].partition(".")[0] + "." if parent else ""
        hint = _suggestion_in(block, key, known)
        return f"unknown key {key!r}{where}{hint}"
    message = _innermost(message)
    return _wrong_type(message) or _first_reason(message)


def _suggestion_in(block: str, key: str, known: Mapping[str, str]) -> str:
    """Suggest a key of the same block, such as `data.`; else say which tasks have the key."""
    meant = suggestion(key, [name.removeprefix(block) for name in known if name.startswith(block)])
    if meant:
        return meant.replace("mean '", f"mean '{block}", 1)
    return f" ({known[block + key]})" if known.get(block + key) else ""


def _innermost(message: str) -> str:
    """Return the part about one argument inside others, with its full key, or about a class path."""
    problem = re.search(
        r"Problem with given class_path '[^']*':\s+.*?(?=\n\s+- |\n\s+Given value|\Z)", message, re.DOTALL
    )
    if problem:
        return problem[0]
    outer, errors = (
        re.match(r'Parser key "([^"]+)":', message),
        re.search(r"\n *Errors:\n( *)- (.*)", message, re.DOTALL),
    )
    if outer is None or errors is None:
        return message
    # the first item: up to the next one, or to the lines below the list, which begin two places further left
    first = re.split(rf"\n{errors[1]}- |\n{errors[1][2:]}Given value", errors[2])[0]
    if first.startswith('Parser key "'):
        return _innermost(first.replace('Parser key "', f'Parser key "{outer[1]}.', 1))
    return first if re.match("Option '", first) else message


def _wrong_type(message: str) -> str:
    """Return `NAME 'value' is not ...` for a value of a plain type; an empty text for any other message."""
    plain = {"int": "an integer", "float": "a number", "bool": "true or false", "str": "a text"}
    plain["collections.abc.Mapping"] = "a mapping, such as {name: value}"
    key = re.match(r'Parser key "([^"]+)":', message)
    value = re.search(r"(?:Given value:|Got value:) (.*)\Z", message, re.DOTALL)
    kinds = re.findall(r"Expected a (?:<class '([\w.]+)'>|typing\.Literal\[([^\]]*)\])", message)
    if not key or not value or not kinds or len(kinds) != message.count("Expected a"):
        return ""
    if any(name not in {*plain, "NoneType", ""} for name, _ in kinds):
        return ""
    if all(name == "NoneType" for name, _ in kinds):  # the type that matters gave another reason
        return ""
    wanted = [plain[name] if name else f"one of {choices}" for name, choices in kinds if name != "NoneType"]
    return f"{key[1].replace('init_args.', '')} {value[1].strip()!r} is not {' or '.join(wanted)}"


def _first_reason(message: str) -> str:
    first, _, rest = message.partition("\n  Errors:\n")
    if rest:  # the reason for the first type is the one that matters; the others are alternatives
        reason = re.split(r"\n\s+- |\n\s+Given value", re.sub(r"^\s+- ", "", rest))[0]
        message = f"{first.splitlines()[0]} {reason}"
    return re.sub(r"\s+", " ", message)


def mistake_in(error: BaseException | None) -> InputError | None:
    """Return the user's mistake inside an error that a parser raised around it, or None.

    Args:
        error: exception to look into, with its causes.
    """
    while error is not None and not isinstance(error, InputError):
        error = error.__cause__ or error.__context__
    return error


def refused_value(error: BaseException) -> InputError | None:
    """Return what a class said of its arguments when the parser built it for a key of several types; None otherwise.

    Args:
        error: exception of the parser, whose message lists a reason for each type.
    """
    reason = re.search(r"^Errors:\n +- (.*?)(?=\n +- |\nGiven value|\Z)", str(error), re.DOTALL | re.MULTILINE)
    if reason is None or not isinstance(error, ValueError):
        return None
    return InputError(" ".join(reason[1].split()))
