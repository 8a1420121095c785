import pytest
from sqlalchemy import select

from pbrl.queries.human import NewQuery, add_queries, tables
from pbrl.queries.human.clips import (
    CLAIM_SECONDS,
    claim_clip,
    clip_counts,
    clip_file,
    clip_path,
    finish_clip,
    forget_lost_clips,
)
from pbrl.queries.human.errors import NotFound


@pytest.fixture
def asked(bench, make_segment):
    """Queries of segments (0, 1) and (1, 2), without clips."""
    segments = [make_segment(seed) for seed in range(3)]
    queries = [NewQuery(key=str(row), segments=segments[row : row + 2]) for row in (0, 1)]
    with bench.database.writing() as connection:
        add_queries(connection, bench.study, queries)
    return bench


def claim(bench, now):
    with bench.database.writing() as connection:
        return claim_clip(connection, now=now)


def finish(bench, clip, name="a.mp4"):
    with bench.database.writing() as connection:
        finish_clip(connection, clip, "ready", name)


def ready(bench):
    with bench.database.reading() as connection:
        rows = select(tables.query.c.is_ready).order_by(tables.query.c.position)
        return connection.execute(rows).scalars().all()


def test_a_query_is_ready_when_its_last_clip_is(asked):
    states = [ready(asked)]
    while clip := claim(asked, 0.0):
        finish(asked, clip)
        states.append(ready(asked))
    assert states == [[False, False], [False, False], [True, False], [True, True]]


def test_a_new_query_of_old_segments_is_ready_at_once(asked, make_segment):
    while clip := claim(asked, 0.0):
        finish(asked, clip)
    query = NewQuery(key="late", segments=[make_segment(2), make_segment(0)])
    with asked.database.writing() as connection:
        add_queries(connection, asked.study, [query])
    assert ready(asked) == [True, True, True]


def test_what_is_claimed_is_drawn_by_one(asked):
    claimed = [claim(asked, 0.0) for _ in range(4)]
    assert len({clip.segment_id for clip in claimed[:3]}) == 3
    assert claimed[3] is None
    again = claim(asked, CLAIM_SECONDS + 1)  # whoever had it died
    assert (again.segment_id, again.attempts) == (claimed[0].segment_id, 1)


def test_counts(asked):
    finish(asked, claim(asked, 0.0))
    with asked.database.reading() as connection:
        assert clip_counts(connection, asked.study.id) == {"waiting": 2, "ready": 1, "plot": 0}


def test_clips_are_for_those_who_were_given_the_query(asked, tmp_path):
    while clip := claim(asked, 0.0):
        finish(asked, clip, f"{clip.digest}.mp4")
    ada, ben = asked.invite("ada"), asked.invite("ben")
    owner = asked.invite("owner", "owner")
    asked.next(ada)

    def file_for(person, segment_id):
        with asked.database.reading() as connection:
            return clip_file(connection, person, segment_id, tmp_path)

    assert file_for(ada, 1).parent == tmp_path / str(asked.study.id)
    assert file_for(owner, 3).suffix == ".mp4"
    for person, segment_id in ((ada, 3), (ben, 1), (owner, 99)):
        with pytest.raises(NotFound):
            file_for(person, segment_id)


def test_lost_clips_are_drawn_anew(asked, tmp_path):
    while clip := claim(asked, 0.0):
        finish(asked, clip, f"{clip.segment_id}.mp4")
    folder = tmp_path / str(asked.study.id)
    folder.mkdir()
    for number in (1, 2):  # the third, which the second query shows, is lost
        (folder / f"{number}.mp4").touch()
    with asked.database.writing() as connection:
        assert forget_lost_clips(connection, tmp_path) == 1
        assert forget_lost_clips(connection, tmp_path) == 0
    assert ready(asked) == [True, False]
    assert claim(asked, 0.0).segment_id == 3


@pytest.mark.parametrize("name", ["../study.db", "/etc/passwd", ".hidden", "a/b.mp4", ".."])
def test_no_name_leads_out_of_the_folder(tmp_path, name):
    with pytest.raises(NotFound):
        clip_path(tmp_path, 1, name)
