"""Text from outside can neither control a terminal nor reverse its direction."""

from nurture.domain.plain_text import replace_control_characters


def test_only_visible_characters_line_breaks_and_tabs_stay() -> None:
    assert replace_control_characters("Zoë\t🎉\r\nx\x1b[31m\x00\x9b\u202e!\u2066") == "Zoë\t🎉 \nx [31m   ! "
    assert replace_control_characters("[/red] שלום") == "[/red] שלום"
