# ruff: noqa: E501  - a problem is one line, as printed
"""An email may be there in several languages; what is missing in one is said."""

from __future__ import annotations

import pytest

from nurture.definitions.read_all import load
from nurture.formats.languages import language_code, main_language
from tests.definitions.build import DEFAULTS, EMAIL, bundle, problems, steps

TWO = steps("- email: 01-one\n  after: at once\n- email: 02-two\n  after: 3 days")
LAYOUT = {"layouts/plain.de.mjml": '<mjml lang="en"></mjml>'}


def _with(*files: str, defaults: str = DEFAULTS) -> dict[str, str]:
    return (
        bundle(TWO, ("01-one", "02-two"), defaults=defaults)
        | {f"tracks/hello/{file}.md": EMAIL for file in files}
        | LAYOUT
    )


def test_languages_are_those_of_the_files_and_choose_layout_and_snippet() -> None:
    sources = _with("01-one.de", "02-two.de") | {"snippets/sign.md": "Best", "snippets/sign.de.md": "Gruß"}
    for email in ("01-one", "01-one.de", "02-two.de"):
        sources[f"tracks/hello/{email}.md"] += "{% include 'sign' %}\n"
    found = load(sources)
    track = found.tracks["hello"]
    assert track.program(1).languages == {"01-one": ("de",), "02-two": ("de",)}
    assert track.layouts == {"01-one": "plain", "01-one.de": "plain.de", "02-two": "plain", "02-two.de": "plain.de"}
    assert [text.rstrip().rpartition("\n")[2] for text in (track.emails["01-one"], track.emails["01-one.de"])] == [
        "Best",
        "Gruß",
    ]
    assert found.layouts["plain.de"] == '<mjml lang="de"></mjml>'
    assert "snippets/sign.de.md" in found.sources_of("hello")
    assert problems(sources) == []


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        (["01-one.de"], "tracks/hello/02-two.md:1: warning: the email is missing in de: leads of these languages get it in en. Write 02-two.de.md"),
        (["01-one.fr", "02-two.fr"], "layouts/plain.mjml:1: warning: there are emails in fr, but this layout is not there in fr: the small print is English. Write layouts/plain.fr.mjml"),
        (["01-on.de", "01-one.de", "02-two.de"], "tracks/hello/01-on.de.md:1: there is no email `01-on.md` of which this is one language. Did you mean `01-one`?"),
        (["01-one.en", "02-two.en"], "tracks/hello/01-one.en.md:1: `en` is the language of 01-one.md. Move its text to 01-one.md, or write the other `language:` in defaults.yaml"),
        (["01-one.german", "02-two.de"], "tracks/hello/01-one.german.md:1: `german` is not the code of a language. Rename it to 01-one.de.md"),
    ],
)  # fmt: skip
def test_what_is_missing_or_misnamed_is_said(files: list[str], problem: str) -> None:
    assert problem in problems(_with(*files))


def test_a_layout_with_translated_words_needs_no_file_of_its_own() -> None:
    translated = {"layouts/plain.mjml": "<mjml>{{ words.unsubscribe }}</mjml>"}
    assert problems(_with("01-one.fr", "02-two.fr") | translated) == []
    (found,) = problems(_with("01-one.ja", "02-two.ja") | translated)
    assert "this layout is not there in ja" in found


def test_the_language_of_emails_without_a_suffix_can_be_another() -> None:
    assert load(_with(defaults=f"{DEFAULTS}language: German\n")).tracks["hello"].program(1).language == "de"
    (found,) = problems(_with(defaults=f"{DEFAULTS}language: Klingon\n"))
    assert found.endswith("`language`: `Klingon` is not a language. Write its code of two letters, such as `de`")


@pytest.mark.parametrize(
    ("text", "code"),
    [("de", "de"), ("de-AT", "de"), ("DE_ch", "de"), ("German", "de"), ("Deutsch", "de"), ("Français", "fr"), ("nb", "no"), ("", ""), ("?", "")],
)  # fmt: skip
def test_a_language_is_known_by_code_and_name(text: str, code: str) -> None:
    assert language_code(text) == code


def test_the_language_of_a_country_is_its_first_official_one() -> None:
    assert [main_language(one) for one in ("AT", "us", "BR", "XX", "")] == ["de", "en", "pt", "", ""]
