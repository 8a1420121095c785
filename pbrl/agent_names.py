"""The names of all agents and what each is, without importing any: `pbrl list agents` is quick."""

from collections.abc import Mapping

ONLINE: Mapping[str, str] = {
    "sac": "soft actor-critic on the true reward",
    "pebble": "exploration by nearest neighbours, reward ensemble, relabelled replay",
    "qpa": "PEBBLE with near on-policy queries, hybrid replay and cropped segments",
    "surf": "PEBBLE with cropped segments and pairs that the reward labels itself",
    "hindsight-prior": "PEBBLE whose reward goes to the steps that a world model looks back on",
    "qpa-hindsight-prior": "QPA with the same prior",
    "surf-hindsight-prior": "SURF with the same prior",
    "ppo": "PPO in many worlds at once, on the true reward",
    "pref-ppo": "PPO in many worlds at once, from preferences",
    "drqv2": "DrQ-v2 on images, on the true reward",
    "taco": "DrQ-v2 with TACO's codes, on the true reward",
}
"""Agents of `pbrl train`."""

OFFLINE: Mapping[str, str] = {
    "bc": "behaviour cloning",
    "%bc": "cloning of the best episodes by true return",
    "sft": "cloning of all labelled segments, then of the preferred ones",
    "iql": "Implicit Q-Learning on the true reward",
    "p-iql": "IQL on a reward learned from the labels before",
    "p-iql-joint": "IQL on a reward learned from the labels meanwhile",
    "preference-transformer": "IQL on a learned reward that remembers",
    "hindsight-prior": "IQL on a learned reward with a prior over steps",
    "pearl": "IQL on a learned reward that knows its uncertainty, for labels of another task",
    "cpl": "a policy straight from the labels, without a reward",
    "cpl-bc": "CPL beside cloning",
    "cpl-kl": "CPL on log-ratios to the cloned policy",
    "cpl-dense": "CPL on scored segments, of which any two are compared",
    "cpl-ranked": "CPL on rankings",
    "dpo": "DPO on segments",
    "ipo": "IPO on segments",
    "slic": "the hinge of SLiC on segments",
    "rdpo": "DPO with a loss robust to flipped labels",
    "cdpo": "DPO with smoothed labels",
    "lcpo": "CPL that weighs labels by how likely they are right",
    "dppo-graded": "DPPO on graded segments, without its predictor",
    "dppo": "a policy near what a predictor of preferences prefers, without a reward",
    "ipl": "IQL on the reward that its Q implies, straight from the labels",
    "oppo": "a sequence model that acts by a code of behaviour learned from the labels",
    "dt": "Decision Transformer on returns of the true reward",
    "pb-dt": "Decision Transformer on returns of a learned reward",
    "qt": "Decision Transformer whose actions also raise a value, on the true reward",
    "pb-qt": "QT on a learned reward",
    "dtr": "QT on a learned reward, by a weight that grows",
    "td3-bc": "TD3+BC on images, on the true reward",
    "td3-bc-taco": "TD3+BC on images with TACO's codes, on the true reward",
}
"""Agents of `pbrl fit`."""
