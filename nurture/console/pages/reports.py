"""The word Reports in the navigation: it shows the first report."""

from typing import Final

from nurture.console.page import Page
from nurture.console.pages import report

PAGE: Final = Page("/reports", "Reports", report.PAGE.roles, report.PAGE.load, report.PAGE.render, "Reports", 50)
