from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nurture.errors import InvalidDefinitions
from nurture.mail.rendering.compile import EmailSource, check_email, compile_email
from nurture.mail.rendering.email_file import get_layout_name
from nurture.mail.rendering.layout_words import LAYOUT_VARIABLES
from nurture.mail.rendering.link_rules import LINK_ADVICE
from tests.mail.build import BARE, BRIEF, PLAIN, compiled, composed, source

KNOWN = {"lead.first_name", "lead.company", "sender.name", "sender.postal_address"}
KNOWN |= {"track.consent_reason", "track.url", "unsubscribe_url", "preferences_url", *LAYOUT_VARIABLES}


def problems_of(text: str | EmailSource, layout: str = BARE) -> list[str]:
    email = source(text) if isinstance(text, str) else text
    return [str(problem) for problem in check_email(email, layout, KNOWN)]


def test_a_link_whose_address_is_a_tag_is_a_link() -> None:
    email = composed("[Read it]({{ track.url }}) and [this](https://example.com/{{ lead.company | urlencode }}/x)")
    assert 'href="https://example.com/a?x=1&amp;y=2"' in email.html
    assert 'href="https://example.com/Murphy%20%26%20Sons/x"' in email.html
    assert "Read it (https://example.com/a?x=1&y=2)" in email.text


@pytest.mark.parametrize("first_name", ["", "Bo"])
def test_a_less_than_sign_in_a_tag_breaks_no_markup(first_name: str) -> None:
    body = "{% if 1 < 3 and lead.first_name %}\nHi **{{ lead.first_name }}**.\n{% endif %}\n\nBye <https://example.com>"
    email = composed(body, first_name=first_name)
    assert ("<strong>Bo</strong>" in email.html) == bool(first_name)
    assert email.text == ("Hi Bo.\n\nBye https://example.com" if first_name else "Bye https://example.com")


@given(
    st.lists(st.sampled_from(["{{ lead.company }}", "{{ 'a}}<b' }}", "{% if 2 > 1 < 3 %}*y*{% endif %}", "jtv0000x"]))
)
def test_every_tag_is_restored_at_its_position(parts: list[str]) -> None:
    email = composed("Start " + " ".join(parts))
    rendered = {"{{ lead.company }}": "Murphy & Sons", "{{ 'a}}<b' }}": "a}}<b", "jtv0000x": "jtv0000x"}
    assert email.text == "Start" + "".join(" " + rendered.get(part, "y") for part in parts)


def test_braces_that_were_written_as_characters_stay_characters() -> None:
    email = composed("Write &#123;&#123; lead.company }} and &#123;% if %}")
    assert email.text == "Write {{ lead.company }} and {% if %}"
    assert "{{ lead.company }}" in email.html


def test_a_button_is_a_table_cell_in_html_and_a_link_in_text() -> None:
    email = composed('[Book a *slot*]({{ track.url }} "button")\n[Not now](https://example.com/no "button quiet")')
    cells = re.findall(r'<td\s+class="(button[^"]*)"', email.html)
    assert cells == ["button", "button quiet"]
    assert "Book a <em>slot</em>" in email.html
    assert email.text == "Book a slot (https://example.com/a?x=1&y=2)\nNot now (https://example.com/no)"


def test_a_loop_over_items_is_one_list() -> None:
    email = composed("Before\n\n{% for city in ['Cork', 'Bonn'] %}\n- {{ city }}\n{% endfor %}\n\nAfter")
    assert email.html.count("<ul") == 1
    assert email.text == "Before\n\n- Cork\n- Bonn\n\nAfter"


def test_the_text_part_is_readable() -> None:
    body = (
        "# Title\n\nOne *two*\nthree.  \nFour\n\n- a\n- b [c](mailto:d@example.com)\n  - e\n\n1. f\n2. g\n\n"
        "> Said\n> so\n\n---\n\n![A chart](https://example.com/x.png)\n\n    code  kept\n    as is"
    )
    assert composed(body).text == (
        "Title\n\nOne two three.\nFour\n\n- a\n- b c (mailto:d@example.com)\n  - e\n\n1. f\n2. g\n\n"
        "> Said so\n\n-----\n\nA chart\n\ncode  kept\nas is"
    )


def test_comments_in_markdown_do_not_reach_the_lead() -> None:
    email = composed("Hello <!-- Bo -->\n\n<!-- ask Bo whether this is true -->\n\n{# nor this #}\n\nBye")
    assert "Bo" not in email.html
    assert email.text == "Hello\n\nBye"


def test_the_preheader_is_in_the_html_but_hidden_and_not_in_the_text() -> None:
    email = compiled("Body", preheader="Peek & see", layout=PLAIN)
    hidden = re.search(r'<div\s+style="display:\s*none[^"]*">([^<]*)</div>', email.sources[1])
    assert hidden is not None
    assert hidden[1] == "Peek &amp; see"
    assert "Peek" not in email.sources[2]


@pytest.mark.parametrize("layout", [PLAIN, BRIEF])
def test_a_shipped_layout_keeps_its_rules_for_phones_and_loads_nothing(layout: str) -> None:
    html = compiled("![Chart](https://example.com/x.png)", layout=layout).sources[1]
    assert "@media only screen and (max-width: 480px)" in html
    assert "fonts.googleapis" not in html
    assert max(map(len, html.split("\n"))) < 998


def test_a_subject_may_begin_with_a_tag_or_be_quoted() -> None:
    assert composed("x", subject='{{ lead.first_name or "Hello" }}, welcome').subject == "Aoife, welcome"
    assert composed("x", subject='"{{ lead.first_name }}: a question"').subject == "Aoife: a question"
    assert composed("x", subject='"{{ lead.nick or \\"Hello\\" }} there"', nick="").subject == "Hello there"


def test_an_email_names_its_layout() -> None:
    assert get_layout_name(source("x")) == "plain"
    assert get_layout_name(EmailSource("a.md", "---\nsubject: a\npreheader: b\nlayout: brief\n---\nx")) == "brief"


def test_variables_are_dotted_names_from_outside() -> None:
    body = "{% for n in lead.notes %}{{ n.text }}{% endfor %} {{ offer['rep'].name }} {% set a = 1 %}{{ a }}"
    assert compile_email(source(body, subject="Hi {{ lead.first_name }}"), BARE).variables == {
        "lead.notes",
        "offer.rep.name",
        "lead.first_name",
    }


def test_all_problems_come_together_each_with_its_line() -> None:
    text = (
        "---\nsubject: Hi {{ lead.firstname }}\npreheader: p\nlayuot: plain\n---\n"
        "Hi {{ lead.first_name }}\n\n[x](javascript:alert)\n\n{{ track.nothing }} <b>bold</b>\n"
    )
    file = "tracks/webinar/01-thanks.md"
    assert problems_of(EmailSource(file, text)) == [
        f"{file}:2: unknown name `lead.firstname`. Did you mean `lead.first_name`?",
        f"{file}:4: unknown key `layuot` in the front matter. Did you mean `layout`?",
        f"{file}:8: the link `javascript:alert` is not allowed in an email. {LINK_ADVICE}",
        f"{file}:10: HTML in an email's text: <b>. Write Markdown, or put the HTML into the layout",
        f"{file}:10: unknown name `track.nothing`. Known here: track.consent_reason, track.url",
    ]


@pytest.mark.parametrize(
    ("body", "line", "says"),
    [
        ("a\n\n{{ lead.company", 7, "a tag is invalid"),
        ("{% if lead.company %}a", 5, "a tag is invalid"),
        ("{{lead.First Name:default=there}}", 5, 'Fields are written like this: {{ lead.first_name or "there" }}'),
        ("a\n\n| Q |\n|---|---|\n| 1 | 2 |", 8, "the headings and the line below them do not make a table"),
        ("| Q | A |\n|---|---|\n| 1 | 2 |\n\n| 3 | 4 |", 9, "this row is in no table. Write all rows directly below"),
        ("| Q | A |\n|---|---|\n| 1 | 2 | 3 |", 7, "a row has more cells than the 2 headings of its table"),
        (
            "| a | b | c | d | e |\n|---|---|---|---|---|",
            5,
            "warning: a phone cuts the words of a table with 5 columns",
        ),
        ("![](https://example.com/a.png)", 5, "has no text for those who do not see it. Write what it shows"),
        ("![a](http://example.com/a.png)", 5, "is not at a safe address. Begin it with https://"),
        ('![a](https://example.com/a.png "width 900")', 5, "a width of 900 does not fit into an email"),
        ("a {{ lead.company | uper }}", 5, "Did you mean `upper`?"),
        ("{% include 'x' %}", 5, "`include` is not allowed in emails"),
        ("{% autoescape false %}{{ lead.company }}{% endautoescape %}", 5, "`autoescape` cannot be turned off"),
        ("{{ lead.company.upper() }}", 5, "an email cannot call a function"),
        ("x\n{% raw %}{{ a }}{% endraw %}", 6, "`raw` is not allowed in emails"),
        ("{{ lead.company | safe }}", 5, "there is no filter `safe`"),
        ("[a](/relative)", 5, "the link `/relative`"),
        ("First\nsecond\n[a](/relative)", 7, "the link `/relative`"),
        ("[a]()", 5, "the link ``"),
        ("a\n\n- {% if lead.company %}b\n- c{% endif %}", 7, "{% if lead.company %} ends in another element"),
        ("**{% if lead.company %}b** c{% else %}d{% endif %}", 5, "{% if lead.company %} ends in another element"),
        ("[a](java{{ lead.company }})", 5, "the link `java{{ lead.company }}`"),
        ("![a](data:image/png;base64,AA)", 5, "the link `data:image/png"),
        ("{% if lead.company\n%}\nx\n{% endif %}\n\n[a](bad:1)", 10, "the link `bad:1`"),
    ],
)
def test_a_problem_in_the_text_names_line_and_remedy(body: str, line: int, says: str) -> None:
    (problem,) = problems_of(body)
    assert problem.startswith(f"tracks/webinar/01-thanks.md:{line}: ")
    assert says in problem


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("Hello", 3, "the email has no front matter"),
        ("---\nsubject: a: b\npreheader: p\n---\nx", 4, "not YAML"),
        ("---\nsubject: a\n---\nx", 4, "the email has no preheader"),
        ("---\nsubject:\npreheader: p\n---\nx", 4, "the subject is empty"),
        ("---\nsubject: [a, b]\npreheader: p\n---\nx", 4, "`subject` is not a text"),
        ("---\nsubject: a\nsubject: b\npreheader: p\n---\nx", 5, "duplicate key"),
        ("---\nsubject: a\npreheader: p\n---\n\n", 7, "the email has no text"),
        ("---\n- a\n---\nx", 4, "the front matter has no keys"),
        ("---\nsubject: +_\npreheader: a\n---\nx", 4, "begins like a number and is none"),
        ("---\nsubject: 0x_\npreheader: a\n---\nx", 4, "begins like a number and is none"),
    ],
)
def test_a_problem_in_the_front_matter_names_its_line(text: str, line: int, says: str) -> None:
    problems = problems_of(EmailSource("a.md", text, first_line=3))
    assert any(problem.startswith(f"a.md:{line}: ") and says in problem for problem in problems), problems


@pytest.mark.parametrize(
    ("element", "says"),
    [
        ("<mj-text>{{ body }}</mj-text><mj-image width='{{ 9 }}px' src='https://example.com/a' />", "`width`"),
        ("<mj-text>{{ body }}<a {% if 1 %}class='k'{% endif %}>x</a></mj-text>", "between attributes"),
        ("<mj-text>{{ body }}{% if 1 %}<p>a{% endif %}</p></mj-text>", "ends in another element"),
        ("<mj-text>no slot</mj-text>", "no slot for the body"),
        ("<mj-text>{{ body }}<a href='javascript:x'>x</a></mj-text>", "the link `javascript:x`"),
        ("<mj-text>{{ body }} {{ lead.compny }}</mj-text>", "Did you mean `lead.company`?"),
        ("<mj-text>{{ body }}", "the MJML is invalid"),
    ],
)
def test_a_problem_in_the_layout_is_named_as_such(element: str, says: str) -> None:
    layout = f"<mjml><mj-body><mj-section><mj-column>\n{element}</mj-column></mj-section></mj-body></mjml>"
    problems = problems_of("x", layout)
    assert any(problem.startswith("layouts/plain.mjml:") and says in problem for problem in problems), problems


def test_a_section_of_a_layout_may_be_conditional() -> None:
    section = "<mj-section><mj-column><mj-text>{}</mj-text></mj-column></mj-section>"
    unhidden = "<mj-raw>{{% {} %}}</mj-raw>"
    parts = [
        unhidden.format("if lead.company"),
        section.format("At {{ lead.company }}"),
        unhidden.format("endif"),
        section,
    ]
    layout = f"<mjml><mj-body>{''.join(parts[:3])}{section.format('{{ body }}')}</mj-body></mjml>"
    assert composed("Hi", layout=layout).text == "At Murphy & Sons\n\nHi"
    assert composed("Hi", layout=layout, company="").text == "Hi"


def test_an_email_must_show_the_required_names() -> None:
    required = {"unsubscribe_url", "sender.postal_address"}
    assert check_email(source("x"), PLAIN, KNOWN, required) == []
    problems = check_email(source("x"), BARE, KNOWN, required)
    assert [problem.message.split("`")[1] for problem in problems] == ["sender.postal_address", "unsubscribe_url"]


def test_an_invalid_email_does_not_compile() -> None:
    with pytest.raises(InvalidDefinitions, match="1 problem in the definitions"):
        compile_email(source("[x](bad:1)"), BARE)


def test_a_style_of_a_layout_cannot_contain_a_tag() -> None:
    head = "<mj-head><mj-style>.a { color: {{ lead.company }} }</mj-style></mj-head>"
    (problem,) = problems_of("x", BARE.replace("<mjml>", f"<mjml>{head}"))
    assert "a style cannot contain the tag {{ lead.company }}" in problem


def test_a_field_in_the_query_of_a_link_is_encoded_by_itself() -> None:
    body = (
        '[Ask](https://www.example.com/guide?c={{ lead.company or "x" }}&t=1) '
        "[Twice](https://www.example.com/?c={{ lead.company | urlencode }}) "
        "[All](https://www.example.com/?{{ lead.company }})"
    )
    email = composed(body, company="AT&T #1")
    encoded = "AT%26T%20%231"
    assert f"https://www.example.com/guide?c={encoded}&t=1" in email.text
    assert f"https://www.example.com/guide?c={encoded}&amp;t=1" in email.html
    assert f"https://www.example.com/?c={encoded}" in email.text
    assert "https://www.example.com/?AT&T #1" in email.text


@pytest.mark.parametrize("tag", ["{% if lead.company %} x", "{{ lead.company"])
def test_a_tag_that_stays_open_is_a_problem_of_the_email_and_not_of_the_snippet_behind_it(tag: str) -> None:
    text = f"---\nsubject: a\npreheader: b\n---\nHello.\n\n{tag}\n\nNora {{{{ sender.name }}}}\n"
    origins = (*(("a.md", number) for number in range(1, 9)), ("snippets/sign.md", 1), ("snippets/sign.md", 2))
    with pytest.raises(InvalidDefinitions) as caught:
        compile_email(EmailSource("a.md", text, origins=origins), BARE)
    assert [str(one).partition(": ")[0] for one in caught.value.problems] == ["a.md:7"]
