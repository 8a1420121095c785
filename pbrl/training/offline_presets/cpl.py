"""Numbers of CPL on Meta-World states (Hejna et al. 2024, tables 5 to 7).

What `pbrl.agents.cpl_variants` makes of other papers' losses keeps CPL's network and schedule.
"""

from pbrl.agents.bc import BCConfig
from pbrl.agents.cpl import CPLConfig
from pbrl.agents.cpl_variants import VARIANTS
from pbrl.agents.iql import IQLConfig
from pbrl.agents.p_iql import JointPIQLConfig
from pbrl.agents.policies import PolicyConfig
from pbrl.training.offline_presets.facts import Facts, NoNumbersError, Recipe

STEPS = 500_000
PRETRAINING = 200_000
PAIRS = 96
STEPS_OF_A_BATCH = 2 * PAIRS * 64
POLICY = PolicyConfig(kind="fixed-variance", hidden_sizes=(512, 512), dropout=0.25)


def recipe(agent: str, facts: Facts) -> Recipe:
    """Return the numbers of a method.

    Raises:
        NoNumbersError: if the paper has none.
    """
    if facts.benchmark != "metaworld":
        raise NoNumbersError("only for Meta-World")
    match agent:
        case "bc" | "%bc":
            # The batch of %BC is not written down; here it is as many steps as the others see.
            method: object = BCConfig(policy=POLICY, batch_size=STEPS_OF_A_BATCH)
        case "sft":
            method = BCConfig(
                policy=POLICY, data="segments", preferred_after=PRETRAINING, batch_size=PAIRS
            )
        case "p-iql-joint":
            iql = IQLConfig(
                policy=POLICY,
                hidden_sizes=(512, 512),
                policy_decay_updates=STEPS,
                inverse_temperature=1 / 0.3333,
            )
            method = JointPIQLConfig(iql=iql, num_pairs=PAIRS)
        case _ if agent in VARIANTS:
            method = VARIANTS[agent](CPLConfig())
        case _:
            raise NoNumbersError("for bc, %bc, sft, p-iql-joint, cpl and its variants")
    return Recipe(
        method=method,
        steps=STEPS,
        eval_every=5_000,
        eval_episodes=25,
        best_share=0.1 if agent == "%bc" else 1.0,
    )
