"""The choices that make one case, and how all cases of a check are gone through.

A check asks ``choose`` wherever it could go on in several ways: which actor moves next, where
one dies, how large a page is. Its answers in a row are the *trail* of the case: the same trail
gives the same case again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs


class TrailError(ValueError):
    """A trail asks for a way that is not there: it belongs to another check or level."""


def _first(_count: int) -> int:
    return 0


@attrs.define
class Trail:
    """Answers to the choices of one case.

    Args:
        forced: The first answers.
        further: Gives the answers after those, from the number of ways; default: the first.
    """

    forced: Sequence[int] = ()
    further: Callable[[int], int] = _first
    taken: list[int] = attrs.field(factory=list, init=False)
    _options: list[int] = attrs.field(factory=list, init=False)

    def choose(self, count: int) -> int:
        """Return one of ``range(count)``; where there is one way only nothing is chosen.

        Raises:
            TrailError: If the trail names a way that is not there.
        """
        if count == 1:
            return 0
        at = len(self.taken)
        choice = self.forced[at] if at < len(self.forced) else self.further(count)
        if not 0 <= choice < count:
            raise TrailError(f"choice {at + 1} is {choice}, but there are {count} ways from 0 on")
        self.taken.append(choice)
        self._options.append(count)
        return choice

    def next(self) -> Trail | None:
        """Return the trail that differs in the last choice with another way; None: no more."""
        last = len(self.taken) - 1
        while last >= 0 and self.taken[last] + 1 == self._options[last]:
            last -= 1
        return Trail([*self.taken[:last], self.taken[last] + 1]) if last >= 0 else None

    def __str__(self) -> str:
        return ",".join(map(str, self.taken)) or "-"

    @classmethod
    def parse(cls, text: str) -> Trail:
        """Return the trail that ``str`` made *text* from.

        Raises:
            TrailError: If *text* is none.
        """
        try:
            return cls([] if text == "-" else [int(part) for part in text.split(",")])
        except ValueError as error:
            raise TrailError(f"not a trail: {text!r}") from error
