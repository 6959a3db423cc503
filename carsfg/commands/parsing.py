"""Complaints about command lines and configs, in one line each."""

import argparse
import difflib
import re
from collections.abc import Mapping
from typing import NoReturn

from carsfg.errors import InputError


class OneLineParser(argparse.ArgumentParser):
    """An argparse parser that raises its complaints as `InputError`."""

    def error(self, message: str) -> NoReturn:
        """Raise the complaint, with where to look."""
        raise InputError(f"{message}; `{self.prog} --help` shows what there is")


def one_line(message: str, known: Mapping[str, str]) -> str:
    """Condense a complaint of jsonargparse, which may run over sixty lines, to what is wrong.

    Args:
        message: the complaint; nested ones list, for each type that was tried, why the value is not of it.
        known: the keys that exist, to suggest the one that was meant, each with the tasks that it is an argument of.
    """
    message = message.strip()
    unknown = re.search(
        r"(?:does not accept option|Option) '([^']+)'|unrecognized arguments: (?:--)?([^\s=]+)", message
    )
    if unknown:
        key = unknown[1] or unknown[2]
        parent = re.match(r'Parser key "([^"]+)"', message)
        where = f" in {parent[1]}" if parent else ""
        close = difflib.get_close_matches(key, known, n=1)
        hint = f"did you mean {close[0]!r}?" if close and close[0] != key else known.get(key, "")
        return f"unknown key {key!r}{where}" + (f" ({hint})" if hint else "")
    first, _, rest = message.partition("\n  Errors:\n")
    if rest:  # the reason given for the first type is the one that matters; the others say what else would have done
        reason = re.split(r"\n\s+- |\n\s+Given value", re.sub(r"^\s+- ", "", rest))[0]
        message = f"{first.splitlines()[0]} {reason}"
    return re.sub(r"\s+", " ", message)
