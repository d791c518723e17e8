# ruff: noqa: E501  - a problem is one line, as printed
"""Emails are checked with sample leads before they are published."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from nurture.definitions.folder import read_folder
from nurture.domain.problems import Problem
from nurture.publishing.publish import check_definitions
from tests.journey.builders import sample_rules

EMAIL = "tracks/welcome/01-hello.md"
LAYOUT = "layouts/plain.mjml"
LINK = '<a href="{{ unsubscribe_url }}">{{ words.unsubscribe }}</a>'
POSTAL = "{{ sender.postal_address | one_line }}"
EMPTY = "for a lead with only an address"
NOT_ONE = "is not allowed in an email"
SCHEMES = "Begin it with https://, http://, mailto: or tel:"
ASK_FIRST = SCHEMES + "; if a lead may have none, test it first: {% if lead.website %} ... {% endif %}"
NOT_FOR_EMAIL = "is not allowed in emails. Remove it: mail programs do not run it, and spam filters look for it"


def problems_of(body: str = "Read on.", subject: str = "Hello") -> list[str]:
    """Return the problems of an email with this text, without the file name."""
    rules = sample_rules() | {EMAIL: f"---\nsubject: {subject}\npreheader: From us\n---\n{body}\n"}
    return [str(problem).removeprefix(f"{EMAIL}:") for problem in check_definitions(rules)]


def problems_of_layout(old: str, new: str) -> list[str]:
    rules = sample_rules()
    assert old in rules[LAYOUT]
    rules[LAYOUT] = rules[LAYOUT].replace(old, new)
    return [str(problem) for problem in check_definitions(rules)]


def line_of(text: str) -> int:
    return sample_rules()[LAYOUT].partition(text)[0].count("\n") + 1


def test_definitions_without_a_problem_have_none() -> None:
    assert check_definitions(sample_rules()) == []
    assert check_definitions(read_folder(Path(__file__).parents[2] / "templates")) == []


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("Hello {{ lead.first_name }},\n\nread on.", '5: the text has a gap for a lead without `first_name`: `Hello ,`. Write {{ lead.first_name or "there" }}'),
        ("Well, {{ lead.last_name }} is here.", '5: the text has a gap for a lead without `last_name`: `Well,  is here.`. Write {{ lead.last_name or "there" }}'),
        ("Hi.\n\n{{ lead.company }}, think of it.", "7: the text has a gap for a lead without `company`: `, think of it.`. Write {% if lead.company %} ... {% endif %} around the words that need it"),
        ("We like **{{ lead.title }}**.", "5: the text has a gap for a lead without `title`: `We like ****.`. Write {% if lead.title %} ... {% endif %} around the words that need it"),
        ("Is {{ lead.company | upper }}'s plan good?", "5: the text has a gap for a lead without `company`: `Is 's plan good?`. Write {% if lead.company %} ... {% endif %} around the words that need it"),
        ("{% if lead.company %}Hello{% endif %}", f"5: the text is empty {EMPTY}. Write words around the values, or after `or`"),
        ("{{ lead.company }} <!-- nothing else -->", f"5: the text is empty {EMPTY}. Write words around the values, or after `or`"),
        ("A {% if lead.employees > 100 %}big{% endif %} team.", f"5: the email cannot be composed {EMPTY}: `>` cannot compare a missing value. Test first whether the value exists: {{% if lead.employees and lead.employees > 100 %}}"),
        ("[Your page]({{ lead.website }})", f"5: the link '' {NOT_ONE} {EMPTY}. {ASK_FIRST}"),
        ("[x]({{ 'JavaScript:alert(1)' }})", f"5: the link 'JavaScript:alert(1)' {NOT_ONE} {EMPTY}. {ASK_FIRST}"),
        ("[x]({{ 'data' ~ ':text/html,x' }})", f"5: the link 'data:text/html,x' {NOT_ONE} {EMPTY}. {ASK_FIRST}"),
        ("[x](JaVaScRiPt:x)", f"5: the link `JaVaScRiPt:x` {NOT_ONE}. {SCHEMES}"),
        ("[x](&#106;avascript:x)", f"5: the link `javascript:x` {NOT_ONE}. {SCHEMES}"),
        ("[x](java&Tab;script:x)", f"5: the link `java%09script:x` {NOT_ONE}. {SCHEMES}"),
        ("[x](vbscript:x)", f"5: the link `vbscript:x` {NOT_ONE}. {SCHEMES}"),
        ("[x](data:text/html,x)", f"5: the link `data:text/html,x` {NOT_ONE}. {SCHEMES}"),
        ("Hi <javascript:alert(1)>", f"5: the link `javascript:alert(1)` {NOT_ONE}. {SCHEMES}"),
        ("[x][1]\n\n[1]: javascript:x", f"5: the link `javascript:x` {NOT_ONE}. {SCHEMES}"),
        ("Hi\n\n{% if lead.title == 'x' %}[a](javascript:x){% endif %}", f"7: the link `javascript:x` {NOT_ONE}. {SCHEMES}"),
        ("<a href='javascript:x'>x</a>", "5: HTML in an email's text: <a href='javascript:x'>. Write Markdown, or put the HTML into the layout"),
    ],
)  # fmt: skip
def test_an_email_with_a_problem_for_any_lead_is_refused(body: str, problem: str) -> None:
    assert problems_of(body) == [problem]


def test_every_gap_of_an_email_is_reported_at_once() -> None:
    found = problems_of(
        "Dear {{ lead.full_name }}, how is {{ lead.city }}?\n\n{{ lead.industry }} and {{ lead.city }}."
    )
    assert [problem.split("`")[1] for problem in found] == ["city", "full_name", "industry"]
    assert [problem[0] for problem in found] == ["5", "5", "7"]


@pytest.mark.parametrize(
    "body",
    [
        'Hello {{ lead.first_name or "there" }}, how are you?',
        "Hello {{ lead.full_name | default('there') }}, how  are you ?",
        "Hello{% if lead.first_name %} {{ lead.first_name }}{% endif %}, how are you?",
        "Plans{% if lead.company == '' %} of yours{% else %} of {{ lead.company }}{% endif %} count.",
        "Is it{% if lead.employees and lead.employees > 100 %} big{% endif %}?",
        "{% if lead.website %}[Your page]({{ lead.website }}){% endif %} Read on.",
        "[Read on](https://www.example.com/?company={{ lead.company | urlencode }}&x=1)",
        "{{ lead.company }}\n\nA line of its own may be empty.",
    ],
)  # fmt: skip
def test_an_email_that_handles_missing_values_passes(body: str) -> None:
    assert problems_of(body) == []


@pytest.mark.parametrize(
    ("subject", "problem"),
    [
        ('"{{ lead.title }}"', f"2: the subject is empty {EMPTY}. Write words around the values, or after `or`"),
        ("A word for {{ lead.company }}, please", "2: the subject has a gap for a lead without `company`: `A word for , please`. Write {% if lead.company %} ... {% endif %} around the words that need it"),
        ("long " * 30, "2: the subject is longer than 128 characters: 149. Shorten it, or its values: {{ lead.company | truncate(40) }}"),
        ("Hello{% if lead.title %}, {{ lead.title }} of {{ lead.company }} in {{ lead.city }}{% endif %}", "2: the subject is longer than 128 characters for a lead with a long name and company: 154. Shorten it, or its values: {{ lead.company | truncate(40) }}"),
    ],
)  # fmt: skip
def test_a_subject_is_neither_empty_nor_too_long(subject: str, problem: str) -> None:
    assert problems_of(subject=subject) == [problem]


def test_a_subject_that_shortens_its_values_passes() -> None:
    subject = (
        "Hello{% if lead.title %}, {{ lead.title | truncate(30) }} of {{ lead.company | truncate(30) }}{% endif %}"
    )
    assert problems_of(subject=subject) == []


@pytest.mark.parametrize(
    ("repeats", "message"),
    [
        (2, r"[\d,]+ bytes of HTML: Gmail clips it at 102,000, and hides the unsubscribe link\. Shorten it"),
        (12, r"more than 1,000,000 characters, which mail servers may refuse\. Shorten it"),
    ],
)
def test_an_email_that_is_too_large_is_a_problem(repeats: int, message: str) -> None:
    (problem,) = problems_of(f"{{% for a in '{'a' * repeats}' %}}{'word ' * 18_000}{{% endfor %}}")
    assert re.match(rf"1: the email has {message}", problem)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (LINK, f'{{% if lead.country != "DE" %}}{LINK}{{% endif %}}', "the unsubscribe link is not in every copy of this email: it is inside an {% if %} or {% for %}. Show {{ unsubscribe_url }} outside of them"),
        (LINK, f"{{% for way in [] %}}{LINK}{{% endfor %}}", "the unsubscribe link is not in every copy of this email: it is inside an {% if %} or {% for %}. Show {{ unsubscribe_url }} outside of them"),
        (LINK, f'<span class="no-text">{LINK}</span>', "the unsubscribe link is in the HTML of this email, but not in its text. Show {{ unsubscribe_url }} in a part of the layout without `no-text`"),
        (LINK, f'<span style="display: none">{LINK}</span>', "the unsubscribe link is in the HTML of this email, but not in its text. Show {{ unsubscribe_url }} in a part of the layout without `no-text`"),
        (LINK, "{{ unsubscribe_url }}", 'the unsubscribe link is in this email, but cannot be clicked. Write <a href="{{ unsubscribe_url }}">Unsubscribe</a>'),
        (POSTAL, f"{{% if lead.title %}}{POSTAL}{{% endif %}}", "the postal address is not in every copy of this email: it is inside an {% if %} or {% for %}. Show {{ sender.postal_address }} outside of them"),
        (POSTAL, f'<span class="no-text">{POSTAL}</span>', "the postal address is in the HTML of this email, but not in its text. Show {{ sender.postal_address }} in a part of the layout without `no-text`"),
    ],
)  # fmt: skip
def test_legally_required_content_is_in_html_and_text_of_every_copy(old: str, new: str, problem: str) -> None:
    assert problems_of_layout(old, new) == [f"{LAYOUT}:{line_of(old)}: {problem}"]


@pytest.mark.parametrize("missing", [LINK, POSTAL])
def test_an_email_without_the_unsubscribe_link_or_the_address_is_refused(missing: str) -> None:
    found = problems_of_layout(missing, "")
    assert len(found) == 5  # one for each email of a track, and for the emails that ask for a fact and for consent
    assert all("the email does not show `" in problem for problem in found)


def test_a_layout_may_show_the_unsubscribe_link_in_each_of_its_branches() -> None:
    assert problems_of_layout(LINK, f"{{% if lead.country %}}{LINK}{{% else %}}{LINK}{{% endif %}}") == []


@pytest.mark.parametrize(
    ("markup", "problem"),
    [
        ("<a href='JavaScript:x'>q</a>", f"the link `JavaScript:x` {NOT_ONE}. {SCHEMES}"),
        ("<A HREF='data:x'>q</A>", f"the link `data:x` {NOT_ONE}. {SCHEMES}"),
        ("<a href='{{ lead.website }}'>q</a>", f"the link '' {NOT_ONE} {EMPTY}. {ASK_FIRST}"),
        ("<img src='https://www.example.com/a.png' onerror='alert(1)' />", f"<img onerror> {NOT_FOR_EMAIL}"),
        ("<script>alert(1)</script>", f"<script> {NOT_FOR_EMAIL}"),
    ],
)  # fmt: skip
def test_unsafe_links_and_scripts_in_a_layout_are_problems(markup: str, problem: str) -> None:
    assert problems_of_layout("<hr style", f"{markup}<hr style") == [f"{LAYOUT}:{line_of('<hr style')}: {problem}"]


def test_an_unreadable_file_has_only_that_problem() -> None:
    unreadable = Problem(EMAIL, 5, "byte 9 (0xfc) is not UTF-8 text", "Save the file again with the encoding UTF-8")
    rules = sample_rules() | {EMAIL: "\ufffd"}
    assert [problem.message for problem in check_definitions(rules)] == ["the email has no front matter"]
    assert check_definitions(rules, [unreadable]) == [unreadable]


def test_every_declared_field_may_stand_in_subject_and_text_if_it_has_a_fallback() -> None:
    text = "---\nsubject: About {{ lead.plan }}\npreheader: Hi\n---\nYour {{ lead.plan }} ends {{ lead.ends_on | date }}.\n"
    rules = sample_rules() | {EMAIL: text}
    rules["fields.yaml"] = "plan: {fallback: your plan}\nends_on: {type: date}\n"
    gap = "the text has a gap for a lead without `ends_on`: `Your your plan ends .`"
    assert [str(each) for each in check_definitions(rules)] == [
        f"{EMAIL}:5: {gap}. Write {{% if lead.ends_on %}} ... {{% endif %}} around the words that need it"
    ]
    rules["fields.yaml"] = "plan: {fallback: your plan}\nends_on: {type: date, fallback: soon}\n"
    assert check_definitions(rules) == []


def test_a_field_that_is_not_declared_is_a_warning_and_a_misspelled_one_a_problem() -> None:
    assert problems_of('Rated {{ lead.zebra or "unknown" }}, {{ lead.zebra or "unknown" }}.') == [
        "5: warning: no field is called `zebra`: it is text, if an import keeps a column of this name. Declare it in fields.yaml"
    ]
    (problem,) = problems_of('Sent to {{ lead.email or "you" }}.')
    assert problem.startswith("5: unknown name `lead.email`. Known here: lead.attended, ")
    assert problems_of('Hello {{ lead.fist_name or "there" }}.') == [
        "5: unknown name `lead.fist_name`. Did you mean `lead.first_name`?"
    ]


def test_one_subject_in_two_emails_of_a_track_is_a_warning() -> None:
    rules = sample_rules()
    other = "tracks/welcome/02-more.md"
    rules[other] = re.sub(
        "subject: .*", rules[EMAIL].split("\n")[1].upper().replace("SUBJECT", "subject"), rules[other]
    )
    assert [str(each) for each in check_definitions(rules)] == [
        f"{other}:2: warning: it has the subject of 01-hello.md: to a reader it looks like the same email again. Write another subject"
    ]


@pytest.mark.parametrize("written", ["contact.firstname", "FirstName", "Contact.FIRST_NAME"])
def test_a_field_as_other_systems_write_it_is_shown_as_it_is_written_here(written: str) -> None:
    (problem,) = problems_of(f"Hello {{{{ {written} }}}},")
    assert problem == f'5: unknown name `{written}`. Here it is {{{{ lead.first_name or "there" }}}}'


def test_a_colon_in_the_front_matter_is_put_in_quotes_with_its_own_key() -> None:
    rules = sample_rules() | {EMAIL: "---\nsubject: Hello\npreheader: Part one: the table\n---\nRead on.\n"}
    assert any(
        str(each).endswith('Put the value in quotes: preheader: "Part one: the table"')
        for each in check_definitions(rules)
    )


@pytest.mark.parametrize(
    ("snippet", "problem"),
    [
        ("Nora\n\n{{ lead.first_nam }}", "3: unknown name `lead.first_nam`. Did you mean `lead.first_name`?"),
        ("Nora\n\nfor {{ lead.company }}.", "3: the text has a gap for a lead without `company`: `for .`. Write {% if lead.company %} ... {% endif %} around the words that need it"),
        ("Nora\n\n[x](javascript:x)", f"3: the link `javascript:x` {NOT_ONE}. {SCHEMES}"),
        ("Nora\n{{ lead.company ** 2 }}", "2: `**` is not allowed in emails. Write the number"),
        ("Nora\n{% include 'sign' %}", '2: `include` is not allowed in emails. In the text, {% include "price" %} inserts snippets/price.md, which includes no other'),
        ("<b>Nora</b>", "1: HTML in an email's text: <b>. Write Markdown, or put the HTML into the layout"),
        ("{% for a in [1, 2, 3] * 99999999 %}x{% endfor %}", "1: the email cannot be composed: `*` is for numbers only. Simplify it"),
    ],
)  # fmt: skip
def test_a_snippet_is_checked_like_the_email_around_it_and_named_with_its_own_lines(snippet: str, problem: str) -> None:
    rules = sample_rules() | {"snippets/sign.md": snippet}
    for path in (EMAIL, "tracks/welcome/02-more.md"):
        rules[path] += "\n\n{% include 'sign' %}\n"
    found = [str(one) for one in check_definitions(rules)]
    assert {
        one.removeprefix("snippets/sign.md:").removeprefix(f"{EMAIL}:").removeprefix("tracks/welcome/02-more.md:")
        for one in found
    } == {problem}
