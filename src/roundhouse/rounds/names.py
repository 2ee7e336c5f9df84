"""Where names stand in a text: `r17` in `votes_r17.csv` and in `rater=r17`, not in `r170`."""

import re
import unicodedata
from collections.abc import Iterable, Iterator

_PIECE = re.compile(r"[^\W_]+")
#: Signs that end a token; others may stand inside a name or a file's name.
_APART = re.compile(r"[\s\"'`,;:{}\[\]()<>=|/\\]")


class Names:
    """Some names, to be found wherever no letter or digit is joined to them.

    Args:
        names: none of them empty.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(names)
        # First piece to the signs before it and the length of each name, both in characters.
        self._shapes: dict[str, set[tuple[int, int]]] = {}
        # Names of signs alone.
        self._signs: set[str] = set()
        for name in self._names:
            if piece := _PIECE.search(name):
                self._shapes.setdefault(piece[0], set()).add((piece.start(), len(name)))
            else:
                self._signs.add(name)

    def found(self, text: str) -> Iterator[tuple[str, bool]]:
        """Every name in a text, and whether it is joined there to other signs, as in a file's name.

        A name that has spaces or the like inside is never called joined.
        """
        yield from ((name, False) for name in self._signs if name in text)
        # Most texts hold none of the names: that is known without looking at each place.
        if self._shapes.keys().isdisjoint(_PIECE.findall(text)):
            return
        for piece in _PIECE.finditer(text):
            for before, length in self._shapes.get(piece[0], ()):
                start = piece.start() - before
                name, end = text[max(start, 0) : start + length], start + length
                around = text[max(start - 1, 0) : max(start, 0)], text[end : end + 1]
                if name in self._names and not any(map(_is_inside, around)):
                    yield name, not (_APART.search(name) or all(map(_is_apart, around)))


def _is_inside(sign: str) -> bool:
    """Whether a sign goes on with a word: a letter, a digit, a vowel or an accent put to one."""
    return sign.isalnum() or (sign != "" and unicodedata.category(sign).startswith("M"))


def _is_apart(sign: str) -> bool:
    return not sign or bool(_APART.match(sign))
