"""One chaos test's seed, its length, and the record of what it killed and what it checked."""

from __future__ import annotations

import os
import random
from collections import Counter
from dataclasses import dataclass, field

LONG = bool(os.environ.get("CHAOS_LONG"))
"""Whether this is `make chaos` and not the short form in `make test`."""


@dataclass
class Record:
    """What a test draws its lots from, and what it says in the end.

    The same seed and length draw the same lots: what is killed, at which step, after how much work.
    """

    seed: int
    long: bool = LONG
    killed: Counter[str] = field(default_factory=Counter)
    checked: dict[str, int] = field(default_factory=dict)
    words: list[str] = field(default_factory=list)
    """The record in words, always up to date: a test that fails says them, too."""

    def __post_init__(self) -> None:
        self._put_in_words()

    def lots(self, *of: object) -> random.Random:
        """Random numbers for one purpose; what another purpose draws does not move them."""
        return random.Random("/".join(map(str, (self.seed, self.long, *of))))

    def kills(self, what: str) -> None:
        """Notes that something was killed, cut or broken."""
        self.killed[what] += 1
        self._put_in_words()

    def holds(self, what: str, times: int = 1) -> None:
        """Notes that something was checked and held."""
        self.checked[what] = self.checked.get(what, 0) + times
        self._put_in_words()

    def _put_in_words(self) -> None:
        done = ", ".join(f"{what} ×{times}" for what, times in sorted(self.killed.items()))
        held = ", ".join(f"{what} ×{times}" for what, times in self.checked.items())
        again = f"again: make {'chaos' if self.long else 'test'} SEED={self.seed}"
        self.words[:] = [f"killed   {done or 'nothing'}", f"held     {held or 'nothing'}", again]
