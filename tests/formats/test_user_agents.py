from __future__ import annotations

import pytest
from crawleruseragents import CRAWLER_USER_AGENTS_DATA

from nurture.domain.scoring.click_filtering import AgentType
from nurture.formats.user_agents import classify_user_agent


@pytest.mark.parametrize(
    ("user_agent", "agent_type"),
    [
        (None, AgentType.UNKNOWN),
        ("", AgentType.MISSING),
        ("  ", AgentType.MISSING),
        ("Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0", AgentType.BROWSER),
        ("Mozilla/5.0 (Macintosh) AppleWebKit/605.1.15 Version/18.1 Safari/605.1.15", AgentType.BROWSER),
        ("Mozilla/5.0", AgentType.PROXY),
        ("Mozilla/5.0 (Windows NT 5.1) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)", AgentType.PROXY),
        ("YahooMailProxy; https://help.yahoo.com", AgentType.PROXY),
        ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", AgentType.SCANNER),
        ("Mozilla/4.0 (compatible; ms-office; MSOffice 16)", AgentType.SCANNER),
        ("Microsoft Office Existence Discovery", AgentType.SCANNER),
        ("BarracudaCentral Link Checker", AgentType.SCANNER),
        ("Mozilla/5.0 (X11; Linux) AppleWebKit/537.36 HeadlessChrome/126.0 Safari/537.36", AgentType.SCANNER),
        ("curl/8.5.0", AgentType.SCANNER),
        ("python-requests/2.32", AgentType.SCANNER),
        ("Something/1.0", AgentType.SCANNER),
    ],
)  # fmt: skip
def test_a_user_agent_is_classified(user_agent: str | None, agent_type: AgentType) -> None:
    assert classify_user_agent(user_agent) is agent_type


@pytest.mark.parametrize(
    "app",
    [
        "", "Edg/126.0.0.0", "OPR/111.0.0.0", "GSA/323.0.647062479", "CriOS/126.0.6478.54", "SamsungBrowser/25.0",
        "Instagram 336.0.8.31.101 (iPhone14,5; iOS 17_5; en_US)", "[FBAN/FBIOS;FBAV/467.0.0.38.107]",
        "[LinkedInApp]/9.29.8962", "Twitter for iPhone/10.44", "MicroMessenger/8.0.38", "DuckDuckGo/7",
        "Outlook-iOS/4.2422.0", "Teams/1.6.00.4472 Electron/19.1.8", "Slack/4.38.125", "PKeyAuth/1.0",
        "Thunderbird/115.12.2", "YaBrowser/24.6", "Silk/108",
    ],
)  # fmt: skip
def test_a_browser_in_an_app_is_a_browser(app: str) -> None:
    engine = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)"
    assert classify_user_agent(f"{engine} Mobile/15E148 {app}".strip()) is AgentType.BROWSER


def test_every_known_crawler_is_a_scanner() -> None:
    agents = [agent for crawler in CRAWLER_USER_AGENTS_DATA for agent in crawler["instances"]]
    classified = {classify_user_agent(agent) for agent in agents}
    assert len(agents) > 1_000
    assert classified == {AgentType.SCANNER, AgentType.PROXY}
