"""Cut an email into the texts that all its recipients share and the values of each, once per template version."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Final

from jinja2 import Environment, Template, TemplateError, nodes
from markupsafe import escape

from nurture.mail.rendering.compile import CompiledEmail
from nurture.mail.rendering.link_rules import UnsafeLink
from nurture.mail.rendering.template_bounds import MeteredContext

RENDERING_ERRORS: Final = (TemplateError, UnsafeLink, TypeError, ValueError, AttributeError, ArithmeticError)
"""What rendering raises for values that a template cannot show."""

_SAFE_LINK: Final = "safe_link"
"""The filter of a block that changes nothing in a link, but refuses some."""

_NO_CHANGE: Final = "default"
"""A filter that returns a text as it is. A block with a filter is written as one part, whatever is in it."""


@dataclass(frozen=True, slots=True, eq=False)
class _CutTemplate:
    """*shared* writes the texts around the values, *own* each value once; *order* has the value after each text."""

    shared: Template
    own: Template
    order: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class BodyForm:
    """*texts* with a value between any two of them: the one whose index is in *order*.

    The values are those that *own* renders, if it is given, and then those called *plain*, as they are.
    """

    texts: Sequence[str]
    own: Template | None
    order: Sequence[int]
    plain: Sequence[str] = ()
    _parts: list[str] = field(init=False)
    """The texts, each but the last followed by the place of a value."""
    _length: int = field(init=False)
    _context: MeteredContext | None = field(init=False)
    """The context of *own* for one recipient after the other, in one thread: making one takes longer than rendering."""

    def __post_init__(self) -> None:
        parts = [""] * (len(self.texts) + len(self.order))
        parts[::2] = self.texts
        object.__setattr__(self, "_parts", parts)
        object.__setattr__(self, "_length", sum(map(len, parts)))
        object.__setattr__(self, "_context", None if self.own is None else _make_context(self.own, {}))

    def find_values(self, values: dict[str, Any]) -> list[str]:
        """Return the values of one recipient, as the body shows them."""
        rendered: list[str] = []
        if self.own is not None and self._context is not None:
            self._context.parent, self._context.cost, self._context.iterations = values, 0, 0
            rendered = list(self.own.root_render_func(self._context))
        return [*rendered, *[values[name] for name in self.plain]]

    def length(self, values: Sequence[str]) -> int:
        """Return the number of characters of the body with *values*."""
        lengths = list(map(len, values))
        return self._length + sum([lengths[index] for index in self.order])

    def fill(self, values: Sequence[str]) -> str:
        """Return the body with *values*, or with tags in their place."""
        parts = self._parts.copy()
        parts[1::2] = [values[index] for index in self.order]
        return "".join(parts)  # adding to a value would escape the text


@dataclass(frozen=True, slots=True, eq=False)
class EmailForm:
    """What emails of one template have in common."""

    subject: BodyForm
    html: BodyForm
    text: BodyForm


def make_form(
    compiled: CompiledEmail,
    values: Mapping[str, object],
    shared_names: Collection[str],
    samples: Mapping[str, str] | None = None,
) -> EmailForm | None:
    """Return the form of emails with the same *values* of *shared_names*; None for an email that sets variables.

    *samples* are values that each email has of its own, which no body escapes: a body shows these texts nowhere else.
    Where it shows one unchanged, no template is rendered for it. Raises an error of RENDERING_ERRORS if what they
    share cannot be rendered.
    """
    plain = {name: value for name, value in (samples or {}).items() if value and escape(value) == value}
    templates = (compiled.subject, compiled.html, compiled.text)
    shared, plain_names = frozenset(shared_names), frozenset(plain)
    cut = [_cut(*one, shared, plain_names) for one in zip(templates, compiled.sources, strict=True)]
    subject, html, text = (_write(one, {**values, **plain}, plain) for one in cut)
    if subject is None or html is None or text is None:
        return None
    texts = [text.texts[0].lstrip(), *text.texts[1:]]
    texts[-1] = texts[-1].rstrip()
    return EmailForm(subject, html, replace(text, texts=texts))


def _write(cut: _CutTemplate | None, values: Mapping[str, object], plain: Mapping[str, str]) -> BodyForm | None:
    if cut is None:
        return None
    names = {sample: name for name, sample in plain.items()}
    pattern = re.compile("|".join(map(re.escape, names)) or r"(?!)")
    texts: list[str] = []
    order: list[int] = []
    used: list[str] = []
    first_plain = len(set(cut.order))
    for number, part in enumerate(_render_parts(cut.shared, dict(values))):
        if number:
            order.append(cut.order[number - 1])
        text, start = str(part), 0
        for found in pattern.finditer(text):
            name = names[found[0]]
            used += [] if name in used else [name]
            texts.append(text[start : found.start()])
            order.append(first_plain + used.index(name))
            start = found.end()
        texts.append(text[start:])
    return BodyForm(texts, cut.own if cut.order else None, order, used)


def _render_parts(template: Template, values: dict[str, Any]) -> list[str]:
    """Return what each output of *template* writes."""
    return list(template.root_render_func(_make_context(template, values)))


def _make_context(template: Template, values: dict[str, Any]) -> MeteredContext:
    """Return a context with *values*. `Template.new_context` would copy them."""
    environment: Environment = template.environment
    return MeteredContext(environment, values, None, {})


@lru_cache(maxsize=256)
def _cut(
    template: Template, source: str, shared_names: frozenset[str], plain_names: frozenset[str]
) -> _CutTemplate | None:
    """Cut *template* at each tag that needs more than *shared_names* or changes one of *plain_names*.

    Returns None if it sets variables.
    """
    environment: Environment = template.environment
    tree = environment.parse(source)
    if any(True for _ in tree.find_all((nodes.Assign, nodes.AssignBlock))):
        return None
    shared: list[list[nodes.Node]] = [[]]
    own: dict[str, nodes.Node] = {}
    order: list[str] = []
    for node in _split_output(tree):
        if _is_shared(node, shared_names, plain_names):
            shared[-1].append(node)
        else:
            shared.append([])
            order.append(repr(node))
            own[repr(node)] = node if isinstance(node, nodes.Output) else _one_part([node])
    keys = list(own)
    return _CutTemplate(
        environment.from_string(nodes.Template([_one_part(one) for one in shared], lineno=1)),
        environment.from_string(nodes.Template(list(own.values()), lineno=1)),
        tuple(keys.index(one) for one in order),
    )


def _split_output(tree: nodes.Template) -> Iterator[nodes.Node]:
    """Yield the top-level statements, and each text and expression as one of its own."""
    for node in tree.body:
        if isinstance(node, nodes.Output):
            yield from (nodes.Output([one], lineno=one.lineno) for one in node.nodes)
        else:
            yield node


def _is_shared(node: nodes.Node, shared_names: frozenset[str], plain_names: frozenset[str]) -> bool:
    """Return whether all leads get the same, but for plain values; other filters over blocks number links of a lead."""
    blocks = [node] if isinstance(node, nodes.FilterBlock) else list(node.find_all(nodes.FilterBlock))
    if any(one.filter.name != _SAFE_LINK for one in blocks):
        return False
    return _names(node) <= shared_names | plain_names and _shows_unchanged(node, plain_names)


def _shows_unchanged(node: nodes.Node, names: frozenset[str]) -> bool:
    """Return whether *node* does nothing with *names* but print them and ask whether they are there."""
    if not _names(node) & names or isinstance(node, nodes.Name):
        return True
    passes_on = isinstance(node, nodes.Output | nodes.FilterBlock | nodes.If)
    return passes_on and all(_shows_unchanged(one, names) for one in node.iter_child_nodes())


def _names(node: nodes.Node) -> frozenset[str]:
    found = node.find_all(nodes.Name)
    return frozenset(one.name for one in found) | ({node.name} if isinstance(node, nodes.Name) else set())


def _one_part(body: list[nodes.Node]) -> nodes.Node:
    return nodes.FilterBlock(body, nodes.Filter(None, _NO_CHANGE, [], [], None, None, lineno=1), lineno=1)
