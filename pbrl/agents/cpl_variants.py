"""Methods that are settings of `CPL`: its own variants, and direct losses of other papers.

Each changes a configuration of CPL, whose network, batch and schedule it keeps. The numbers of
DPO, IPO, the hinge and the robust losses come from language models in their papers and mean nothing
for segments of many steps; those here are ours.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from pbrl.agents.cpl import CPLConfig
from pbrl.label_noise import LabelNoiseConfig
from pbrl.preference import LossConfig

FLIP_RATE = 0.1  # of B-Pref's mistake teacher
LIST = 64  # segments of a dense batch of CPL
RANKING = 8  # segments of a ranking
DPPO_LIST, DPPO_SCALE = 256, 10.0  # segments of a batch, and 1 / T

Variant = Callable[[CPLConfig], CPLConfig]


def _cpl_bc(config: CPLConfig) -> CPLConfig:
    return replace(config, loss=LossConfig(name="biased", bias=1.0), cloning_weight=1.0)


def _cpl_kl(config: CPLConfig) -> CPLConfig:
    """Table 7 prints an alpha of 0.1; their code takes twice CPL's."""
    score = replace(config.score, name="log-ratio", scale=2 * config.score.scale)
    loss = LossConfig(name="biased", bias=0.75)
    return replace(config, score=score, loss=loss, warmup_scale=0.1)


def _cpl_dense(config: CPLConfig) -> CPLConfig:
    return replace(config, lists="all-pairs", batch_size=1, items=LIST)


def _cpl_ranked(config: CPLConfig) -> CPLConfig:
    number = max(1, 2 * config.batch_size // RANKING)  # as many segments as in pairs
    return replace(config, lists="plackett-luce", batch_size=number, items=RANKING)


def _on_log_ratio(config: CPLConfig, loss: LossConfig) -> CPLConfig:
    return replace(config, score=replace(config.score, name="log-ratio"), loss=loss)


def _ipo(config: CPLConfig) -> CPLConfig:
    """On averages over steps; a beta of 1 pulls them half a nat apart."""
    score = replace(config.score, name="log-ratio", scale=1.0, average=True)
    return replace(config, score=score, loss=LossConfig(name="ipo", scale=1.0))


def _dppo_graded(config: CPLConfig) -> CPLConfig:
    score = replace(config.score, name="distance", scale=DPPO_SCALE, average=True)
    return replace(
        config,
        score=score,
        lists="all-pairs",
        batch_size=1,
        items=DPPO_LIST,
        pretraining_updates=0,
    )


VARIANTS: Mapping[str, Variant] = {
    "cpl": lambda config: config,
    "cpl-bc": _cpl_bc,
    "cpl-kl": _cpl_kl,
    "cpl-dense": _cpl_dense,
    "cpl-ranked": _cpl_ranked,
    "dpo": lambda config: _on_log_ratio(config, LossConfig()),
    "ipo": _ipo,
    "slic": lambda config: _on_log_ratio(config, LossConfig(name="hinge")),
    "rdpo": lambda config: _on_log_ratio(config, LossConfig(name="robust", flip_rate=FLIP_RATE)),
    "cdpo": lambda config: _on_log_ratio(config, LossConfig(name="smoothed", flip_rate=FLIP_RATE)),
    "lcpo": lambda config: replace(config, label_noise=LabelNoiseConfig()),
    "dppo-graded": _dppo_graded,
}
"""`cpl-bc`, `cpl-kl` and `cpl-dense` are of Hejna et al. 2024, `cpl-ranked` is the ranking form of
their appendix; `dpo` Rafailov et al. 2023; `ipo` Azar et al. 2023; `slic` the hinge of Zhao et al.
2023; `rdpo` Chowdhury et al. 2024; `cdpo` label smoothing; `lcpo` Cao et al. 2025; `dppo-graded` An
et al. 2023 without its predictor of preferences: the grades of the segments are given."""
