"""A picture of an alignment: where mass goes, and the labels it brings."""

from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pbrl.offline.transfer import Transferred
from pbrl.training.plots import save_figure

_PANEL_INCHES = 3.4


def transport_picture(made: Transferred, path: Path) -> None:
    """Draw the plan of the first alignment and the labels of all, target segments in one order.

    They are ordered by how often they are preferred, so that good labels show as two triangles;
    source segments by where their mass goes, so that a sharp plan shows as a diagonal.

    Args:
        made: the labels.
        path: the figure, .png, .svg or .pdf.

    Raises:
        ValueError: if the ending is none of these.
    """
    target = made.labels.mean(0).argsort()
    plan = made.rounds[0].coupling.plan[:, target]
    place = plan @ plan.new_tensor(range(plan.shape[1])) / plan.sum(1)
    with matplotlib.rc_context({"font.size": 9}):
        figure = Figure(figsize=(2 * _PANEL_INCHES, _PANEL_INCHES), layout="constrained")
        left, right = figure.subplots(1, 2)
        image = left.imshow(plan[place.argsort()].numpy(), aspect="auto", cmap="Greys", vmin=0)
        _name(left, "transport plan", "target segment", "source segment")
        figure.colorbar(image, ax=left, label="mass")
        labels = made.labels[target][:, target]
        image = right.imshow(labels.numpy(), cmap="RdBu", vmin=0, vmax=1)
        _name(right, "transferred labels", "second segment", "first segment")
        figure.colorbar(image, ax=right, label="P(second preferred)")
    save_figure(figure, path)


def _name(panel: Axes, title: str, along: str, down: str) -> None:
    panel.set_title(title)
    panel.set_xlabel(along)
    panel.set_ylabel(down)
    for axis in (panel.xaxis, panel.yaxis):
        axis.set_major_locator(MaxNLocator(integer=True))
