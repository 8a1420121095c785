"""Collection: datasets from policies, episode by episode."""

from pbrl.offline.collect.actors import Actor, ScriptedExpert
from pbrl.offline.collect.collector import collect_episodes
from pbrl.offline.collect.episodes import Episode, Job
from pbrl.offline.collect.minari_writer import write_minari
from pbrl.offline.collect.sources import MIXTURES, Source, parse_source

__all__ = [
    "MIXTURES",
    "Actor",
    "Episode",
    "Job",
    "ScriptedExpert",
    "Source",
    "collect_episodes",
    "parse_source",
    "write_minari",
]
