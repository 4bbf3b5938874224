"""The figure about cursors is what happens, and says it to everybody."""

from __future__ import annotations

from xml.etree import ElementTree

from tests.cursors_figure import FIGURE, Lane, description, figure, lanes

AGAIN = "run `python -m tests.cursors_figure`, and look at what has changed"


def test_the_figure_is_what_happens():
    assert FIGURE.read_text(encoding="utf-8") == figure(lanes()), AGAIN


def test_each_way_to_read_fails_as_the_page_says():
    """``>`` loses a tie and the late event, ``>=`` repeats and loses the late one, ours neither."""
    after, from_, ours = lanes()

    assert (after.lost, after.repeated) == ("ce", "")
    assert (from_.lost, from_.repeated) == ("c", "dfgh")
    assert (ours.lost, ours.repeated) == ("", "")


def test_what_was_lost_is_seen_in_the_figure():
    lane = Lane(name="a < b", runs=[["a"]], counted={"a": 1, "b": 0, "c": 2})

    words = [element.text for element in ElementTree.fromstring(figure([lane])).iter()]

    assert {"a < b", "once", "lost", "twice"} <= set(words)
    assert description([lane]).endswith("a < b: lost b, counted again c.")


def test_the_page_says_the_same_to_those_who_do_not_see_it():
    page = (FIGURE.parent / "cursors.md").read_text(encoding="utf-8")

    assert f"![{description(lanes())}](cursors.svg)" in page
