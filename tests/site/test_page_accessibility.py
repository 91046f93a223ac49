"""Everybody can read a page and use it: its names, its order and its contrast (WCAG 2.2)."""

from __future__ import annotations

import re

import pytest

from tests.site.rendered_pages import STYLESHEET, Document, Render, every_page


# Everybody can use it.
@every_page
def test_a_page_has_a_language_a_title_and_one_heading(render: Render) -> None:
    page = Document(render())
    assert page.one("html").attributes == {"lang": "en"}
    assert page.one("title").text
    assert page.one("h1").inside("main")
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in [
        meta.attributes for meta in page.all("meta")
    ]


@every_page
def test_every_visible_input_has_a_label_and_every_button_a_text(render: Render) -> None:
    page = Document(render())
    labels = [(label.attributes["for"], bool(label.text)) for label in page.all("label")]
    visible = [e for e in page.all("input") if e.attributes["type"] != "hidden"]
    assert labels == [(e.attributes["id"], True) for e in visible]
    assert all(b.text for b in page.all("button"))


@every_page
def test_ids_are_unique_and_every_reference_has_its_target(render: Render) -> None:
    elements = Document(render()).elements
    ids = [e.attributes["id"] for e in elements if "id" in e.attributes]
    assert len(ids) == len(set(ids))
    for reference in ("for", "aria-describedby"):
        assert {e.attributes[reference] for e in elements if reference in e.attributes} <= set(ids)


def colours(scheme: str) -> dict[str, str]:
    """Return the custom properties of the stylesheet, as they hold in one colour scheme."""
    light, dark = re.findall(r":root \{(.*?)\}", STYLESHEET, re.DOTALL)
    sheet = light if scheme == "light" else light + dark
    return dict(re.findall(r"(--[a-z-]+): (#[0-9a-f]{6});", sheet))


def luminance(colour: str) -> float:
    """Relative luminance, WCAG 2.2."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """Contrast ratio, WCAG 2.2 §1.4.3."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


TEXT_ON = [
    ("--text", "--card"),
    ("--text", "--plate"),
    ("--text", "--paper"),
    ("--quiet", "--card"),
    ("--quiet", "--plate"),
    ("--accent", "--card"),
    ("--accent-deep", "--card"),
    ("--on-accent", "--accent"),
    ("--on-accent", "--accent-deep"),
    ("--alert", "--alert-plate"),
]
# Borders of fields, rings of focus, the ornament.
EDGE_ON = [("--edge", "--card"), ("--accent", "--card"), ("--alert", "--card")]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    ("pairs", "least"), [pytest.param(TEXT_ON, 4.5, id="text"), pytest.param(EDGE_ON, 3, id="edge")]
)
def test_contrast_is_enough_in_both_schemes(
    scheme: str, pairs: list[tuple[str, str]], least: float
) -> None:
    values = colours(scheme)
    low = {pair: contrast(*(values[name] for name in pair)) for pair in pairs}
    assert {pair: ratio for pair, ratio in low.items() if ratio < least} == {}


def test_contrast_is_computed_as_wcag_does() -> None:
    assert round(contrast("#ffffff", "#000000"), 6) == 21
    assert round(contrast("#777777", "#ffffff"), 2) == 4.48


def test_the_dark_scheme_redefines_every_colour() -> None:
    light, dark = colours("light"), colours("dark")
    assert light.keys() == dark.keys() != set()
    assert [name for name in light if light[name] == dark[name]] == []


def test_every_colour_of_the_stylesheet_is_one_whose_contrast_was_computed() -> None:
    rules = re.sub(r"/\*.*?\*/|:root \{.*?\}", "", STYLESHEET, flags=re.DOTALL)
    assert not re.search(r"#[0-9a-f]{3,8}\b|rgb|hsl|oklch|lab\(|lch\(", rules)
    texts = set(re.findall(r"(?<![a-z-])color: ([^;]+);", rules))
    assert texts == {f"var({text})" for text, _ in TEXT_ON}
    backgrounds = set(re.findall(r"background: (var\([a-z-]+\))", rules))
    assert backgrounds == {f"var({background})" for _, background in TEXT_ON}


def test_nothing_moves_and_no_focus_ring_is_switched_off() -> None:
    assert not re.search(r"transition|animation|@keyframes|outline: (0|none)", STYLESHEET)
    assert ":focus-visible {\n  outline: 3px solid var(--accent);" in STYLESHEET


def test_the_stylesheet_is_the_text_that_a_browser_hashes() -> None:
    """Parsers turn CR into LF and end the element at its end tag: neither may be in it."""
    assert "\r" not in STYLESHEET
    assert "</" not in STYLESHEET
