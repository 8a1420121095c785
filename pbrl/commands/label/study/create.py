"""`pbrl label study create`: start a study and invite people."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from pbrl.commands.label.study.links import OWNER, print_link
from pbrl.dataset_identity import DatasetIdentity
from pbrl.envs import parse_id
from pbrl.offline.labels import load_pairs
from pbrl.offline.load import load_dataset
from pbrl.queries.human import add_queries, create_study, invite
from pbrl.queries.human.asking import NewQuery
from pbrl.queries.human.places import STUDIES, StudyPlace
from pbrl.queries.human.plans import DrawConfig, drawn_queries, gold_pairs, listed_pairs
from pbrl.queries.human.studies import StudyConfig, note_dataset
from pbrl.queries.human.web.settings import check_url


@dataclass(frozen=True, kw_only=True)
class CreateOptions:
    """Start a study: what is asked, in which segments, and of whom.

    The segments are copied into the study, so that it needs neither file nor dataset later. `pbrl
    label serve NAME` then serves it. Without pairs or dataset it starts empty, for a training run
    that asks people.

    Attributes:
        name: of the study, and of its folder.
        pairs: .npz file of pairs (obs_1, obs_2, action_1, action_2, label), asked in its order.
        limit: ask only the first so many of these pairs.
        dataset: name or path of a dataset to draw queries from, instead of pairs.
        draw: how.
        gold: ask so many pairs of `gold_file` as gold questions.
        gold_file: .npz file of pairs, whose labels are right.
        invite: names of people to make links for.
        study: what is asked of them; --study.env names the environment to draw the segments in.
        studies: folder of all studies.
        database_url: of a PostgreSQL; by default the study has a database file of its own.
        url: what browsers will call the server by.
    """

    name: Annotated[str, tyro.conf.Positional]
    pairs: Path | None = None
    limit: int | None = None
    dataset: str | None = None
    draw: DrawConfig = field(default_factory=DrawConfig)
    gold: int = 0
    gold_file: Path | None = None
    invite: tuple[str, ...] = ()
    study: StudyConfig = field(default_factory=StudyConfig)
    studies: Path = STUDIES
    database_url: str | None = None
    url: str = "http://127.0.0.1:8000"

    def __post_init__(self) -> None:
        if self.pairs is not None and self.dataset is not None:
            raise ValueError("queries come from --pairs or from --dataset, not from both")
        if bool(self.gold) != (self.gold_file is not None):
            raise ValueError("gold questions need both --gold and --gold-file")
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"limit must be at least 1, got {self.limit}")
        if len({OWNER, *self.invite}) <= len(self.invite):
            raise ValueError(
                f"invite takes names that differ from each other and from {OWNER!r}, which is "
                f"yours, got {' '.join(self.invite)}"
            )
        if self.study.env is not None:
            parse_id(self.study.env)
        check_url(self.url)


def main(arguments: Sequence[str]) -> None:
    """Run `pbrl label study create` with the words after it.

    Raises:
        ValueError: if a study of that name is there, or the queries do not fit it.
    """
    options = tyro.cli(
        CreateOptions,
        args=list(arguments),
        prog="pbrl label study create",
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    queries, dataset = _queries(options)  # a file that does not fit leaves no study behind
    place = StudyPlace(
        name=options.name, studies=options.studies, database_url=options.database_url
    )
    database = place.open(create=True)
    people = [(OWNER, "owner"), *((name, "annotator") for name in options.invite)]
    with database.writing() as connection:
        study = create_study(connection, options.name, options.study)
        number = add_queries(connection, study, queries)
        if dataset is not None:
            note_dataset(connection, study.id, dataset)
        tokens = [
            (name, invite(connection, study.id, name, role)[1])  # type: ignore[arg-type]
            for name, role in people
        ]
    database.close()
    console = Console(soft_wrap=True)
    console.print(f"study {options.name}: {number} queries, in {place.folder}", markup=False)
    for name, token in tokens:
        print_link(console, name, options.url, token)
    words = "" if options.studies == STUDIES else f" --studies {options.studies}"
    words += "" if options.database_url is None else " --database-url ..."
    console.print(f"serve it: pbrl label serve {options.name}{words}", markup=False)


def _queries(options: CreateOptions) -> tuple[list[NewQuery], DatasetIdentity | None]:
    """Return what is asked, and the dataset whose episodes it names."""
    config, queries, identity = options.study, [], None
    if options.pairs is not None:
        queries += list(listed_pairs(options.pairs, config))[: options.limit]
        identity = load_pairs(options.pairs).dataset.identity()
    if options.dataset is not None:
        dataset = load_dataset(options.dataset)
        queries += drawn_queries(dataset, config, options.draw)
        identity = dataset.identity()
    if options.gold_file is not None:
        queries += gold_pairs(options.gold_file, config, options.gold, options.draw.seed)
    return queries, identity
