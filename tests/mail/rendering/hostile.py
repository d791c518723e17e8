"""Email bodies that try to exhaust memory or CPU, or to escape the sandbox."""

from __future__ import annotations

from typing import Final

_TEN = "aaaaaaaaaa"


def _sets(start: str, step: str, times: int, output: str = "{{ x | length }}") -> str:
    return f"{{% set x = {start} %}}" + f"{{% set x = {step} %}}" * times + output


_LONG = _sets(f'"{_TEN}"', "x ~ x", 16, "")
"""A text of 655,360 characters, which is allowed."""

_MIDDLE = _sets(f'"{_TEN}"', "x ~ x", 13, "")
"""A text of 81,920 characters."""

BOMBS: Final[dict[str, str]] = {
    "a text doubled by ~": _sets(f'"{_TEN}"', "x ~ x", 26),
    "a text doubled by +": _sets(f'"{_TEN}"', "x + x", 26),
    "one ~ of a thousand texts": _MIDDLE + "{{ (" + " ~ ".join(["x"] * 90) + ") | length }}",
    "replace in replace": '{{ "aaaaaaaaaa"' + f' | replace("a", "{_TEN}")' * 8 + " | length }}",
    "replace of nothing": _LONG + f'{{{{ x | replace("", "{_TEN}") | length }}}}',
    "a long text for each letter": _MIDDLE + '{{ x | replace("a", x) | length }}',
    "join of join": (
        '{% set s = "abcdefghijklmnopqrstuvwxyzabcdef" %}'
        "{{ s | join(s) | join(s | join(s)) | join(s | join(s)) | length }}"
    ),
    "join by number": _LONG + f'{{{{ x | join("{_TEN * 90}", 0) | length }}}}',
    "a square of a square": _sets("99", "x * x", 24),
    "a sum of sums": _sets("999999999999999", "x + x", 24),
    "whole numbers from floats": "{{ 1e308 | int }}",
    "a number of a thousand digits": "{{ " + "9" * 1_000 + " }}",
    "a number of ten thousand digits": "{{ " + "9" * 10_000 + " }}",
    "a number in base 16": "{{ 0x" + "f" * 10_000 + " }}",
    "a text read as a number": _LONG.replace("a", "9") + "{{ x | int }}",
    "the same in base 16": _LONG.replace("a", "f").replace("fs", "as") + "{{ x | int(0, 16) }}",
    "the same as a fraction": _LONG.replace("a", "9") + "{{ x | float }}",
    "a text times a number in round": '{{ "aaaa" | round(9, "ceil") }}',
    "round to a million places": '{{ 1.5 | round(1000000000, "floor") }}',
    "a text times a number": '{{ "x" * 999999999 }}',
    "a list times a number": "{{ [1] * 999999999 }}",
    "a width of a format": '{{ "%999999999d" % 1 }}',
    "a width of a date": '{{ lead.due | date("%999999999d") }}',
    "a loop in a loop": "".join(f'{{% for a{n} in "0123456789" %}}' for n in range(8)) + "{% endfor %}" * 8,
    "a long loop": _LONG + "{% for a in x %}{{ a }}{% endfor %}",
    "long loops one after the other": _MIDDLE + "{% for a in x[:9000] %}{{ a }}{% endfor %}" * 20,
    "a long text in a loop": _MIDDLE + "{% for a in x[:9000] %}{{ x }}{% endfor %}",
    "the same kept for later": _MIDDLE + "{% set y %}{% for a in x[:9000] %}{{ x }}{% endfor %}{% endset %}",
    "a long search in a loop": _LONG + '{% for a in x[:9000] %}{% if x ~ "b" in x %}{% endif %}{% endfor %}',
    "a long copy in a loop": _LONG + "{% for a in x[:9000] %}{% set y = x[1:] %}{% endfor %}",
    "many filters in a loop": _MIDDLE + "{% for a in x[:9000] %}{{ x | upper | length }}{% endfor %}",
    "many tags in a loop": "{% for a in '01234567890123456789012345678901' | join('0123456789') %}"
    + "{{ 1 }}" * 990
    + "{% endfor %}",
    "a tree of lists": _sets("[1]", "[x, x]", 40),
    "a tree of dicts": _sets("{1: 1}", "{1: x, 2: x}", 40),
    "lists added": _sets("[1]", "x + x", 30),
    "letters to trim": _LONG + '{{ ("b" ~ x) | trim(x) | length }}',
    "lines joined": _LONG.replace(_TEN, "a\\n" * 5) + f'{{{{ x | one_line("{_TEN * 90}") | length }}}}',
    "a text that is escaped": _LONG.replace(_TEN, "<<<<<<<<<<") + "{{ x | escape | length }}",
    "a text for a link": _LONG.replace(_TEN, "\U0001f600" * 10) + "{{ x | urlencode | length }}",
    "words in title case": _LONG.replace(_TEN, "a b c d e ") + "{{ x | title | length }}",
    "brackets in brackets": "{{ " + "(" * 5_000 + "1" + ")" * 5_000 + " }}",
    "a sum of thousands": "{{ " + " + ".join(["1"] * 5_000) + " }}",
    "one ~ of forty thousand numbers": "{{ " + "1~" * 40_000 + "1 }}",
    "a comparison of twenty thousand": "{{ " + "1 < " * 20_000 + "1 }}",
    "a list of forty-nine thousand": "{{ [" + "1," * 49_000 + "] | length }}",
    "a dict of twenty thousand": "{{ {" + "1:1," * 20_000 + "} | length }}",
    "twenty thousand names at once": "{% set " + "a, " * 20_000 + "b = [1] %}",
    "thirty thousand texts in a row": "{{ " + '"a"' * 30_000 + "}}",
    "filter after filter": '{{ "a"' + " | upper" * 5_000 + " }}",
    "no after no": "{% if " + "not " * 5_000 + "1 %}{% endif %}",
    "if in if": "{% if 1 %}" * 300 + "x" + "{% endif %}" * 300,
    "ten thousand tags": "{{ 1 }}" * 10_000,
    "a megabyte of text": "word " * 200_000,
    "brackets of links": "[" * 50_000,
    "stars": "*a " * 33_000,
    "quotes in quotes": ">" * 50_000 + " a",
    "lists in lists": "\n".join(f"{' ' * 2 * n}- a" for n in range(300)),
    "backticks": " ".join("`" * n for n in range(500)),
}
"""Each must be refused or rendered within 2 s of CPU time and 512 MB."""

ESCAPES: Final[tuple[str, ...]] = (
    "{{ ''.__class__ }}",
    "{{ ''['__class__'] }}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ lead.__class__ }}",
    "{{ lead['__init__'] }}",
    "{{ self }}",
    "{{ self._TemplateReference__context }}",
    "{{ self.__init__.__globals__ }}",
    "{{ cycler.__init__.__globals__.os }}",
    "{{ joiner }}",
    "{{ namespace }}",
    "{{ lipsum.__globals__['os'] }}",
    "{{ range }}",
    "{{ dict }}",
    "{{ config }}",
    "{{ request }}",
    "{{ loop }}",
    "{% for a in '1' %}{{ loop.__init__ }}{% endfor %}",
    "{% for a in '1' %}{{ loop._iterator }}{% endfor %}",
    "{{ lead.first_name.format }}",
    "{{ lead.first_name.format_map }}",
    "{{ '%s' % lead }}",
    "{{ '{0.__class__}'.format(1) }}",
    "{{ ''.join(['a']) }}",
    "{{ lead | attr('__class__') }}",
    "{{ lead | map(attribute='__class__') | list }}",
    "{{ [''] | join('', '__class__') }}",
    "{{ '' | safe }}",
    "{{ lead | tojson }}",
    "{{ lead | pprint }}",
    "{{ _tracked_links.tracking }}",
    "{% set _tracked_links = 1 %}",
    "{% include '/etc/passwd' %}",
    "{% import 'os' as os %}",
    "{% from 'os' import path %}",
    "{% extends 'plain' %}",
    "{% macro a() %}{% endmacro %}",
    "{% call a() %}{% endcall %}",
    "{% block a %}{% endblock %}",
    "{% filter upper %}a{% endfilter %}",
    "{% autoescape false %}{{ lead.company }}{% endautoescape %}",
    "{{ 2 ** 2 }}",
    "{{ 1 is sameas 1 }}",
    "{{ 1 is filter }}",
    "{% debug %}",
    "{% do 1 %}",
    "{{ lead() }}",
)
"""Each must be refused: none may print or call an object, or read a file."""
