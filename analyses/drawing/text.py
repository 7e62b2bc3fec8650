"""Measure and wrap the texts of figures."""

import re
from collections.abc import Iterable

#: Widths of letters as shares of the font size, in DejaVu Sans: browsers without Helvetica and
#: Arial fall back to it or to a narrower font.
_WIDTHS = {"ijl.,:;|'! ": 0.33, 'frtI()[]-/"': 0.42, "mwMW@%ΣΩ": 0.93, "<>=+−±≥≤×√": 0.84}
_WIDTHS |= {"ABCDEGHKNOPQRSTUVXYZ&": 0.72}
_LETTERS = {letter: width for letters, width in _WIDTHS.items() for letter in letters}
_TAGS = re.compile(r"<[^>]*>")
#: A word with its tags, whose attributes may contain spaces.
_WORD = re.compile(r"(?:<(?!br)[^>]*>|[^\s<]|<(?=[^a-z/]))+")


def text_width(text: str, size: float = 13) -> float:
    """The width in pixels of the text's longest line at a font size, without tags."""
    lines = (_TAGS.sub("", line) for line in text.split("<br>"))
    return max(size * sum(_LETTERS.get(letter, 0.63) for letter in line) for line in lines)


def wrap(text: str, pixels: float, size: float = 13) -> str:
    """Wrap the text with ``<br>`` into lines of at most the given pixels, where words allow it."""
    lines: list[str] = []
    for line in text.split("<br>"):
        lines.append("")
        for word in _WORD.findall(line):
            longer = f"{lines[-1]} {word}".lstrip()
            if lines[-1] and text_width(longer, size) > pixels:
                lines.append(word)
            else:
                lines[-1] = longer
    return "<br>".join(lines)


def n_lines(text: str) -> int:
    """The number of lines in a wrapped text; 0 if empty."""
    return text.count("<br>") + 1 if text else 0


def flowing_lines(widths: Iterable[float], pixels: float) -> int:
    """The number of lines that items of these widths fill from left to right."""
    lines, at = 0, float("inf")
    for width in widths:
        if at + width > pixels:
            lines, at = lines + 1, 0.0
        at += width
    return lines
