"""Large matrix products in bfloat16 against float32, ours both times."""

from collections.abc import Callable

from pbrl.linear import matmul_precision
from speed.measure import Row, repeated, time_in_turns
from speed.reward import make_ensemble, stored_episodes, training_contenders
from speed.sac import SIZES, our_sac

NUM_RELABELLED = 100_000
LABELLED = (1000, 50, 1)  # pairs, steps of a segment, passes


def bfloat16(rounds: int) -> list[Row]:
    """Time updates of SAC, training of the reward ensemble and relabelling at both precisions."""
    ensemble, episodes = make_ensemble(), stored_episodes(NUM_RELABELLED // 1000)
    cases = {
        f"SAC {len(sizes)}x{sizes[0]} batch {batch}": our_sac(sizes, batch)[1]
        for sizes, batch in SIZES
    }
    cases[f"ensemble, {LABELLED[0]} pairs of {LABELLED[1]}"] = training_contenders(*LABELLED)[
        "pbrl"
    ]
    cases[f"relabelling {NUM_RELABELLED:,} steps"] = repeated(
        lambda: episodes.relabel(ensemble.mean_reward)
    )
    return [row for case, run in cases.items() for row in _rows(case, run, rounds)]


def _rows(case: str, run: Callable[[int], None], rounds: int) -> list[Row]:
    def rounded(repetitions: int) -> None:
        with matmul_precision("bfloat16"):
            run(repetitions)

    times = time_in_turns({"float32": run, "bfloat16": rounded}, rounds)
    full = times["float32"].cpu
    return [
        Row(section="bfloat16", case=case, contender=name, **time.columns(), ratio=full / time.cpu)
        for name, time in times.items()
    ]
