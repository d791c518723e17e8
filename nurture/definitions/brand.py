"""Read the brand of defaults.yaml, check that its colors can be read, and write it into the layouts."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Annotated, Any, Final

from pydantic import Field, PlainValidator

from nurture.definitions.schema_check import InvalidValue, Shape, read_part, read_shape
from nurture.definitions.values import Line, Name
from nurture.definitions.yaml_reader import Node, ParseContext
from nurture.errors import suggest

MIN_CONTRAST: Final = 4.5
"""Contrast of text of normal size: WCAG 2.2, success criterion 1.4.3."""

SHEET: Final = "#ffffff"
DARK_SHEET: Final = "#1a222b"
_LIGHT_TEXT, _DARK_TEXT = "#ffffff", "#1f2933"
_MUTED: Final = "#52667a"
_SYSTEM_FONTS: Final = "-apple-system, BlinkMacSystemFont, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif"
_COLOR: Final = re.compile(r"#[0-9a-f]{6}")
_FONTS: Final = re.compile(r"[A-Za-z0-9 '-]+(?:, *[A-Za-z0-9 '-]+)*")
_MAX_LOGO_WIDTH: Final = 520
_REFERENCE: Final = re.compile(r"\{\{-?\s*brand\.(\w+)\s*-?\}\}")
_LOGO_CONDITION: Final = re.compile(
    r"\{%-?\s*if brand\.logo\s*-?%\}((?:(?!\{%).)*)(?:\{%-?\s*else\s*-?%\}((?:(?!\{%).)*))?\{%-?\s*endif\s*-?%\}",
    re.DOTALL,
)


def read_color(given: Any) -> str:
    """Read "#0b5cad"."""
    text = str(given).strip().lower()
    if re.fullmatch(r"#[0-9a-f]{3}", text):
        text = "#" + "".join(2 * digit for digit in text[1:])
    if not isinstance(given, str) or not _COLOR.fullmatch(text):
        raise InvalidValue(f"`{given}` is not a color", 'Write six digits in quotes, for example `"#0b5cad"`.')
    return text


def _read_link(given: Any) -> str:
    if not isinstance(given, str) or not re.fullmatch(r"https://[^\s\"'<>{}]+", given):
        raise InvalidValue(
            f"`{given}` is not the web address of an image", "Write for example `https://www.example.com/logo.png`."
        )
    return given


def _read_fonts(given: Any) -> str:
    if not isinstance(given, str) or not _FONTS.fullmatch(given):
        raise InvalidValue(f"`{given}` is not a font", "Write for example `Georgia` or `Verdana, Geneva`.")
    return given


Color = Annotated[str, PlainValidator(read_color)]


class LogoShape(Shape):
    """The keys under `logo:`."""

    url: Annotated[str, PlainValidator(_read_link)] = Field(examples=["https://www.example.com/logo.png"])
    alt: Line = Field(examples=["Larkfield"])
    width: int = Field(default=140, ge=16, le=_MAX_LOGO_WIDTH, examples=["140"])


class ColorsShape(Shape):
    """The keys under `colors:`."""

    accent: Color = Field(default="#0b5cad", examples=['"#0b5cad"'])
    text: Color = Field(default=_DARK_TEXT, examples=['"#1f2933"'])
    heading: Color = Field(default="#102a43", examples=['"#102a43"'])
    background: Color = Field(default="#f0f2f5", examples=['"#f0f2f5"'])


class BrandShape(Shape):
    """The keys under `brand:`."""

    logo: Any = Field(None, examples=["{url: https://www.example.com/logo.png, alt: Larkfield}"])
    colors: Any = Field(None, examples=['{accent: "#0b5cad"}'])
    font: Annotated[str, PlainValidator(_read_fonts)] = Field("", examples=["Georgia"])
    signature: Name | None = Field(None, examples=["signature"])


@dataclass(frozen=True, slots=True)
class Brand:
    """What layouts may use as `{{ brand.NAME }}`, and the snippet that ends each email of a track."""

    values: Mapping[str, str] = field(default_factory=lambda: _values(ColorsShape(), None, ""))
    signature: str = ""

    def apply(self, layout: str) -> str:
        """Return the MJML *layout* with the values of the brand; it keeps its lines."""

        def choose(condition: re.Match[str]) -> str:
            chosen = (condition[1] if self.values["logo"] else condition[2]) or ""
            return chosen + "\n" * (condition[0].count("\n") - chosen.count("\n"))

        return _REFERENCE.sub(lambda name: self.values.get(name[1], name[0]), _LOGO_CONDITION.sub(choose, layout))


def read_brand(node: Node | None, snippets: Mapping[str, object], context: ParseContext) -> Brand:
    """Read `brand:`; colors that are hard to read are reported, with the nearest that is not."""
    shape = read_shape(BrandShape, node, context, "`brand`")
    if node is None or shape is None:
        return Brand()
    logo = read_part(LogoShape, node, "logo", context)
    colors = read_part(ColorsShape, node, "colors", context) or ColorsShape()
    if "colors" in node.parts and context.complete:
        _check_contrast(node.parts["colors"], colors, context)
    signature = shape.signature or ""
    if signature and signature not in snippets:
        instead = suggest(signature, snippets, f"Write the file snippets/{signature}.md.")
        if context.complete:  # of a published policy, no email has it
            what = f"there is no snippet `{signature}` in snippets/"
            context.add_problem(node.parts["signature"], what, instead)
        signature = ""
    return Brand(_values(colors, logo, shape.font), signature)


def check_brand_names(file: str, layout: str, brand: Brand, context: ParseContext) -> None:
    """Report what the *layout* takes from the brand, and the brand does not have."""
    for name in _REFERENCE.finditer(layout):
        if name[1] not in brand.values:
            line = layout.count("\n", 0, name.start()) + 1
            instead = suggest(name[1], brand.values, f"It has: {', '.join(brand.values)}.")
            context.add_problem(Node(file, line, None), f"the brand has no `{name[1]}`", instead)


def _values(colors: ColorsShape, logo: LogoShape | None, font: str) -> dict[str, str]:
    return {
        **colors.model_dump(),
        "on_accent": max(_LIGHT_TEXT, _DARK_TEXT, key=lambda text: contrast(text, colors.accent)),
        "accent_dark": readable(colors.accent, DARK_SHEET),
        "muted": readable(_MUTED, colors.background),
        "font": f"{font}, {_SYSTEM_FONTS}" if font else _SYSTEM_FONTS,
        "logo": escape(logo.url) if logo else "",
        "logo_alt": escape(logo.alt) if logo else "",
        "logo_width": str(logo.width) if logo else "",
    }


def _check_contrast(node: Node, colors: ColorsShape, context: ParseContext) -> None:
    for name, purpose in (("accent", "links"), ("text", "text"), ("heading", "headings")):
        color = getattr(colors, name)
        found = contrast(color, SHEET)
        if found < MIN_CONTRAST:
            what = f"`{name}: {color}` is hard to read: {purpose} on white have a contrast of {found:.1f}, and need 4.5"
            instead = f'Write `{name}: "{readable(color, SHEET)}"`, the nearest color that has it.'
            context.add_problem(node.part(name) or node, what, instead)


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colors, 1 to 21, as WCAG 2.2 defines it."""
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def readable(color: str, on: str) -> str:
    """Return the color nearest to *color*, toward black or white, that has MIN_CONTRAST on the color *on*."""
    target = 0 if contrast("#000000", on) > contrast("#ffffff", on) else 255
    for share in range(101):
        parts = [round(part + (target - part) * share / 100) for part in _parts(color)]
        mixed = "#" + "".join(f"{part:02x}" for part in parts)
        if contrast(mixed, on) >= MIN_CONTRAST:
            return mixed
    return "#ffffff" if target else "#000000"


def _parts(color: str) -> tuple[int, int, int]:
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)


def _luminance(color: str) -> float:
    shares = [part / 255 for part in _parts(color)]
    red, green, blue = (one / 12.92 if one <= 0.03928 else ((one + 0.055) / 1.055) ** 2.4 for one in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
