import pytest
import torch

from pbrl.agents import AGENTS
from pbrl.agents.cpl import CPL, CPLConfig
from pbrl.agents.cpl_variants import VARIANTS
from pbrl.agents.policies import PolicyConfig
from pbrl.pairs import ListBatch, OfflineBatch, PairBatch
from pbrl.preference import LossConfig
from pbrl.segments import Segments


def test_every_variant_is_an_agent():
    assert all(AGENTS[name] == "pbrl.agents.cpl:CPL" for name in VARIANTS)
    assert {name for name, path in AGENTS.items() if path == "pbrl.agents.cpl:CPL"} == set(VARIANTS)


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_learns_what_it_asks_for(name):
    base = CPLConfig(
        policy=PolicyConfig(kind="fixed-variance", hidden_sizes=(8,)),
        pretraining_updates=1,
        batch_size=4,
    )
    agent = CPL(VARIANTS[name](base), 3, 2, generator=torch.Generator().manual_seed(0))
    sizes = agent.batch_sizes
    shape = (sizes.lists, sizes.items, 5) if sizes.lists else (sizes.pairs, 2, 5)
    segments = Segments(
        torch.randn(*shape, 3), torch.rand(*shape, 2), torch.ones(shape).bool(), torch.zeros(shape)
    )
    if sizes.lists:
        batch = OfflineBatch(lists=ListBatch(segments, torch.rand(shape[:2])))
    else:
        labels = torch.tensor([0.0, 1.0, 1.0, 0.5])
        batch = OfflineBatch(pairs=PairBatch(segments, labels, torch.ones(4)))
    for _ in range(3):
        metrics = agent.update(batch)
    assert metrics["preference_loss"].isfinite()


def test_the_variants_of_the_paper():
    base = CPLConfig()
    by_cloning, by_divergence = VARIANTS["cpl-bc"](base), VARIANTS["cpl-kl"](base)
    assert by_cloning.loss == LossConfig(name="biased", bias=1.0)
    assert by_cloning.cloning_weight == 1.0
    assert by_divergence.loss.bias == 0.75
    assert by_divergence.score.scale == pytest.approx(0.2)
    assert by_divergence.warmup_scale == 0.1
    dense = VARIANTS["cpl-dense"](base).batch_sizes()
    assert (dense.lists, dense.items) == (1, 64)
    ranked = VARIANTS["cpl-ranked"](base).batch_sizes()
    assert ranked.lists * ranked.items == 2 * base.batch_size
