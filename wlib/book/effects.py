"""Small pictures of intervals, an SVG in a line of text: the effect, its threshold, the margin."""

from __future__ import annotations

import html
import math

from wlib import claims

WIDTH, HEIGHT = 150, 22     # pixels
LOWER = ("below", "at_most")


def picture(row: claims.Row, found: claims.Interval) -> str:
    """A claim's effect with its interval on the scale of its rule, as inline SVG.

    The threshold is a line, the margin around it a band, and an arrow at the edge says on which
    side the rule is met. Where there is one seed and so no interval, the effect is a dot.
    """
    threshold, margin = row.rule.threshold, row.margin
    ends = [value for value in found if math.isfinite(value)]
    low, high = min(*ends, threshold - 1.3 * margin), max(*ends, threshold + 1.3 * margin)

    def x(value: float) -> float:
        return round(12 + (WIDTH - 24) * (value - low) / (high - low), 1)

    left, right, middle = x(threshold - margin), x(threshold + margin), HEIGHT / 2
    side, tip = (9, 2) if row.rule.comparison in LOWER else (WIDTH - 9, WIDTH - 2)
    parts = [
        f'<rect class="margin" x="{left}" y="1" width="{max(right - left, 1.5):.1f}" '
        f'height="{HEIGHT - 2}"/>',
        f'<path class="threshold" d="M{x(threshold)} 0V{HEIGHT}"/>',
        f'<path class="side" d="M{side} {middle - 4}L{tip} {middle}L{side} {middle + 4}z"/>']
    if math.isfinite(found.high):
        parts.append(f'<path class="interval" d="M{x(found.low)} {middle}H{x(found.high)}"/>')
    parts.append(f'<circle class="effect" cx="{x(found.mean)}" cy="{middle}" r="3.5"/>')
    words = html.escape(f"{found.words(row.unit)}; rule: {row.rule.words(row.unit)}")
    return (f'<svg class="effect" role="img" aria-label="{words}" viewBox="0 0 {WIDTH} {HEIGHT}" '
            f'width="{WIDTH}" height="{HEIGHT}">{"".join(parts)}</svg>')
