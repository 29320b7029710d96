from distill.reporting.charts.frame import WIDTH
from distill.reporting.charts.heatmap import heatmap


def picture(matrix, marked=()):
    return heatmap("title", "student layer", "teacher layer", matrix, marked)


def texts(chart):
    return [part.text for part in chart.iter("text")]


def test_every_cell_has_its_number_and_place():
    chart = picture([[0.0, 0.25, 1.0], [0.5, 0.75, 0.125]], marked=[(1, 2)])
    assert {"0.00", "0.25", "1.00", "0.50", "0.75", "0.12"} <= set(texts(chart))
    assert "rows: student layer; columns: teacher layer" in texts(chart)
    cells = list(chart.iter("rect"))
    assert len({(cell.get("x"), cell.get("y")) for cell in cells}) == len(cells) == 6
    assert [cell[0].text for cell in cells if "marked" in cell.get("class")] == [
        "student layer 1, teacher layer 2: 0.125"
    ]


def test_more_is_deeper_and_frames_come_last():
    cells = list(picture([[0.1, 0.9, 7.0, -1.0]], marked=[(0, 0)]).iter("rect"))
    assert [cell.get("fill-opacity") for cell in cells] == ["0.9", "1", "0", "0.1"]
    assert cells[-1].get("class") == "cell marked"


def test_a_wide_matrix_fits_with_its_numbers_left_out():
    chart = picture([[0.5] * 48] * 12)
    cells = list(chart.iter("rect"))
    assert max(float(cell.get("x")) + float(cell.get("width")) for cell in cells) <= WIDTH
    assert "0.50" not in texts(chart)
    shown = [int(label) for label in texts(chart)[1:] if label]
    assert shown[0] == 0
    assert len(shown) < 48


def test_an_empty_matrix_is_an_empty_picture():
    assert list(picture([]).iter("rect")) == []
