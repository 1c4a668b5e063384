"""Text plots against pictures drawn by hand."""
from demos.text_plots import bar, column, curves


def test_bars_and_columns_fill_in_eighths_and_stop_at_their_ends():
    assert [bar(x, 2) for x in (0, 1 / 16, 0.5, 0.75, 1, 7)] == ["  ", "▏ ", "█ ", "█▌", "██", "██"]
    assert "".join(map(column, (-1, 0.124, 0.5, 1, 2))) == " ▁▄██"


def test_curves_share_an_axis_and_the_first_one_is_seen_where_two_meet():
    picture = curves({"up": [0, 1, 2], "down": [2, 1, 0], "flat": [1]}, height=3, width=3)
    assert picture.splitlines() == ["       2 |d u", "       1 |fuf", "       0 |u d"]
