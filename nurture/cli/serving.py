"""Serve the pages of an app: for `nurture admin serve` and `nurture practice serve`."""

from nurture.app import App
from nurture.cli.output import print_result
from nurture.mail.providers.registry import open_webhooks
from nurture.web.app import create_app
from nurture.web.background import alert_in_background, run_in_background
from nurture.web.server import serve as serve_pages
from nurture.web.site import Watching


def serve_app(app: App, host: str | None = None, port: int | None = None, *, json: bool) -> None:
    """Serve the pages of *app* until SIGINT or SIGTERM."""
    where = host or app.settings.web_host
    wanted = app.settings.web_port if port is None else port

    def print_url(bound_port: int) -> None:
        url = f"http://{f'[{where}]' if ':' in where else where}:{bound_port}"
        print_result({"url": url}, f"Listening on {url}. Ctrl-C stops.", json=json)

    web_app = create_app(app.ctx, app.clock, webhooks=open_webhooks(app.settings), watching=Watching.of(app.settings))
    with run_in_background(app.ctx, app.clock), alert_in_background(app.ctx, app.clock, app.settings):
        serve_pages(web_app, where, wanted, trusted=app.settings.proxies, on_listening=print_url)
