"""Forked children of the warm test process: what they said and how they ended, or their death at a random moment."""

import ctypes
import logging
import os
import resource
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TextIO

import numpy as np
import pytest
import torch

HANG_SECONDS = 90  # after which a child that has not ended is a failure
TRACEBACK = 99  # exit code of a child that ended with an exception
Work = Callable[[], int]
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="children are made by os.fork")


@dataclass
class Child:
    """A forked process in a process group of its own.

    Attributes:
        number: of the process.
        pipe: file descriptor that its output is read from; a pipe, so that no limit on files applies to it.
    """

    number: int
    pipe: int

    def send(self, number: signal.Signals) -> None:
        """Send a signal to it alone."""
        os.kill(self.number, number)

    def end(self, seconds: float = HANG_SECONDS) -> tuple[int, str]:
        """Wait for it; return its exit code, or the negative number of its signal, and what it said."""
        last, output = time.monotonic() + seconds, b""
        while time.monotonic() < last:
            ended, status = os.waitpid(self.number, os.WNOHANG)
            output += self._read()
            if ended:
                os.close(self.pipe)
                with suppress(OSError):
                    os.killpg(self.number, signal.SIGKILL)  # its workers
                return os.waitstatus_to_exitcode(status), output.decode(errors="surrogateescape")
            time.sleep(0.005)
        os.kill(self.number, signal.SIGKILL)
        os.waitpid(self.number, 0)
        raise AssertionError(f"the child has not ended after {seconds} seconds: {output.decode(errors='replace')}")

    def wait_for(self, text: str, seconds: float = HANG_SECONDS) -> None:
        """Wait until it has said a text, which `end` does not return again."""
        last, said = time.monotonic() + seconds, b""
        while text.encode() not in said:
            assert time.monotonic() < last, said
            said += self._read()
            time.sleep(0.005)

    def _read(self) -> bytes:
        found = b""
        with suppress(BlockingIOError):
            while part := os.read(self.pipe, 65536):
                found += part
        return found


def start(work: Work) -> Child:
    """Start a child that does some work and ends with the exit code that it returns."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads, which the child does not use
        number = os.fork()
    if not number:
        _work(work, writing)
    os.close(writing)
    os.set_blocking(reading, False)
    return Child(number, reading)


def _work(work: Work, output: int) -> None:
    code = TRACEBACK
    try:
        os.setsid()
        torch.set_num_threads(1)
        for stream in (1, 2):
            os.dup2(output, stream)
        sys.stdout, sys.stderr = _text(1), _text(2)
        logging.raiseExceptions = False  # handlers of pytest write to files
        code = work()
    except SystemExit as ended:
        code = int(ended.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _text(stream: int) -> TextIO:
    return os.fdopen(stream, "w", buffering=1, errors="surrogateescape")


def run(work: Work) -> tuple[int, str]:
    """Do some work in a child; return its exit code and what it said."""
    return start(work).end()


def killed_within(work: Work, seconds: float, moments: np.random.Generator) -> bool:
    """Kill a child at a random moment of so many seconds; return whether that was before its end."""
    child = start(work)
    time.sleep(moments.uniform(0, seconds))
    child.send(signal.SIGKILL)
    return child.end()[0] == -signal.SIGKILL


def duration(work: Work) -> float:
    """Return the seconds that some work takes in a child, which must end without an error."""
    begun = time.monotonic()
    code, said = run(work)
    assert code == 0, said
    return time.monotonic() - begun


def error_line(said: str) -> str:
    """Return the one line that ends a command with an error; a traceback is a failure."""
    assert "Traceback" not in said, said
    (line,) = (one for one in said.splitlines() if one.startswith("carsfg: error: "))
    return line


def limited(kind: int, value: int, work: Work) -> Work:
    """Return some work under a limit of the operating system."""

    def within() -> int:
        resource.setrlimit(kind, (value, resource.getrlimit(kind)[1]))
        return work()

    return within


def unprivileged(work: Work) -> Work:
    """Return some work for which permissions count even if the tests run as the superuser: Linux's capabilities go."""

    def within() -> int:
        if os.geteuid() == 0:
            header, none = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
            if ctypes.CDLL(None, use_errno=True).capset(header, none):
                raise OSError(ctypes.get_errno(), "capset")
        return work()

    return within
