"""The command line: ``python -m gradxform cache [info | path | clear]`` and ``python -m gradxform explain``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from gradxform import cache
from gradxform.window.command import add_explain


def _size(count: int) -> str:
    amount = float(count)
    for unit in ("B", "KiB", "MiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GiB"


def _cache_info(_: argparse.Namespace) -> int:
    state = cache.info()
    if state.directory is None:
        print("the disk cache is off")
        return 0
    print(f"directory  {state.directory}")
    print(f"entries    {state.entries}")
    print(f"size       {_size(state.bytes)} of at most {_size(state.limit)}")
    return 0


def _cache_path(_: argparse.Namespace) -> int:
    path = cache.info().directory
    if path is None:
        print("the disk cache is off", file=sys.stderr)
        return 1
    print(path)
    return 0


def _cache_clear(_: argparse.Namespace) -> int:
    removed = cache.clear()
    print(f"removed {removed} {'entry' if removed == 1 else 'entries'}")
    return 0


def _add_cache(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("cache", help="look at the disk cache of compiled code, or clear it")
    parser.set_defaults(run=_cache_info)
    actions = parser.add_subparsers(title="actions", metavar="action")
    actions.add_parser("info", help="where it is and what it holds (the default)").set_defaults(run=_cache_info)
    actions.add_parser("path", help="print its directory alone").set_defaults(run=_cache_path)
    actions.add_parser("clear", help="remove all entries").set_defaults(run=_cache_clear)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; ``arguments`` are those of the process unless given. Returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m gradxform", description="Look at what gradxform makes, and after what it keeps.")
    commands = parser.add_subparsers(title="commands", metavar="command", required=True)
    _add_cache(commands)
    add_explain(commands)
    options = parser.parse_args(arguments)
    status = options.run(options)
    assert isinstance(status, int)
    return status


if __name__ == "__main__":
    sys.exit(main())
