"""Arrays as texts, which the server reads.

A driver that writes an array looks at each element by itself, which takes longer than what the
server does with it.
"""

from __future__ import annotations

from collections.abc import Iterable


def integers(values: Iterable[int]) -> str:
    """Return numbers as the text of an array.

    >>> integers([1, -2])
    '{1, -2}'
    """
    return "{" + str(list(values))[1:-1] + "}"


def texts(values: Iterable[str]) -> str:
    r"""Return texts without NUL characters as the text of an array.

    >>> print(texts(["a", 'say "b"', "c\\d"]))
    {"a","say \"b\"","c\\d"}
    >>> texts([])
    '{}'
    """
    elements = list(values)
    if not elements:
        return "{}"
    joined = "\0".join(elements).replace("\\", "\\\\").replace('"', '\\"')
    return '{"' + joined.replace("\0", '","') + '"}'
