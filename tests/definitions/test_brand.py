# ruff: noqa: E501  - a problem is one line, as printed
"""The brand of defaults.yaml is in every layout, and its colors can be read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nurture.definitions.brand import DARK_SHEET, MIN_CONTRAST, contrast, readable
from nurture.definitions.read_all import check, load
from tests.definitions.build import DEFAULTS, bundle, problems

MAIL = "tracks/hello/01-one.md"
LAYOUT = 'a{{ brand.accent }}\n{% if brand.logo %}<img src="{{ brand.logo }}" alt="{{ brand.logo_alt }}">\n{% else %}{{ sender.name }}{% endif %}\n{{ brand.font }}'
COLORS = st.integers(0, 0xFFFFFF).map(lambda number: f"#{number:06x}")


def _with(brand: str, layout: str = LAYOUT, **snippets: str) -> dict[str, str]:
    files = {f"snippets/{name}.md": text for name, text in snippets.items()}
    return bundle(defaults=f"{DEFAULTS}brand:\n  {brand}\n") | {"layouts/plain.mjml": layout} | files


def test_layouts_have_the_values_of_the_brand_and_keep_their_lines() -> None:
    given = _with(
        '{logo: {url: "https://a.example/l.png?a=1&b=2", alt: "L & Co"}, colors: {accent: "#036"}, font: Georgia}'
    )
    layout = load(given).layouts["plain"]
    assert layout.split("\n")[:3] == [
        "a#003366",
        '<img src="https://a.example/l.png?a=1&amp;b=2" alt="L &amp; Co">',
        "",
    ]
    assert layout.split("\n")[3].startswith("Georgia, -apple-system")
    assert load(_with("{font: Georgia}")).layouts["plain"].split("\n")[:3] == ["a#0b5cad", "{{ sender.name }}", ""]


def test_a_changed_brand_is_a_change_of_every_track() -> None:
    blue, red = (load(_with(f'{{colors: {{accent: "{color}"}}}}')) for color in ("#003366", "#aa0000"))
    assert blue.tracks["hello"].digest != red.tracks["hello"].digest


@pytest.mark.parametrize(
    ("front", "end"),
    [
        ("", "Hello.\n\nNora"),
        ("signature: no\n", "Hello."),
        ("signature: ida\n", "Hello.\n\nIda"),
    ],
)
def test_each_email_of_a_track_ends_with_the_signature_or_its_own(front: str, end: str) -> None:
    sources = _with("{signature: nora}", nora="Nora\n", ida="Ida\n")
    sources[MAIL] = f"---\nsubject: a\npreheader: b\n{front}---\nHello.\n"
    emails = load(sources).emails
    assert emails[MAIL].text.split("---\n")[2].rstrip() == end
    assert "Nora" not in emails["handoff/brief.md"].text


def test_a_published_policy_does_without_the_signature() -> None:
    sources = load(_with("{signature: nora}", nora="Nora\n")).sources_of_policy()
    assert "snippets/nora.md" not in sources
    assert check(sources, complete=False) == []


def test_an_email_that_includes_its_signature_gets_it_once() -> None:
    sources = _with("{signature: nora}", nora="Nora\n")
    sources[MAIL] += "\n{% include 'nora' %}\nPS\n"
    assert load(sources).emails[MAIL].text.count("Nora") == 1


@pytest.mark.parametrize(
    ("brand", "problem"),
    [
        ('{colors: {accent: "#ffcc00"}}', '`accent: #ffcc00` is hard to read: links on white have a contrast of 1.5, and need 4.5. Write `accent: "#8f7200"`, the nearest color that has it'),
        ("{colors: {accent: blue}}", '`accent`: `blue` is not a color. Write six digits in quotes, for example `"#0b5cad"`'),
        ("{colors: {accent: #0b5cad}}", 'this is not YAML: expected the node content, but found \'<stream end>\'. Put colors in quotes, such as "#0b5cad": `#` begins a comment'),
        ("{colors: {acent: blue}}", "unknown key `acent` in `colors`. Did you mean `accent`?"),
        ("colors:\n    accent: #0b5cad", '`accent` is empty in `colors`. Write for example `accent: "#0b5cad"`'),
        ("{logo: {url: http://a.example/l.png, alt: a}}", "`url`: `http://a.example/l.png` is not the web address of an image. Write for example `https://www.example.com/logo.png`"),
        ("{logo: {url: https://a.example/l.png}}", "`alt` is missing in `logo`. Write for example `alt: Larkfield`"),
        ("{font: '</style>'}", "`font`: `</style>` is not a font. Write for example `Georgia` or `Verdana, Geneva`"),
        ("{signature: nora}", "there is no snippet `nora` in snippets/. Write the file snippets/nora.md"),
    ],
)  # fmt: skip
def test_a_brand_with_a_problem_is_refused(brand: str, problem: str) -> None:
    (found,) = problems(_with(brand))
    assert found.partition(": ")[2] == problem


def test_a_layout_and_an_email_that_name_what_the_brand_or_the_snippets_do_not_have_are_refused() -> None:
    sources = _with("{font: Georgia}", "\n{{ brand.acent }}")
    sources[MAIL] = "---\nsubject: a\npreheader: b\nsignature: nora\n---\nHello.\n"
    assert problems(sources) == [
        "layouts/plain.mjml:2: the brand has no `acent`. Did you mean `accent`?",
        f"{MAIL}:4: there is no snippet `nora` in snippets/. Write the file snippets/nora.md",
    ]


@given(COLORS, COLORS)
def test_the_nearest_readable_color_is_readable_and_a_readable_color_is_its_own(color: str, on: str) -> None:
    found = readable(color, on)
    assert contrast(found, on) >= MIN_CONTRAST
    assert readable(found, on) == found
    assert contrast(color, on) == contrast(on, color)


@pytest.mark.parametrize("accent", ["#0b5cad", "#8f7200", "#000000", "#aa0000", "#767676"])
@pytest.mark.parametrize("background", ["#f0f2f5", "#000000", "#7f7f7f"])
def test_text_on_buttons_small_print_and_links_in_dark_mode_can_be_read(accent: str, background: str) -> None:
    values = load(_with(f'{{colors: {{accent: "{accent}", background: "{background}"}}}}')).defaults.brand.values
    pairs = [("on_accent", accent), ("muted", background), ("accent_dark", DARK_SHEET)]
    assert [name for name, on in pairs if contrast(values[name], on) < MIN_CONTRAST] == []


def test_black_on_white_has_the_highest_contrast() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
