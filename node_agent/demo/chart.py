"""An equity curve as a picture: a small SVG, drawn from points of time and money."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final
from xml.sax.saxutils import escape

WIDTH: Final = 960
HEIGHT: Final = 360
_LEFT, _RIGHT, _TOP, _BOTTOM = 90, 20, 50, 40
_LINES: Final = 4

Point = tuple[datetime, Decimal]


def equity_curve(points: Sequence[Point], *, title: str, currency: str) -> str:
    """The curve of equity over time as SVG. Raises ValueError for fewer than two points."""
    if len(points) < 2:
        raise ValueError("a curve needs two points")
    moments = [at.timestamp() for at, _ in points]
    values = [float(value) for _, value in points]
    first, last = moments[0], moments[-1]
    low, high = min(values), max(values)
    room = (high - low) * 0.05 or 1.0
    low, high = low - room, high + room

    def x(moment: float) -> float:
        return _LEFT + (moment - first) / ((last - first) or 1.0) * (WIDTH - _LEFT - _RIGHT)

    def y(value: float) -> float:
        return HEIGHT - _BOTTOM - (value - low) / (high - low) * (HEIGHT - _TOP - _BOTTOM)

    path = " ".join(f"{x(moment):.1f},{y(value):.1f}" for moment, value in zip(moments, values, strict=True))
    grid = []
    for line in range(_LINES + 1):
        value = low + (high - low) * line / _LINES
        grid.append(
            f'<line x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}" stroke="#ddd"/>'
            f'<text x="{_LEFT - 8}" y="{y(value) + 4:.1f}" text-anchor="end">{value:,.2f}</text>'
        )
    start = y(values[0])
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
            'font-family="sans-serif" font-size="12" fill="#333">',
            '<rect width="100%" height="100%" fill="white"/>',
            f'<text x="{_LEFT}" y="28" font-size="16">{escape(title)}</text>',
            *grid,
            f'<line x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{start:.1f}" y2="{start:.1f}" stroke="#888" '
            'stroke-dasharray="4 4"/>',
            f'<polyline points="{path}" fill="none" stroke="#0a6" stroke-width="1.5"/>',
            f'<text x="{_LEFT}" y="{HEIGHT - 12}">{points[0][0]:%Y-%m-%d %H:%M} UTC</text>',
            f'<text x="{WIDTH - _RIGHT}" y="{HEIGHT - 12}" text-anchor="end">{points[-1][0]:%Y-%m-%d %H:%M} UTC, '
            f"in {escape(currency)}</text>",
            "</svg>\n",
        )
    )
