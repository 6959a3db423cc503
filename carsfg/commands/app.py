"""`carsfg app`: visual search in the browser."""

import os
import socket
import sys
from collections.abc import MutableMapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from carsfg.commands.options import DeviceOptions, option, parse, positional
from carsfg.errors import InputError

MAX_PORT = 65535
SET_BY_PAGE = "GRADIO_ANALYTICS_ENABLED"  # carsfg.app.page turns Gradio's reports of its use off


@dataclass(frozen=True, kw_only=True)
class AppOptions(DeviceOptions):
    """Find the cars that are most similar to a photo, in the browser.

    Attributes:
        gallery: folder that `carsfg index` or `carsfg predict` wrote.
        host: address to listen on.
        port: TCP port to listen on, 0 to 65535.
        checkpoint: network that embedded the gallery.
        mmap: leave the index on disk.
    """

    gallery: str = positional("folder that `carsfg index` or `carsfg predict` wrote")
    host: str = option("address to listen on; 0.0.0.0 lets other machines in", "127.0.0.1")
    port: int = option("port to listen on", 7860)
    checkpoint: str | None = option("network that embedded the gallery; by default the one in the gallery", None)
    mmap: bool = option("leave the index on disk, for galleries larger than memory", False)


def main(args: Sequence[str]) -> int:
    """Run `carsfg app` until Ctrl-C.

    Args:
        args: the words after `carsfg app`.

    Returns:
        0.

    Raises:
        InputError: the arguments are wrong, gallery or network cannot be used, or the port is taken.
    """
    options = parse("app", AppOptions, args)
    _check_address(options.host, options.port)
    from carsfg.hardware import find_device
    from carsfg.search.engine import VisualSearch

    search = VisualSearch.open(options.gallery, options.checkpoint, find_device(options.device), options.mmap)
    line = clean_environment(os.environ)
    if line:
        print(line, file=sys.stderr)  # noqa: T201
    try:
        from carsfg.app.server import serve
    except ModuleNotFoundError as error:
        raise InputError(f"{error.name} is missing: python -m pip install -e '.[app]'") from error
    except ImportError as error:
        raise InputError(f"gradio cannot be imported: {error}") from error
    shown = f"[{options.host}]" if ":" in options.host else options.host
    if search.box_line:
        print(search.box_line, file=sys.stderr)  # noqa: T201
    print(f"open http://{shown}:{options.port} in a browser; Ctrl-C ends it", flush=True)  # noqa: T201
    with suppress(KeyboardInterrupt):
        serve(search, options.host, options.port)
    return 0


def clean_environment(environment: MutableMapping[str, str]) -> str:
    """Remove the variables that would change the page, since its settings are the options of `carsfg app` alone.

    These are Gradio's own (`GRADIO_*`), and those of outgoing connections (`*_PROXY`, `SSL_CERT_*`): the page fetches
    nothing, but Gradio makes an HTTP client when it is imported, which fails where they are wrong.

    Args:
        environment: of this process; it is changed.

    Returns:
        A line that names what is ignored of Gradio's settings; empty if there is nothing.
    """
    ignored = sorted(name for name in environment if name.startswith("GRADIO_") and name != SET_BY_PAGE)
    connections = [name for name in environment if name.startswith("SSL_CERT_") or name.upper().endswith("_PROXY")]
    for name in (*ignored, *connections):
        environment.pop(name, None)
    return f"ignored: {', '.join(ignored)}; see `carsfg app --help` for the settings of the page" if ignored else ""


def _check_address(host: str, port: int) -> None:
    """Refuse an address that cannot be listened on, before anything is loaded.

    Raises:
        InputError: the port is taken or out of range, or this machine does not have the address.
    """
    if not 1 <= port <= MAX_PORT:
        raise InputError(f"port {port} must be 1 to {MAX_PORT}")
    try:
        family = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM)[0][0]
        with socket.create_server((host, port), family=family):
            pass
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"cannot listen on {host}:{port} ({reason}): use another --port or --host") from error
