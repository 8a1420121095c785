"""Requests made from the interface's own schema: none of them may end in an error of the server."""

import os

import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error

from pbrl.queries.human import invite
from pbrl.queries.human.studies import set_state

# For each operation; more on demand.
NUM_EXAMPLES = int(os.environ.get("PBRL_FUZZ_EXAMPLES", "12"))
HOST = {"Host": "127.0.0.1:8000"}
KINDS = ("pair", "ranking")


@pytest.mark.parametrize("kind", KINDS)
def test_no_request_is_an_error_of_the_server(make_site, kind):
    site = make_site(kind=kind)
    schema = schemathesis.openapi.from_asgi("/api/openapi.json", site.app, headers=HOST)
    schema.config.generation.update(modes=[GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
    statuses = set()

    for operation in schema.get_all_operations():
        fuzz(operation.ok(), site, statuses)
    assert statuses >= {200, 401, 403, 404, 422}
    assert max(statuses) < 500


def fuzz(operation, site, statuses):
    """Send requests of one operation, as nobody, as an annotator, a program and the owner."""
    people = [None, *(site.tokens["hop", name] for name in ("ada", "owner"))]

    @hypothesis.given(
        case=operation.as_strategy(), token=hypothesis.strategies.sampled_from(people)
    )
    @hypothesis.settings(
        max_examples=NUM_EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    def send(case, token):
        bearer = {} if token is None else {"Authorization": f"Bearer {token}"}
        response = case.call(headers=HOST | bearer)
        statuses.add(response.status_code)
        case.validate_response(response, checks=[not_a_server_error])
        assert b"Traceback" not in response.content
        if "state" in operation.path:
            with site.database.writing() as connection:
                set_state(connection, site.study.id, "open")
        if "revoke" in operation.path or "renew" in operation.path:
            revive(site)

    send()


def revive(site):
    """Give everybody who was revoked or renewed a new token."""
    for name in ("ada", "owner"):
        if site.program(name).get("/api/study").status_code == 401:
            with site.database.writing() as connection:
                role = "owner" if name == "owner" else "annotator"
                number = len(site.tokens)
                token = invite(connection, site.study.id, f"{name} {number}", role)[1]
            site.tokens["hop", name] = token
