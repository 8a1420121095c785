import torch

from pbrl.tally import Tally


def test_counts_by_hand():
    tally = Tally(torch.device("cpu"))
    assert tally.accuracy() is None
    correct = torch.tensor([[[True, True], [True, False]]])  # one member, two pairs, two crops
    tally.num_steps += 1
    tally.add(torch.tensor(0.25), correct, torch.tensor([[[True], [True]]]))
    tally.add(torch.tensor(0.25), correct & False, torch.tensor([[[False], [False]]]))
    assert tally.accuracy() == 0.75
    tally.num_steps += 1
    tally.add(torch.tensor(0.1), correct[:, :1], torch.tensor([[[True]]]))
    assert tally.accuracy() == 5 / 6
    assert abs(tally.loss() - 0.3) < 1e-6  # 0.6 over two steps
