"""Numbers as drawings: heights, outlines and axes of charts, in whole numbers."""

from __future__ import annotations

from collections.abc import Sequence

SPARK_HEIGHT = 24
"""Units from the foot of a small chart to its top; the script of the page has the same."""

CHART_HEIGHT = 1_000
"""Units from the foot of a chart to its top."""

_UNITS = ("", "k", "M", "G", "T", "P", "E", "Z", "Y", "R", "Q")


def height(value: int, top: int, units: int) -> int:
    """Return how high *value* stands where *top* stands at *units*, rounded up.

    What is not 0 can be seen; what is below 0 is drawn as 0. Exact, of any size.

    >>> [height(value, 1_000, 24) for value in (-5, 0, 1, 500, 1_000)]
    [0, 0, 1, 12, 24]
    """
    return -(-value * units // top) if value > 0 else 0


def outline(values: Sequence[int]) -> str:
    """Return the path of a small chart: a step for each value, the highest to the top.

    A value is one unit wide.

    >>> outline([0, 1, 2])
    'M0 24V24H1V12H2V0H3V24Z'
    """
    top = max(values, default=0)
    steps = (
        f"V{SPARK_HEIGHT - height(value, top, SPARK_HEIGHT)}H{place}"
        for place, value in enumerate(values, start=1)
    )
    return f"M0 {SPARK_HEIGHT}{''.join(steps)}V{SPARK_HEIGHT}Z"


def axis_top(values: Sequence[int]) -> int:
    """Return where the axis of a chart ends: a round number of which half is whole.

    >>> [axis_top([most]) for most in (0, 1, 3, 9, 10, 11, 25, 99, 4_001)]
    [2, 2, 4, 10, 10, 20, 30, 100, 5000]
    """
    most = max(values, default=0)
    scale = 1
    while most > 10 * scale:
        scale *= 10
    steps = (2, 4, 6, 8, 10) if scale == 1 else (2, 3, 4, 5, 6, 8, 10)
    return next(step * scale for step in steps if step * scale >= most)


def brief(value: int) -> str:
    """Return the number at a mark of an axis, briefly and exactly.

    >>> [brief(value) for value in (5, 5_000, 10_000, 2_000_000, 3 * 10**18)]
    ['5', '5,000', '10k', '2M', '3E']
    """
    if value < 10_000:
        return f"{value:,}"
    thousands = 0
    while value % 1_000 == 0 and thousands < len(_UNITS) - 1:
        value //= 1_000
        thousands += 1
    return f"{value:,}{_UNITS[thousands]}"
