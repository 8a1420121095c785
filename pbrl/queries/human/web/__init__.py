"""The web application in which people label."""

from pbrl.queries.human.web.app import create_app
from pbrl.queries.human.web.settings import WebSettings

__all__ = ["WebSettings", "create_app"]
