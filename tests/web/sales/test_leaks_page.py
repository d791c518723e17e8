"""The page of the leak report: names nobody unless asked, escapes what files hold, fits a phone, in light and dark."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from nurture.web.sales.leaks_page import render_leaks_page
from tests.reporting.leaks.builders import FILES, make_report
from tests.web.browser import IS_FAINT

EXPORTS = FILES / "hubspot-contacts.csv", FILES / "hubspot-deals.csv"
_PEOPLE = re.compile(r"[\w.]+@[\w.]+\.example|Souza|Okafor|Martin|Kovacs|Ricci|Dahl")
_FAINT = f"""() => {{ {IS_FAINT}
    const read = "h1, h2, p, th, td, li, strong, code";
    return [...document.querySelectorAll(read)].filter(isFaint).map(one => one.outerHTML);
}}"""


def test_the_page_names_leads_only_in_lists_that_were_asked_for() -> None:
    assert _PEOPLE.findall(render_leaks_page(make_report(*EXPORTS))) == []
    assert "eva@kovacs.example" in render_leaks_page(make_report(*EXPORTS, lists=["leaked"]))


def test_the_page_loads_nothing_and_escapes_what_a_file_holds(tmp_path: Path) -> None:
    file = tmp_path / "leads.csv"
    file.write_text('Email,Last Name,Lead Owner\na@a.example,<b>Lima</b>,"<script>x</script>"\n', "utf-8")
    page = render_leaks_page(make_report(file, lists=["not-known"]))
    assert not re.search(r"<script|<link|<b>|(?:src|href)=", page)
    assert "&lt;script&gt;" in page


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_fits_and_can_be_read(browser: Browser, width: int, scheme: str) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
    page.set_content(render_leaks_page(make_report(*EXPORTS, lists=["never-touched", "won-deals"])))
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert page.evaluate(_FAINT) == []
    assert page.evaluate("[...document.querySelectorAll('h1, h2')].map(one => one.tagName).join('')").startswith("H1H2")
    assert page.evaluate("document.querySelectorAll('th:not([scope])').length") == 0
    page.close()
