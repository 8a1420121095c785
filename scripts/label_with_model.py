"""Let a vision-language model label a study that `pbrl label serve` serves.

    pbrl label study invite walks seer --role program
    PBRL_TOKEN=... python scripts/label_with_model.py --model NAME --endpoint http://localhost:8080/v1

The token is what follows # in the link. Ends when all is answered and no run asks any more, when
the study is closed, or with Ctrl-C.
"""

import os
import sys
from pathlib import Path

import tyro

from pbrl.queries.human.client import LabellingClient, label_until_finished
from pbrl.queries.human.vision_language import VisionLanguageConfig, VisionLanguageJudge


def main(
    endpoint: str,
    model: str,
    *,
    url: str = "http://127.0.0.1:8000",
    frames: int = 6,
    swaps: bool = True,
    cache: Path = Path("model-answers"),
    stays: bool = False,
) -> None:
    """Label until all is answered and no run asks any more, or the study is closed.

    Args:
        endpoint: of the model, to which /chat/completions is added; its key, if it wants one, is
            in the environment variable PBRL_MODEL_KEY.
        model: its name there.
        url: of the labelling server; the token of the program is in PBRL_TOKEN.
        frames: of each clip, that the model sees.
        swaps: ask in both orders, and believe only what both say.
        cache: folder that keeps every answer of the model.
        stays: wait for further runs, until the study is closed.
    """
    token = os.environ.get("PBRL_TOKEN")
    if not token:
        sys.exit("PBRL_TOKEN is not set: it holds the token of a program")
    config = VisionLanguageConfig(
        url=endpoint, model=model, num_frames=frames, swaps=swaps, cache=cache
    )
    judge = VisionLanguageJudge(config, api_key=os.environ.get("PBRL_MODEL_KEY"))
    try:
        number = label_until_finished(LabellingClient(url, token), judge, stays=stays)
    except KeyboardInterrupt:
        print("stopped; what was answered is kept")
    else:
        print(f"nothing is left to label; {number} answers")


if __name__ == "__main__":
    tyro.cli(main)
