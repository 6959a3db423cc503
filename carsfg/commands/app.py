"""`carsfg app`: visual search in the browser."""

import socket
from contextlib import suppress

from carsfg.commands.parsing import OneLineParser
from carsfg.errors import InputError


def main(args: list[str]) -> int:
    """Run `carsfg app ARGS`.

    Args:
        args: the words after `carsfg app`.

    Returns:
        0, when it is stopped.

    Raises:
        InputError: the arguments are wrong, gallery or network cannot be used, or the port is taken.
    """
    parser = OneLineParser(prog="carsfg app", description="Find the cars most similar to a photo, in the browser.")
    parser.add_argument("gallery", help="written by `carsfg index` or `carsfg predict`")
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0 lets other machines in (default: %(default)s)")
    parser.add_argument("--port", type=int, default=7860, help="default: %(default)s")
    parser.add_argument("--checkpoint", help="the network that embedded the gallery, if it does not lie in it")
    parser.add_argument("--mmap", action="store_true", help="leave the index on disk: for galleries larger than memory")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default: %(default)s)")
    try:
        options = parser.parse_args(args)
    except SystemExit as end:  # argparse, after --help
        return int(end.code or 0)
    _check_address(options.host, options.port)
    from carsfg.hardware import find_device
    from carsfg.search.engine import VisualSearch

    search = VisualSearch.open(options.gallery, options.checkpoint, find_device(options.device), options.mmap)
    try:
        from carsfg.app.server import serve
    except ModuleNotFoundError as error:
        raise InputError(f"{error.name} is missing: python -m pip install 'carsfg[app]'") from error
    print(f"open http://{options.host}:{options.port} in a browser; Ctrl-C ends it", flush=True)  # noqa: T201
    with suppress(KeyboardInterrupt):
        serve(search, options.host, options.port)
    return 0


def _check_address(host: str, port: int) -> None:
    """Refuse an address that cannot be listened on, before anything is loaded."""
    if port == 0:
        raise InputError("cannot listen on port 0: name another --port")
    try:
        with socket.create_server((host, port)):
            pass
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"cannot listen on {host}:{port} ({reason}): name another --port or --host") from error
