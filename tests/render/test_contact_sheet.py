"""Contact sheets: every image and every word on them, whatever their sizes."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnnkit.errors import OutputError
from cnnkit.render import contact_sheet
from cnnkit.render.contact_sheet import Tile

RED, BLUE = (200, 20, 20), (20, 20, 200)


def plain(colour: tuple[int, int, int], height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), colour, np.uint8)


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"), np.int16)


def area(image: np.ndarray, colour: tuple[int, int, int]) -> int:
    return int((np.abs(image - colour).max(2) < 8).sum())


@pytest.mark.parametrize("size", [(28, 28), (224, 224)])
def test_every_image_is_there_in_the_same_size(size: tuple[int, int], tmp_path: Path) -> None:
    tiles = [Tile("a taken for b", [(plain(RED, *size), "99.00%"), (plain(BLUE, *size), "b")])] * 7
    contact_sheet.write(tmp_path / "a.png", "net", "all of them", tiles)
    image = pixels(tmp_path / "a.png")
    assert (area(image, RED), area(image, BLUE)) == (7 * 112**2, 7 * 112**2)


def test_an_image_that_is_not_square_keeps_its_proportions(tmp_path: Path) -> None:
    contact_sheet.write(tmp_path / "a.png", "", "", [Tile("a", [(plain(RED, 10, 40), "")])])
    assert area(pixels(tmp_path / "a.png"), RED) == 112 * 28


def test_a_grey_image_is_drawn(tmp_path: Path) -> None:
    contact_sheet.write(tmp_path / "a.png", "", "", [Tile("a", [(np.full((9, 9, 1), 255, np.uint8), "")])])
    assert area(pixels(tmp_path / "a.png"), (255, 255, 255)) >= 112**2


def test_small_images_keep_their_pixels(tmp_path: Path) -> None:
    checked = np.zeros((2, 2, 1), np.uint8)
    checked[0, 0] = checked[1, 1] = 255
    found = np.asarray(contact_sheet.fitted(checked, 112))
    np.testing.assert_array_equal(found, np.kron(checked[..., 0] // 255, np.full((56, 56), 255, np.uint8)))


@pytest.mark.parametrize("label", ["a", "a very long name of a class indeed " * 4, "Ελλάδα → Россия", ""])
def test_words_stay_inside_their_place(label: str, tmp_path: Path) -> None:
    tiles = [Tile(label, [(plain(RED, 9, 9), label)])] * 4
    contact_sheet.write(tmp_path / "a.png", "t", "e", tiles, columns=2)
    image = pixels(tmp_path / "a.png")
    paper = image[0, 0]
    # Between the columns, and at the edges, there is only paper.
    for x in (slice(0, 27), slice(28 + 112 + 1, 28 + 112 + 27), slice(-27, None)):
        assert (image[:, x] == paper).all()
    if label:
        assert (image[102:122, 28:140] != paper).any()


def test_a_caption_is_shown_as_a_whole(tmp_path: Path) -> None:
    """In as many lines as it needs, below its image."""
    for name, caption in (
        ("short.png", "one"),
        ("long.png", "a label of eleven words, which do not fit into one line"),
    ):
        contact_sheet.write(tmp_path / name, "t", "e", [Tile("", [(plain(RED, 9, 9), caption)])])
    short, long = pixels(tmp_path / "short.png"), pixels(tmp_path / "long.png")
    assert len(long) >= len(short) + 3 * 20
    assert (long[-48:-28, 28:140] != long[0, 0]).any()


def test_a_sheet_without_images_has_its_title(tmp_path: Path) -> None:
    contact_sheet.write(tmp_path / "a.png", "no mistake in 90 images", "100% right", [])
    image = pixels(tmp_path / "a.png")
    assert image.shape[1] > 200
    assert image.std() > 5


def test_a_sheet_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError):
        contact_sheet.write(tmp_path / "file" / "a.png", "", "", [])


def test_a_heading_that_is_too_long_takes_a_second_line(tmp_path):
    sizes = []
    for heading in ("5\ntaken for 6", "grasshopper\ntaken for dragonfly"):
        contact_sheet.write(tmp_path / "a.png", "", "", [Tile(heading, [(plain(RED, 10, 10), "")])])
        with Image.open(tmp_path / "a.png") as sheet:
            sizes.append(sheet.size)
    (short_width, short), (long_width, long) = sizes
    assert (short_width, long) == (long_width, short + 20)
