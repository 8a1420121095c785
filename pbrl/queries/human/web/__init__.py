"""The web application in which people label; `pbrl.queries.human.web.app` makes it."""
