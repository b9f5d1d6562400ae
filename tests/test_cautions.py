"""Steps that may make a prediction wrong: they are texts, and are counted by their kinds."""

import json
import pickle

from cnnkit.cautions import Caution, Tally, cautions

GUESSED = Caution("range 0–255 guessed, by 8 bits", "the range is guessed", "the depth is lost")


def test_a_caution_is_its_text_and_keeps_its_kinds_between_processes() -> None:
    assert GUESSED == "range 0–255 guessed, by 8 bits"
    assert json.dumps([GUESSED], ensure_ascii=False) == '["range 0–255 guessed, by 8 bits"]'
    again = pickle.loads(pickle.dumps(GUESSED))
    assert (again, type(again), again.kinds) == (GUESSED, Caution, GUESSED.kinds)
    assert cautions(("inverted", GUESSED, "range 0–255 guessed, by 8 bits")) == (GUESSED,)


def test_images_are_counted_once_for_each_kind() -> None:
    tally = Tally()
    assert list(tally.summed_up()) == []
    tally.add(("inverted", GUESSED))
    assert list(tally.summed_up()) == ["the range is guessed", "the depth is lost"]
    tally.add(())
    tally.add((GUESSED, Caution("another guess", "the range is guessed")))
    assert list(tally.summed_up()) == ["2 of 3 images: the range is guessed", "2 of 3 images: the depth is lost"]
