"""What strangers write can neither steer a terminal nor turn text around."""

from nurture.domain.plain_text import plain


def test_only_what_shows_and_lines_and_tabs_stay() -> None:
    assert plain("Zoë\t🎉\r\nx\x1b[31m\x00\x9b\u202e!\u2066") == "Zoë\t🎉 \nx [31m   ! "
    assert plain("[/red] שלום") == "[/red] שלום"
