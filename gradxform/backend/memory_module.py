"""The functions that move blocks to where they belong; see stream_text and turn_text."""

from __future__ import annotations

from gradxform.backend.compile import Tier
from gradxform.backend.library import Library
from gradxform.backend.stream_text import STREAM
from gradxform.backend.turn_text import turn_text


def _text(name: str) -> str:
    return STREAM if name == "stream" else turn_text(int(name.removeprefix("turn")))


_library = Library("memory", Tier.WRITTEN, _text)
#: The address of ``gx.memory.NAME``: ``stream``, ``turn32`` or ``turn64``.
address = _library.address
