import xml.etree.ElementTree as ElementTree

from distill.reporting.heatmap import heatmap_svg

SVG = "{http://www.w3.org/2000/svg}"


def picture(*arguments, **settings) -> ElementTree.Element:
    return ElementTree.fromstring(heatmap_svg(*arguments, **settings))


def test_every_cell_has_its_number_and_place():
    root = picture([[0.0, 0.25, 1.0], [0.5, 0.75, 0.125]], "A < B & C", "student", "teacher", marked=[(1, 2)])
    texts = [element.text for element in root.iter(f"{SVG}text")]
    assert {"0.00", "0.25", "1.00", "0.50", "0.75", "0.12"} <= set(texts)
    assert "A < B & C" in texts
    cells = list(root.iter(f"{SVG}rect"))[1:]
    assert len(cells) == 6
    assert len({(cell.get("x"), cell.get("y")) for cell in cells}) == 6
    assert all(float(cell.get("x")) + float(cell.get("width")) <= float(root.get("width")) for cell in cells)
    assert all(float(cell.get("y")) + float(cell.get("height")) <= float(root.get("height")) for cell in cells)


def test_more_is_darker_and_marked_cells_are_framed():
    root = picture([[0.1, 0.9, 7.0]], "t", "r", "c", marked=[(0, 1)])
    light, dark, beyond = list(root.iter(f"{SVG}rect"))[1:]
    brightness = [sum(bytes.fromhex(cell.get("fill")[1:])) for cell in (light, dark, beyond)]
    assert brightness[0] > brightness[1] > brightness[2]
    assert [cell.get("stroke-width") for cell in (light, dark, beyond)] == ["1", "3", "1"]


def test_an_empty_matrix_is_an_empty_picture():
    assert len(list(picture([], "nothing", "r", "c").iter(f"{SVG}rect"))) == 1
