import pytest
from sqlalchemy import select

from pbrl.queries.human import invite, tables
from pbrl.queries.human.errors import Conflict, NotFound
from pbrl.queries.human.people import find_by_token, list_people, renew_token, revoke


def test_a_token_opens_one_study_and_is_kept_nowhere(bench):
    with bench.database.writing() as connection:
        ada, token = invite(connection, bench.study.id, "ada")
    with bench.database.reading() as connection:
        assert find_by_token(connection, token) == ada
        assert ada.study_id == bench.study.id
        for table in tables.metadata.sorted_tables:
            for row in connection.execute(select(table)).all():
                assert not any(token in str(cell) for cell in row)
    assert len(token) >= 43  # 256 bits


def test_tokens_differ(bench):
    with bench.database.writing() as connection:
        tokens = {invite(connection, bench.study.id, f"p{number}")[1] for number in range(5)}
    assert len(tokens) == 5


def test_a_revoked_token_is_nobodys(bench):
    with bench.database.writing() as connection:
        ada, token = invite(connection, bench.study.id, "ada")
        revoke(connection, bench.study.id, ada.id)
    with bench.database.reading() as connection, pytest.raises(NotFound):
        find_by_token(connection, token)
    with bench.database.reading() as connection:
        assert list_people(connection, bench.study.id)[0].is_revoked


def test_a_new_token_replaces_the_old_one(bench):
    with bench.database.writing() as connection:
        ada, old = invite(connection, bench.study.id, "ada")
        renewed, new = renew_token(connection, bench.study.id, ada.id)
    with bench.database.reading() as connection:
        assert find_by_token(connection, new) == renewed
        assert renewed.fingerprint != ada.fingerprint
        with pytest.raises(NotFound):
            find_by_token(connection, old)
        with pytest.raises(NotFound):
            renew_token(connection, bench.study.id + 1, ada.id)


def test_another_studys_people_are_not_revoked(make_bench, database):
    bench = make_bench()
    ada = bench.invite("ada")
    with pytest.raises(NotFound), database.writing() as connection:
        revoke(connection, bench.study.id + 1, ada.id)


def test_a_name_is_taken_once(bench):
    bench.invite("ada")
    with pytest.raises(Conflict, match="'ada' already"):
        bench.invite("ada")


@pytest.mark.parametrize("name", ["", " ada", "a\nb", "x" * 61, "=1+1", "@sum", "-2"])
def test_names_are_readable_everywhere(bench, name):
    with pytest.raises(ValueError, match="a name has"):
        bench.invite(name)
