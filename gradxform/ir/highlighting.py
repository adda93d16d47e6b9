"""Programs and loops as HTML in colour, for notebooks and pages."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache

#: Mid tones, which can be read on white and on black.
_COLOURS = {"comment": "#808080", "type": "#1f8a8a", "keyword": "#a0569e", "number": "#b5651d", "operation": "#2f7fd0"}


@cache
def _token() -> re.Pattern[str]:
    """What is coloured; made when first needed, for an import would be the longer for it."""
    return re.compile(
        r"(?P<comment>\#.*)"
        r"|(?P<type>\b(?:f16|f32|f64|c64|c128|i8|i16|i32|i64|u8|u16|u32|u64|bool)(?:\[[\d,?]*\]\*?|\b))"
        r"|(?P<keyword>\b(?:lambda|let|in|kernel|nest|for|while|loop|if|else|local|arena|tape|parallel|part|order|and|reserve|"
        r"python|gemm|tile)\b)"
        r"|(?P<number>(?<![\w.])-?(?:\d+\.?\d*(?:e[+-]?\d+)?|inf\b|nan\b))"
        r"|(?P<operation>\b[a-z_]\w*(?=\()|(?<== )[a-z_]\w*(?= |\[\w+=))", re.MULTILINE)


def tokens(text: str) -> Iterator[tuple[str, str]]:
    """The parts of a text with their kinds: comment, type, keyword, number, operation, or an empty string."""
    position = 0
    for match in _token().finditer(text):
        if match.start() > position:
            yield "", text[position:match.start()]
        yield match.lastgroup or "", match.group()
        position = match.end()
    yield "", text[position:]


def highlighted(text: str, attributes: Mapping[str, str]) -> str:
    """``text`` escaped, with a span of these attributes around each part of a kind that has some."""
    from html import escape

    parts = []
    for kind, part in tokens(text):
        found = attributes.get(kind)
        parts.append(f"<span {found}>{escape(part)}</span>" if found else escape(part))
    return "".join(parts)


def notebook_html(text: str) -> str:
    """A ``<pre>`` that needs no style sheet: what `_repr_html_` gives.

    >>> notebook_html("a < b")
    '<pre style="line-height:1.35;overflow:auto;max-height:40em">a &lt; b</pre>'
    """
    colours = {kind: f'style="color:{colour}"' for kind, colour in _COLOURS.items()}
    return f'<pre style="line-height:1.35;overflow:auto;max-height:40em">{highlighted(text, colours)}</pre>'
