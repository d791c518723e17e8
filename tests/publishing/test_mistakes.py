# ruff: noqa: E501  - a problem is one line, as printed
"""What people write by mistake: each is said at once, at its line, with what to write instead; none passes in silence."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from nurture.definitions.folder import read_folder, scan_folder, write_texts
from nurture.publishing.day_check import find_past_days
from nurture.publishing.publish import check_definitions
from tests.journey.builders import sample_rules

TRACK, EMAIL, DEFAULTS = "tracks/welcome/track.yaml", "tracks/welcome/01-hello.md", "defaults.yaml"
POLICY = "sales/policy.yaml"
AUDIENCE = "audience: {field: title, contains: [head]}"
GREETING = 'Hello {{ lead.first_name or "there" }},'
LINK = "[read on](https://www.example.com/guide)"

TRACK_MISTAKES = [
    ("a key misspelled", AUDIENCE, "audiance: everybody", 4, "unknown key `audiance` in the track. Did you mean `audience`?"),
    ("a tab", "  - email: 01-hello", "\t- email: 01-hello", 9, "a tab is used to indent. Indent with spaces"),
    ("a colon missing", "goal: Say hello, and see who answers", "goal Say hello", 4, "this is not YAML: could not find expected ':'"),
    ("a colon too many", "goal: Say hello, and see who answers", "goal: Hello: and see", 3, "this is not YAML: mapping values are not allowed here. Check the indentation, the colons and the quotes"),
    ("a step under the wrong key", "    after: 1 hour", "  after: 1 hour", 10, "this is not YAML"),
    ("a unit that is none", "after: 1 hour", "after: 1 hor", 10, "`1 hor` is not a delay"),
    ("a number in words", "after: 1 hour", "after: three days", 10, "`three days` is not a delay. Write for example `4 hours`"),
    ("a day misspelled", "after: 1 hour", "after: on tusday", 10, "no date is called `tusday`. Did you mean `tuesday`?"),
    ("an email that is not there", "email: 02-more\n", "email: 02-mor\n", 16, "there is no email file `02-mor.md` in tracks/welcome/. Did you mean `02-more`?"),
    ("the name of another folder", "name: welcome", "name: wellcome", 2, "the track is named `wellcome`, but its folder `welcome`. Write `name: welcome`"),
    ("a next track that is not there", "finally: keep", "finally: keeep", 18, "there is no track `keeep`"),
    ("an end in itself", "finally: keep", "finally: welcome", 18, "`finally` leads back to this track"),
    ("no end", "finally: keep\n", "", 1, "`finally` is missing in the track"),
    ("a list as audience", AUDIENCE, "audience:\n  - {field: title, contains: head}\n  - {field: country, is: DE}", 4, "this is a list of conditions. Write `{all: [...]}` if all of them must hold"),
    ("a field that does not exist", AUDIENCE, "audience: {field: leadsource, is: Web}", 4, "no field is called `leadsource`. Did you mean `lead_source`?"),
    ("typographic quotes", AUDIENCE, "audience: {field: lead_source, contains: “planning guide”}", 4, 'the typographic quotes of “planning guide” are part of the word, so nothing contains it. Write "planning guide"'),
    ("a country by its name", AUDIENCE, "audience: {field: country, is: Germany}", 4, "`country` is a code of two letters, not `Germany`. Write `DE`"),
    ("yes as a word", AUDIENCE, 'audience: {field: attended, is: "Yes"}', 4, "`attended` is yes or no, not the word `Yes`. Write `yes` or `no` without quotes"),
    ("a number as a word", AUDIENCE, "audience: {field: employees, at_least: many}", 4, "`many` is not a number"),
    ("a comparison that does not exist", AUDIENCE, "audience: {field: title, equals: head}", 4, "equals"),
    ("an operator as in a formula", AUDIENCE, 'audience: title = "head"', 4, "is not a condition"),
    ("waiting for opens", "did: clicked, email", "did: opened, email", 11, "opens are recorded only for leads that agreed to it, so this holds for few leads or none. Write `did: clicked` instead"),
    ("a deed that does not exist", "did: clicked, email", "did: click, email", 11, "Did you mean `clicked`?"),
    ("an email that was not sent yet", "email: 01-hello}", "email: 02-mor}", 11, "email `02-mor` is not sent by any step. Did you mean `02-more`?"),
    ("a wait without an end", "    up_to: 5 days\n", "", 11, "`up_to` is missing in the step `wait_for`. Write for example `up_to: 14 days`"),
    ("an arm that leads nowhere", "    then: continue\n", "    then: contine\n", 14, "contine"),
    ("a key twice", "priority: 10", "priority: 10\npriority: 20", 6, "the key `priority` occurs twice. Keep one of the two"),
    ("a priority in words", "priority: 10", "priority: high", 5, "`priority`: `high` is not a whole number"),
    ("a date as people write it", "priority: 10", "priority: 10\nends_on: 31.03.2027", 6, "ends_on"),
    ("an end before the start", "priority: 10", "priority: 10\nstarts_on: 2027-03-31\nends_on: 2027-03-01", 7, "the track ends before it starts. Write a later day"),
    ("a cap of nothing", "priority: 10", "priority: 10\ncap: {touches: 0, per: 3 days}", 6, "touches"),
    ("a goal that everybody has reached", "priority: 10", "priority: 10\nuntil: always", 6, "each lead would leave as soon as it enters"),
    ("a date that is no date", "after: 1 hour", "after: 3 days before title", 10, "`title` is of type text, and no date"),
    ("a re-entry without `after`", "re_entry: after 30 days", "re_entry: 30 days", 6, "`30 days` is not a re-entry rule. Write `never` or for example `after 90 days`"),
    ("two countries at once", AUDIENCE, "audience: {all: [{field: country, is: DE}, {field: country, is: AT}]}", 4, "no lead meets this: `country` cannot be DE and AT. Write `any:`"),
    ("a number between nothing", AUDIENCE, "audience: {all: [{field: employees, at_least: 500}, {field: employees, at_most: 100}]}", 4, "no lead meets this: `employees` cannot be at least 500 and at most 100"),
    ("a condition and its opposite", AUDIENCE, "audience: {all: [{field: country, is: DE}, {not: {field: country, is: DE}}]}", 4, "no lead meets this: one of its conditions is the opposite of another"),
    ("a country set by its name", "finally: keep", "  - set: {country: Germany}\nfinally: keep", 18, "`country` is a code of two letters, not `Germany`. Write `DE`"),
    ("a time outside the send window", "after: 1 hour", "after: 1 day at 20:00", 10, "`1 day at 20:00` is outside the send window, so the email goes only later: at 09:00 on the next day"),
    ("a day outside the send window", "after: 1 hour", "after: on sunday at 10:00", 10, "is outside the send window, so the email goes only later: at 09:00 on Monday"),
    ("thousands with a point", AUDIENCE, "audience: {field: employees, at_least: 1.000}", 4, "`1.000` is 1: no sign parts thousands. Write `1000`"),
    ("a comma in a number", AUDIENCE, "audience: {field: employees, at_least: 1,5}", 4, "`at_least: 1,5` has a comma in a number. Write `1.5`, or `15` for thousands"),
    ("a list in one text", AUDIENCE, 'audience: {field: title, contains: "head, cfo"}', 4, "`head, cfo` is one text with a comma, not a list. Write `contains: [head, cfo]`"),
    ("a wildcard", AUDIENCE, 'audience: {field: title, contains: "head*"}', 4, "the `*` of `head*` stands for itself. Write `contains: head`"),
    ("a cap without its unit", "priority: 10", "priority: 10\ncap: 2", 6, "`cap: 2` is not a cap. Write for example `cap: {touches: 2, per: 7 days}`"),
    ("a sender that is a role", "priority: 10", "priority: 10\nsender: rep", 6, "`sender: rep` is not a sender. Write `sender: owner` for the lead's rep"),
    ("yes to a re-entry", "re_entry: after 30 days", "re_entry: yes", 6, "`re_entry`: `yes` is not a text. Write for example `re_entry: after 90 days`"),
    ("a circle of tracks", "finally: keep", "finally: ring", 18, "leads move in a cycle from `ring` to `welcome` to `ring` and get the same emails again"),
]  # fmt: skip

EMAIL_MISTAKES = [
    ("no front matter", "---\nsubject: Hello\npreheader: From us\n---\n", "", 1, "the email has no front matter"),
    ("no subject", "subject: Hello\n", "", 2, "the email has no subject. Add a line `subject: ...`"),
    ("an empty subject", "subject: Hello", "subject:", 2, "the subject is empty"),
    ("a colon in a subject", "subject: Hello", "subject: Part one: the table", 2, 'Put the value in quotes: subject: "Part one: the table"'),
    ("a colon in a preheader", "preheader: From us", "preheader: Part one: the table", 3, 'Put the value in quotes: preheader: "Part one: the table"'),
    ("a key of another program", "preheader: From us", "preheader: From us\npretext: Hi", 4, "unknown key `pretext` in the front matter"),
    ("a layout that is not there", "preheader: From us", "preheader: From us\nlayout: plian", 4, "there is no layout `plian` in layouts/. Did you mean `plain`?"),
    ("a token of HubSpot", GREETING, "Hello {{ contact.firstname }},", 5, 'unknown name `contact.firstname`. Here it is {{ lead.first_name or "there" }}'),
    ("a token of Marketo", GREETING, "Hello {{lead.First Name:default=there}},", 5, 'Fields are written like this: {{ lead.first_name or "there" }}'),
    ("a token of Mautic", GREETING, "Hello {contactfield=firstname|there},", 5, '`{contactfield=firstname|there}` is a token of another program, and would be sent as it stands. Here it is {{ lead.first_name or "there" }}'),
    ("a token of Mailchimp", GREETING, "Hello *|FNAME|*,", 5, "`*|FNAME|*` is a token of another program, and would be sent as it stands"),
    ("a token of Brevo", GREETING, "Hello %FIRSTNAME%,", 5, "`%FIRSTNAME%` is a token of another program, and would be sent as it stands"),
    ("one brace instead of two", GREETING, "Hello {lead.first_name},", 5, "`{lead.first_name}` is a token of another program, and would be sent as it stands"),
    ("a placeholder in brackets", GREETING, "Hello [First Name],", 5, "`[First Name]` is a token of another program, and would be sent as it stands"),
    ("a field misspelled", GREETING, 'Hello {{ lead.first_nam or "there" }},', 5, "unknown name `lead.first_nam`. Did you mean `lead.first_name`?"),
    ("no fallback", GREETING, "Hello {{ lead.first_name }},", 5, 'the text has a gap for a lead without `first_name`: `Hello ,`. Write {{ lead.first_name or "there" }}'),
    ("a brace missing", GREETING, "Hello {{ lead.first_name },", 5, "a tag is invalid"),
    ("an `if` without an end", GREETING, "Hello{% if lead.first_name %} you,", 5, "a tag is invalid"),
    ("a filter that does not exist", GREETING, "Hello {{ lead.company | uper }},", 5, "there is no filter `uper`. Did you mean `upper`?"),
    ("a link without https", LINK, "[read on](www.example.com)", 7, "the link `www.example.com` is not allowed in an email. Begin it with https://"),
    ("a link within the site", LINK, "[read on](/guide)", 7, "the link `/guide` is not allowed in an email. Begin it with https://"),
    ("a link without an address", LINK, "[read on]()", 7, "the link `` is not allowed in an email"),
    ("HTML", LINK, '<a href="https://www.example.com">read on</a>', 7, "HTML in an email's text"),
    ("a table that is none", LINK, "| Question |\n|---|---|\n| Who | You |", 8, "the headings and the line below them do not make a table"),
    ("a row outside of its table", LINK, "| Q | A |\n|---|---|\n\n| Who | You |", 10, "this row is in no table"),
    ("a picture without a text", LINK, "![](https://www.example.com/a.png)", 7, "has no text for those who do not see it"),
    ("a picture of the own computer", LINK, "![a](C:/pictures/a.png)", 7, "the link `C:/pictures/a.png` is not allowed in an email"),
    ("a snippet that is not there", LINK, '{% include "price" %}', 7, "there is no snippet `price` in snippets/. Write the file snippets/price.md"),
    ("no text", f"{GREETING}\n\n{LINK}\n", "", 5, "the email has no text"),
    ("the subject of another email", "subject: Hello", "subject: more", 2, "it has the subject of"),
    ("a subject without end", "subject: Hello", f"subject: {'very ' * 40}long", 2, "the subject is longer than 128 characters"),
    ("typographic quotes in a tag", "subject: Hello", "subject: Hello {{ lead.first_name or “there” }}", 2, "a tag has the typographic quote “, as word processors write it. Write straight quotes"),
    ("typographic quotes around a subject", "subject: Hello", "subject: “Hello”", 2, "the typographic quotes are part of the subject. Write `subject: Hello`"),
    ("a subject like an answer", "subject: Hello", 'subject: "Re: your order"', 2, "the subject `Re: your order` looks like an answer, which this email is not"),
    ("a preheader like the subject", "preheader: From us", "preheader: hello", 3, "the preheader says what the subject says: `Hello`"),
    ("a country compared by its name", LINK, LINK + '\n{% if lead.country == "Germany" %}Hi{% endif %}', 8, "`country` is a code of two letters, not `Germany`. Write `DE`"),
    ("a yes compared as a word", LINK, LINK + '\n{% if lead.attended == "yes" %}Hi{% endif %}', 8, "`attended` is yes or no, not the word `yes`. Write `{% if lead.attended %}`"),
    ("a draft", LINK, LINK + "\n\nTODO: the price", 9, "`TODO` looks like a part of a draft, and would be sent as it stands"),
    ("a link that begins twice", LINK, "[read on](https://https://www.example.com)", 7, "is no address of a page: it begins twice. Remove the first `https://`"),
    ("a link with a space in it", LINK, "[read on](https://www.example.com/my guide)", 7, "is no link: its address has a space. Write `%20`"),
    ("a link with a space before it", LINK, "[read on] (https://www.example.com/guide)", 7, "is no link: a space parts its words from its address"),
    ("a link the wrong way round", LINK, "(read on)[https://www.example.com/guide]", 7, "is no link: its brackets are the wrong way round"),
    ("a link to the own computer", LINK, "[read on](https://localhost/guide)", 7, "`https://localhost/guide` is an address that only your own network knows"),
    ("an address that is no link", LINK, "Read https://www.example.com/guide", 7, "`https://www.example.com/guide` is no link: clicks on it are not recorded"),
    ("a mailbox without a domain", LINK, "[write](mailto:ada)", 7, "`mailto:ada` is no address of a mailbox"),
    ("a heading without a space", LINK, "##Heading", 7, "`##Heading` is no heading: a space is missing"),
    ("a list without spaces", LINK, "-one\n-two", 7, "`-one` is no list: a space is missing"),
    ("bold words without an end", LINK, "This is **bold", 7, "`**` is shown as it stands"),
    ("a number sign in a subject", "subject: Hello", "subject: We are #1 in planning", 2, 'the subject ends before `#`, which begins a comment: `We are`. Put the value in quotes: subject: "We are #1 in planning"'),
    ("a link whose bracket is open", LINK, "[read on](https://www.example.com/guide", 7, "is no link: its bracket is not closed"),
    ("a link with a comma for a dot", LINK, "[read on](https://www.example,com/guide)", 7, "`https://www.example,com/guide` is no address of a page: it has a comma for a dot"),
    ("a link with two question marks", LINK, "[read on](https://www.example.com/?a=1?b=2)", 7, "has a second `?`, so what follows is lost. Write `&`"),
    ("a link without words", LINK, "[](https://www.example.com/guide)", 7, "is a link without words: nobody sees it"),
    ("an opt-out of another page", LINK, "[Unsubscribe here](https://www.example.com/stop)", 7, "is an opt-out of another page, which nothing here knows of"),
    ("words in another encoding", LINK, "Ihre PrÃ¼fung ist fertig.", 7, "`PrÃ¼fung` was saved in another encoding"),
    ("a token of CleverReach", GREETING, "Hello ##FIRSTNAME##,", 5, "`##FIRSTNAME##` is a token of another program, and would be sent as it stands"),
    ("a fallback without quotes", GREETING, "Hello {{ lead.first_name or there }},", 5, 'unknown name `there`. Put a fallback in quotes: or "there"'),
    ("a snippet with its ending", LINK, '{% include "price.md" %}', 7, "Write the file snippets/price.md"),
    ("a yes that is none", "preheader: From us", "preheader: From us\ncall_to_action: maybe", 4, "`call_to_action: maybe` is neither yes nor no"),
]  # fmt: skip

DEFAULTS_MISTAKES = [
    ("an address of a free mail provider", "email: ada@house.example", "email: ada@gmail.com", 4, "mail from `ada@gmail.com` is refused"),
    ("an address without a domain", "email: ada@house.example", "email: ada", 4, "`ada` is not an email address"),
    ("a placeholder as address", "postal_address: 1 Harbour Lane, Exampleton", "postal_address: your address here", 5, "is not a postal address"),
    ("a sender that nobody reads", "email: ada@house.example", "email: no-reply@house.example", 4, "nobody reads `no-reply@house.example`"),
    ("hours without minutes", "between: 09:00-17:00", "between: 9-17", 8, "`9-17` is not a range of times"),
    ("hours over midnight", "between: 09:00-17:00", "between: 17:00-09:00", 8, "the send window lasts over midnight, from 17:00 until 09:00 of the next day. Write `between: 09:00-17:00`"),
    ("a time zone misspelled", "zone_fallback: UTC", "zone_fallback: Europe/Berlim", 9, "there is no time zone `Europe/Berlim`. Did you mean `Europe/Berlin`?"),
    ("a cap without a unit", "per: 7 days}", "per: 7}", 12, "`7` is not a duration"),
    ("a color without quotes", "layout: plain", "brand:\n  colors:\n    accent: #0b5cad", 15, '`accent` is empty in `colors`. Write for example `accent: "#0b5cad"`'),
    ("a color that nobody can read", "layout: plain", 'brand:\n  colors: {accent: "#ffcc00"}', 14, "`accent: #ffcc00` is hard to read"),
]  # fmt: skip


_ANA = "  - {id: ana, name: Ana, email: ana@house.example, capacity: 5}"
_LEFT = "  - {id: ben, name: Ben, email: ben@house.example, capacity: 5, left_on: 2020-01-31}"
POLICY_MISTAKES = [
    ("two reps with one address", "email: ben@house.example", "email: Ana@house.example", 23, "`ben` and `ana` have the same email `Ana@house.example`: mail, CRM owners and answers of both go to one"),
    ("two reps with one name", "name: Ben", "name: ana", 23, "`ben` and `ana` have the same name `ana`: no page tells them apart"),
    ("a capacity that never counts", _ANA, _ANA.replace("capacity: 5", "capacity: 5, max_open_leads: 4"), 22, "`capacity: 5` of `ana` never counts: `max_open_leads: 4` is less"),
    ("a pool that gets no lead", "reject_reasons:", "pools: {dach: {reps: [ana]}}\nrouting:\n  - {name: account, to: account owner}\n  - {name: rest, when: always, to: {pool: everyone}}\nreject_reasons:", 28, "the pool `dach` gets no lead: no rule of `routing` leads to it"),
    ("a rule that another hides", "  - name: nurture\n", "  - name: student-too\n    when: {field: title, contains: [student]}\n    then: enroll\n  - name: nurture\n", 11, "the rule `student-too` never applies: `student` before it has the same `when`"),
    ("a rule after one for everybody", "reject_reasons:", "routing:\n  - {name: account, to: account owner}\n  - {name: all, when: always, to: {pool: everyone}}\n  - {name: rest, when: always, to: {pool: everyone}}\nreject_reasons:", 30, "the rules after `all`, which takes every lead, never apply"),
]  # fmt: skip


def _ring() -> dict[str, str]:
    rules = sample_rules()
    track = rules[TRACK].replace("name: welcome", "name: ring").replace("finally: keep", "finally: welcome")
    emails = {
        path.replace("welcome", "ring"): text for path, text in rules.items() if path.startswith("tracks/welcome/0")
    }
    return {"tracks/ring/track.yaml": track.replace(AUDIENCE, "audience: nobody"), **emails}


@pytest.mark.parametrize(
    ("path", "old", "new", "line", "says"),
    [
        pytest.param(path, *row, id=name)
        for path, table in (
            (TRACK, TRACK_MISTAKES),
            (EMAIL, EMAIL_MISTAKES),
            (DEFAULTS, DEFAULTS_MISTAKES),
            (POLICY, POLICY_MISTAKES),
        )
        for name, *row in table
    ],
)
def test_a_mistake_is_said_with_its_line_and_what_to_write(path: str, old: str, new: str, line: int, says: str) -> None:
    rules = sample_rules()
    assert rules[path].count(old) == 1
    rules[path] = rules[path].replace(old, new)
    if "ring" in new:
        rules |= _ring()
    found = [str(one) for one in check_definitions(rules)]
    assert [one for one in found if says in one], found
    assert [
        one
        for one in found
        if says in one and (one.startswith(f"{path}:{line}: ") or "ring" in one or "subject of" in one)
    ], found


@pytest.mark.parametrize(
    "text",
    [
        "[write](mailto:{{ sender.email }})",
        '[read on](https://{{ lead.website or "www.example.com" }}/guide)',
        "**{{ lead.company or 'Your company' }}** and **others**: 2 * 3, and `**` in code",
        "- one\n- two\n\n1. one\n2. two\n\n## A heading\n\n#1 of 10 things\n\n#planning\n\n<https://www.example.com/page>",
        '{% if lead.country == "DE" %}[lesen](https://www.example.com/de "button"){% endif %}',
        "It costs 1,500 (about), see [our page](https://www.example.com/a,b?c=1&d=2) and <https://www.example.com/x,y>",
        "[unsubscribe]({{ unsubscribe_url }})\n\nHow to [unsubscribe customers](mailto:ada@house.example)",
        "[read on]\n\n[read on]: https://www.example.com/guide",
    ],
)
def test_what_an_author_means_is_no_mistake(text: str) -> None:
    rules = sample_rules()
    rules[EMAIL] = rules[EMAIL].replace(LINK, f"{LINK}\n\n{text}")
    assert [one for one in check_definitions(rules) if "is no " in str(one) or "stands" in str(one)] == []


def test_the_tables_have_all_known_mistakes() -> None:
    assert len(TRACK_MISTAKES) + len(EMAIL_MISTAKES) + len(DEFAULTS_MISTAKES) >= 46


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("tracks/welcome/notes.txt", "nothing reads the file `notes.txt`. Rename it to `notes.md`"),
        ("tracks/welcome/03-x.MD", "nothing reads the file `03-x.MD`. Rename it to `03-x.md`"),
        ("tracks/welcome/logo.png", "nothing reads the file `logo.png`. Put the picture on your web server"),
        ("tracks/welcome/list.csv", "nothing reads the file `list.csv`. Remove it, or move it out of the folder"),
        ("track/x/track.yaml", "nothing reads the folder `track`. Rename it to `tracks`"),
        ("policy.yaml", "nothing reads the file `policy.yaml`. Move it into `sales/`"),
        ("default.yaml", "nothing reads the file `default.yaml`. Did you mean `defaults.yaml`?"),
        ("sales/polcy.yaml", "nothing reads the file `polcy.yaml`. Did you mean `policy.yaml`?"),
        ("handoff/reminder.md", "nothing reads the file `reminder.md`. Did you mean `remind.md`?"),
        ("layouts/dark.md", "Only files directly in layouts/ that end with `.mjml` are read"),
        ("tracks/welcome/steps.yaml", "Only `track.yaml` and the emails (`.md`) are read here"),
        ("snippets/My price.md", "Rename the file to `my-price.md`, also in the tags that include it"),
    ],
)
def test_a_file_that_nothing_reads_is_named(path: str, says: str, tmp_path: Path) -> None:
    text = "---\nsubject: Hello\npreheader: Hi\n---\nHello.\n" if path.endswith(".md") else "a: 1\n"
    write_texts(tmp_path, {**sample_rules(), path: text})
    found = [str(one) for one in check_definitions(*scan_folder(tmp_path))]
    assert [one for one in found if says in one and path.split("/", maxsplit=1)[0] in one], found
    assert read_folder(tmp_path)  # no warning keeps the folder from being read


def test_topics_that_differ_by_a_letter_are_named() -> None:
    rules = sample_rules()
    rules[TRACK] = rules[TRACK].replace("priority:", "topic: Webinar\npriority:")
    rules["tracks/keep/track.yaml"] = rules["tracks/keep/track.yaml"].replace("priority:", "topic: Webinars\npriority:")
    assert any("the topic `Webinar` is not `Webinars`" in str(one) for one in check_definitions(rules))


def test_a_track_for_everybody_above_the_others_is_named() -> None:
    rules = sample_rules()
    rules["tracks/keep/track.yaml"] = rules["tracks/keep/track.yaml"].replace("priority: 0", "priority: 99")
    found = [str(one) for one in check_definitions(rules)]
    assert any("everybody enters `keep` first: its priority 99 is above that of `welcome`" in one for one in found)


def test_what_the_calendar_has_passed_is_named() -> None:
    rules = sample_rules()
    rules[TRACK] = rules[TRACK].replace("priority:", "ends_on: 2026-01-31\npriority:")
    ben = "  - {id: ben, name: Ben, email: ben@house.example, capacity: 5}"
    policy = rules[POLICY].replace(ben, _LEFT).replace(_ANA, _ANA.replace("capacity: 5", "capacity: 5, deputy: ben"))
    rules[POLICY] = policy.replace("owner: ana", "owner: ben").replace("on: 2026-01-01", "on: 2026-12-24")
    found = [str(one) for one in find_past_days(rules, date(2026, 2, 1))]
    assert [one.partition("warning: ")[2] for one in found] == [
        "the track `welcome` ended on 2026-01-31: it takes no lead and sends nothing. Write a later day, or remove the folder",
        "the policy was approved on 2026-12-24, which is not yet here. Write the day on which it was approved",
        "`ben` left on 2020-01-31, and is still the deputy of `ana`. Name somebody who is here",
        "`ben` left on 2020-01-31, and is still the owner of the queue `others`. Name somebody who is here",
    ]
    assert list(find_past_days(sample_rules(), date(2026, 2, 1))) == []
