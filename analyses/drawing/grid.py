"""Lay out panels as rows of boxes on a page of a given width, with space for labels around them."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True)
class Box:
    """A panel's width as a share of its row, and the pixels for labels at its sides."""

    width: float
    left: float
    right: float


@dataclass(frozen=True)
class Band:
    """A row of boxes: their height, and the pixels above for titles and below for labels."""

    boxes: Sequence[Box]
    height: float
    above: float
    below: float


class Place(NamedTuple):
    """The extent of a box's axes, from 0 to 1 across and from 0 to 1 upwards."""

    x: tuple[float, float]
    y: tuple[float, float]


@dataclass(frozen=True)
class Grid:
    """The boxes' places, row by row, with the outer margins and the height in pixels."""

    places: list[list[Place]]
    left: float
    right: float
    height: float


def lay_out(bands: Sequence[Band], width: float) -> Grid:
    """Stack the bands on a page, and align the columns of rows with equal widths."""
    bands = _in_columns(bands)
    left = max(band.boxes[0].left for band in bands)
    right = max(band.boxes[-1].right for band in bands)
    gaps = [band.below + below.above for band, below in itertools.pairwise(bands)]
    height = sum(band.height for band in bands) + sum(gaps)
    top, places = height, []
    for band, gap in zip(bands, [*gaps, 0.0], strict=True):
        # Rounding may put the lowest row slightly below 0, which plotly rejects.
        y = (max(0.0, (top - band.height) / height), top / height)
        places.append([Place(x, y) for x in _across(band.boxes, width - left - right)])
        top -= band.height + gap
    return Grid(places, left, right, height)


def _in_columns(bands: Sequence[Band]) -> list[Band]:
    """The bands with equal label space, column by column, across rows of equal box widths."""
    widths = [tuple(box.width for box in band.boxes) for band in bands]
    aligned = []
    for band, own in zip(bands, widths, strict=True):
        alike = [row.boxes for row, other in zip(bands, widths, strict=True) if other == own]
        boxes = [
            Box(width, max(box.left for box in column), max(box.right for box in column))
            for width, column in zip(own, zip(*alike, strict=True), strict=True)
        ]
        aligned.append(Band(boxes, band.height, band.above, band.below))
    return aligned


def _across(boxes: Sequence[Box], inner: float) -> list[tuple[float, float]]:
    """The horizontal extents of a row's boxes, which share the width that the gaps leave."""
    gaps = [box.right + after.left for box, after in itertools.pairwise(boxes)]
    # With very many boxes, gaps take at most half of the width.
    shrink = min(1.0, inner / 2 / sum(gaps)) if gaps else 1.0
    gaps = [gap * shrink for gap in gaps]
    unit = (inner - sum(gaps)) / sum(box.width for box in boxes)
    extents, at = [], 0.0
    for box, gap in zip(boxes, [*gaps, 0.0], strict=True):
        extents.append((at / inner, min(1.0, (at + box.width * unit) / inner)))
        at += box.width * unit + gap
    return extents
