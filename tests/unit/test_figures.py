"""The figures say nothing false: true counts whatever the circles allow, and notes of what isn't to scale."""

from xml.etree import ElementTree

import matplotlib_venn
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.evaluation.regions import REGIONS
from lib.report.drawing import COLOURS, MIXED, direction_styles, network_colours, to_svg
from lib.report.error_curves import draw_error_curves
from lib.report.loss_lines import draw_loss_lines
from lib.report.region_diagram import draw_regions

PAPER = dict(zip(REGIONS, (35400, 1050, 1326, 2700, 1246, 887, 260, 7131), strict=True))


def drawn(regions: dict[str, int]) -> list[str]:
    """All texts of the diagram, in no order."""
    root = ElementTree.fromstring(to_svg(draw_regions(regions, "a", "b"), "f"))
    return ["".join(text.itertext()) for text in root.iter("{http://www.w3.org/2000/svg}text")]


def test_diagram_of_the_papers_size_has_all_counts_and_its_notes() -> None:
    texts = drawn(PAPER)
    for name, count in PAPER.items():
        if name != "none":
            assert f"{count:,}" in texts
    assert any("None of the three right: 7,131 of 50,000" in text for text in texts)
    assert any("drawn at a tenth" in text for text in texts)
    assert any("are to scale, smaller parts roughly" in text for text in texts)


@pytest.mark.parametrize(
    "counts",
    [
        (777, 4322, 779, 36004, 17, 18, 0, 5),  # "Bad circle positioning"
        (7, 0, 1, 400, 1, 36000, 0, 400),  # VennRegionException: a circle in another one
        (500, 0, 0, 30, 0, 0, 0, 3),  # numbers that matplotlib-venn writes into the wrong region
    ],
)
def test_sets_that_circles_cannot_show_are_drawn_not_to_scale_and_say_so(counts: tuple[int, ...]) -> None:
    regions = dict(zip(REGIONS, counts, strict=True))
    texts = drawn(regions)
    assert any("Not to scale" in text for text in texts)
    assert not any("tenth" in text for text in texts)
    assert all(f"{count:,}" in texts for name, count in regions.items() if count and name != "none")


@settings(max_examples=40, deadline=None)
@given(st.tuples(*[st.sampled_from([0, 1, 7, 400, 36000])] * 8))
def test_no_count_is_ever_missing(counts: tuple[int, ...]) -> None:
    regions = dict(zip(REGIONS, counts, strict=True))
    texts = drawn(regions)
    wanted = [f"{count:,}" for name, count in regions.items() if count and name != "none"]
    assert all(texts.count(count) >= wanted.count(count) for count in wanted)


def test_one_step_for_curves_of_unequal_length() -> None:
    long = (np.arange(1, 9001), np.linspace(2, 0.1, 9000))
    short = (np.arange(1, 101), np.linspace(2, 0.1, 100))
    figure = draw_error_curves({"a -> b": long, "b -> a": short})
    (axes,) = figure.axes
    assert "one batch in 3 " in axes.get_xlabel()
    assert [len(line.get_xdata()) for line in axes.get_lines() if line.get_alpha() != 0] == [3000, 34]


def test_curves_end_where_asked() -> None:
    curves = {"a -> b": (np.arange(1, 20_001), np.ones(20_000))}
    ends = [draw_error_curves(curves, last).axes[0].get_lines()[0].get_xdata()[-1] for last in (500, None)]
    assert ends == [500, 19_996]


SVG = "{http://www.w3.org/2000/svg}"


def told(svg: str) -> list[tuple[str, str]]:
    """Each value of a figure with the element that tells it."""
    root = ElementTree.fromstring(svg)
    return [
        (parent.tag.removeprefix(SVG), child.text or "")
        for parent in root.iter()
        for child in parent.findall(f"{SVG}title")
    ]


def test_points_of_loss_lines_tell_their_values_at_their_places() -> None:
    lines = {"a → <b> & $c$": ([1, 4, 16], [70.0, 2.5, -0.001]), "b → a": ([1, 4], [9.0, 3.0])}
    svg = to_svg(draw_loss_lines(lines, "rank k"), "f")
    assert told(svg) == [
        ("use", "a → <b> & $c$: 70.00 points at 1 (rank k)"),
        ("use", "a → <b> & $c$: 2.50 points at 4 (rank k)"),
        ("use", "a → <b> & $c$: 0.00 points at 16 (rank k)"),
        ("use", "b → a: 9.00 points at 1 (rank k)"),
        ("use", "b → a: 3.00 points at 4 (rank k)"),
    ]
    markers = [use for use in ElementTree.fromstring(svg).iter(f"{SVG}use") if use.find(f"{SVG}title") is not None]
    heights = [float(use.attrib["y"]) for use in markers]
    assert heights[0] < heights[1] < heights[2], "a greater loss stands higher"
    assert heights[0] < heights[3] < heights[4]


def test_curves_and_regions_tell_their_values() -> None:
    curve = (np.arange(1, 101), np.linspace(2, 0.1, 100))
    values = told(to_svg(draw_error_curves({"a → b": curve}), "f"))
    assert values[0] == ("use", "a → b: E 2.0000 at iteration 1")
    assert values[-1] == ("use", "a → b: E 0.1000 at iteration 100")
    regions = dict(zip(REGIONS, (10, 20, 30, 40, 50, 60, 70, 80), strict=True))
    found = told(to_svg(draw_regions(regions, "a", "b"), "f"))
    assert ("g", "b → b and a → a and a → b (mapped): 10 images") in found
    assert len(found) == 7


def test_a_network_has_one_colour_in_all_figures() -> None:
    names = ["a", "b", "c"]
    colours, styles = network_colours(names), direction_styles(names)
    assert list(colours.values()) == list(COLOURS[:3])
    assert MIXED not in COLOURS
    assert all(styles[source, target]["color"] == colours[target] for source, target in styles)
    assert len({(style["color"], str(style["linestyle"])) for style in styles.values()}) == 6
    svg = to_svg(draw_regions(dict.fromkeys(REGIONS, 10), "a", "c", (colours["c"], colours["a"])), "f")
    assert colours["c"] in svg
    assert colours["b"] not in svg


def test_no_curves_at_all() -> None:
    ElementTree.fromstring(to_svg(draw_error_curves({}), "f"))


def test_what_matplotlib_venn_raises_still_has_no_public_name() -> None:
    """If this fails, lib.report.region_diagram can import the public name."""
    assert not hasattr(matplotlib_venn, "VennRegionException")
