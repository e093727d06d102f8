"""Stop texts: the output does not depend on how the text came in pieces."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from slonik.serving.decode_queue import Until

LETTERS = st.text("аб.", max_size=30)
STOPS = st.lists(st.text("аб.", min_size=1, max_size=4), max_size=4)


def passed(pieces: Iterable[str], stops: list[str]) -> tuple[list[str], bool]:
    """What comes out for each piece, the end included; whether a stop text was met."""
    until = Until(stops)
    out = [until.take(piece) for piece in pieces]
    return [*out, until.end()], until.stopped


@given(text=LETTERS, cuts=st.lists(st.integers(0, 30)), stops=STOPS)
def test_pieces_do_not_matter(text: str, cuts: list[int], stops: list[str]) -> None:
    places = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    pieces = [text[start:end] for start, end in itertools.pairwise(places)]
    whole, cut = passed(text, stops), passed(pieces, stops)
    expected = "".join(whole[0])
    assert "".join(cut[0]) == expected
    assert cut[1] == whole[1] == any(stop in text for stop in stops)
    assert text.startswith(expected)
    assert not any(stop in expected for stop in stops)


def test_a_stop_text_divided_between_pieces_is_held_back() -> None:
    pieces, stopped = passed(["один", " ко", "не", "ц", " два"], ["конец"])
    assert "".join(pieces) == "один " and stopped and pieces[4] == ""


def test_without_stops_every_piece_passes_at_once() -> None:
    assert passed(["а", "", "б"], []) == (["а", "", "б", ""], False)
