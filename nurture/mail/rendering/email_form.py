"""Cut an email into the texts that all its recipients share and the values of each, once per template version."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from jinja2 import Environment, Template, TemplateError, nodes

from nurture.mail.rendering.compile import CompiledEmail
from nurture.mail.rendering.link_rules import UnsafeLink

RENDERING_ERRORS: Final = (TemplateError, UnsafeLink, TypeError, ValueError, AttributeError, ArithmeticError)
"""What rendering raises for values that a template cannot show."""

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
    """*texts* with a value of *own* between any two of them: the one whose index is in *order*."""

    texts: Sequence[str]
    own: Template
    order: Sequence[int]

    def find_values(self, values: dict[str, Any]) -> list[str]:
        """Return the values of one recipient, as the body shows them."""
        return _render_parts(self.own, values) if self.order else []

    def fill(self, values: Sequence[str]) -> str:
        """Return the body with *values*, or with tags in their place."""
        parts = [""] * (len(self.texts) + len(self.order))
        parts[::2], parts[1::2] = self.texts, [values[index] for index in self.order]
        return "".join(parts)  # adding to a value would escape the text


@dataclass(frozen=True, slots=True, eq=False)
class EmailForm:
    """What emails of one template have in common."""

    subject: BodyForm
    html: BodyForm
    text: BodyForm


def make_form(compiled: CompiledEmail, values: Mapping[str, object], shared_names: Collection[str]) -> EmailForm | None:
    """Return the form of emails with the same *values* of *shared_names*; None for an email that sets variables.

    Raises an error of RENDERING_ERRORS if what they share cannot be rendered.
    """
    templates = (compiled.subject, compiled.html, compiled.text)
    cut = [_cut(*one, frozenset(shared_names)) for one in zip(templates, compiled.sources, strict=True)]
    subject, html, text = (_write(one, values) for one in cut)
    if subject is None or html is None or text is None:
        return None
    texts = [text.texts[0].lstrip(), *text.texts[1:]]
    texts[-1] = texts[-1].rstrip()
    return EmailForm(subject, html, BodyForm(texts, text.own, text.order))


def _write(cut: _CutTemplate | None, values: Mapping[str, object]) -> BodyForm | None:
    if cut is None:
        return None
    texts = [str(part) for part in _render_parts(cut.shared, dict(values))]
    return BodyForm(texts, cut.own, cut.order)


def _render_parts(template: Template, values: dict[str, Any]) -> list[str]:
    """Return what each output of *template* writes. `Template.new_context` would copy the values."""
    environment: Environment = template.environment
    return list(template.root_render_func(environment.context_class(environment, values, None, {})))


@lru_cache(maxsize=256)
def _cut(template: Template, source: str, shared_names: frozenset[str]) -> _CutTemplate | None:
    """Cut *template* at each tag that depends on more than *shared_names*; None if it sets variables."""
    environment: Environment = template.environment
    tree = environment.parse(source)
    if any(True for _ in tree.find_all((nodes.Assign, nodes.AssignBlock))):
        return None
    shared: list[list[nodes.Node]] = [[]]
    own: dict[str, nodes.Node] = {}
    order: list[str] = []
    for node in _split_output(tree):
        if _is_shared(node, shared_names):
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


def _is_shared(node: nodes.Node, shared_names: frozenset[str]) -> bool:
    """Return whether all leads get the same; a filter over a block numbers the links of one lead."""
    names = {one.name for one in node.find_all(nodes.Name)}
    return names <= shared_names and not isinstance(node, nodes.FilterBlock) and node.find(nodes.FilterBlock) is None


def _one_part(body: list[nodes.Node]) -> nodes.Node:
    return nodes.FilterBlock(body, nodes.Filter(None, _NO_CHANGE, [], [], None, None, lineno=1), lineno=1)
