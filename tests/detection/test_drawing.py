"""Boxes on images, by their pixels."""

from __future__ import annotations

import numpy as np
import pytest

from caffetools.detection.drawing import MISSED, RIGHT, WRONG, class_style, draw

BLACK = np.zeros((60, 80, 3), np.uint8)
GREEN, RED = RIGHT.colour[::-1], WRONG.colour[::-1]


def where(image: np.ndarray, colour: tuple[int, ...]) -> tuple[int, int, int, int]:
    """The corners, both inside, of all that has a colour of BGR."""
    rows, columns = np.nonzero(np.all(image == colour, axis=2))
    return columns.min(), rows.min(), columns.max(), rows.max()


def test_a_box_has_its_corners_pixels():
    image = draw(BLACK, [((10, 20, 49, 39), "", RIGHT)])
    assert where(image, GREEN) == (10, 20, 49, 39)
    # Two pixels thick to the inside: 40 x 20 without 36 x 16.
    assert np.count_nonzero(image.any(axis=2)) == 40 * 20 - 36 * 16
    assert not image[22:38, 12:48].any()
    assert not BLACK.any()


@pytest.mark.parametrize("corners", [(5, 5, 5, 5), (5, 5, 6, 5), (0, 0, 79, 59), (79, 59, 79, 59)])
def test_small_and_large_boxes_are_drawn_where_they_are(corners: tuple[int, ...]):
    assert where(draw(BLACK, [(corners, "", RIGHT)]), GREEN) == corners


def test_what_is_outside_is_cut_off():
    inside = draw(BLACK, [((-1e9, 20, 49, 1e9), "", RIGHT)])
    assert where(inside, GREEN) == (0, 20, 49, 59)
    for corners in (
        (80, 0, 90, 9),
        (-9, 0, -1, 9),
        (0, 60, 9, 70),
        (9, 9, 0, 0),
        (0, np.nan, 9, 9),
        (0, 0, np.nan, 9),
    ):
        assert not draw(BLACK, [(corners, "far", RIGHT)]).any()


def test_an_image_is_brought_to_a_side_with_its_boxes():
    # The corners' pixels become squares of 3 x 3: 10 to 49 are 30 to 149.
    image = draw(BLACK, [((10, 20, 49, 39), "", RIGHT)], side=240)
    assert image.shape == (180, 240, 3)
    assert where(image, GREEN) == (30, 60, 149, 119)
    small = draw(BLACK, [((10, 20, 49, 39), "", RIGHT)], side=40)
    assert small.shape == (30, 40, 3)
    assert where(small, GREEN) == (5, 10, 24, 19)


def test_the_image_itself_is_kept():
    image = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    np.testing.assert_array_equal(draw(image, []), image)
    np.testing.assert_array_equal(draw(image, [], side=16), image.repeat(2, 0).repeat(2, 1))
    gray = image[:, :, :1]
    np.testing.assert_array_equal(draw(gray, []), gray.repeat(3, axis=2))


def test_dashes_have_gaps():
    whole = draw(BLACK, [((0, 0, 79, 59), "", MISSED._replace(dashed=False))])
    dashed = draw(BLACK, [((0, 0, 79, 59), "", MISSED)])
    share = np.count_nonzero(dashed.any(axis=2)) / np.count_nonzero(whole.any(axis=2))
    assert 0.5 < share < 0.75  # 6 of 10 pixels
    assert not np.any(dashed.any(axis=2) & ~whole.any(axis=2))


def test_later_boxes_lie_over_earlier_ones():
    box = (10, 10, 40, 40)
    image = draw(BLACK, [(box, "", RIGHT), (box, "", WRONG)])
    assert where(image, RED) == box
    assert not np.any(np.all(image == GREEN, axis=2))


def test_text_stands_at_its_box_within_the_image():
    image = draw(BLACK, [((10, 20, 49, 39), "cat", RIGHT)])
    plain = draw(BLACK, [((10, 20, 49, 39), "", RIGHT)])
    written = np.any(image != plain, axis=2)
    assert written[20:36, 10:40].any()
    assert not written[:20].any()
    # At the lower right edge it moves in: the whole ground is seen, left of and above the box.
    image = draw(BLACK, [((75, 55, 79, 59), "cat", RIGHT)])
    left, top, right, bottom = where(image, GREEN)
    assert left < 65
    assert top < 50
    assert (right, bottom) == (79, 59)


@pytest.mark.parametrize("text", ["кот 0.90", "猫", "a\nb\tc", "\x00", " ", "x" * 5000])
def test_any_text_may_be_drawn(text: str):
    assert draw(BLACK, [((10, 20, 49, 39), text, RIGHT)]).shape == BLACK.shape


def test_classes_have_colours():
    colours = [class_style(number).colour for number in range(6)]
    assert len(set(colours)) == 6
    assert class_style(6) == class_style(0)
