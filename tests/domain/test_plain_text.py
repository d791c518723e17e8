"""What strangers write can neither steer a terminal nor turn text around."""

from nurture.domain.plain_text import replace_control_characters


def test_only_what_shows_and_lines_and_tabs_stay() -> None:
    assert replace_control_characters("Zoë\t🎉\r\nx\x1b[31m\x00\x9b\u202e!\u2066") == "Zoë\t🎉 \nx [31m   ! "
    assert replace_control_characters("[/red] שלום") == "[/red] שלום"
