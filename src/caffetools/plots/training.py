"""Pictures of a training under way, drawn from what its callbacks recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from caffetools.plots.curves import running_mean
from caffetools.plots.style import COLOURS, line_style, plain


def plot_loss(iterations: Sequence[int], losses: Sequence[float], ax: Axes) -> Axes:
    """Draw the losses, and their mean over the last twentieth of them."""
    window = max(1, len(losses) // 20)
    ax.plot(iterations, losses, color=COLOURS[5], linewidth=0.8, label="batch")
    smooth = running_mean(np.array(losses), window)
    ax.plot(iterations, smooth, color=COLOURS[0], label=f"batch, mean of {window}")
    ax.set(xlabel="iteration", ylabel="loss")
    ax.legend()
    return ax


def plot_errors(
    iterations: Mapping[str, Sequence[int]], errors: Mapping[str, Sequence[float]], ax: Axes
) -> Axes:
    """Draw a line of errors, from 0 to 1, for every key of ``errors``."""
    for index, (name, values) in enumerate(errors.items()):
        ax.plot(iterations[name], values, marker="o", ms=4, label=plain(name), **line_style(index))
    ax.set(xlabel="iteration", ylabel="error", ylim=(0, None))
    ax.legend()
    return ax


def plot_magnitudes(
    iterations: Sequence[int],
    magnitudes: Mapping[str, Sequence[float]],
    ax: Axes,
    label: str = "gradient magnitude",
) -> Axes:
    """Draw a line of magnitudes for every layer, on a logarithmic scale, where 0 has no place."""
    for index, (name, values) in enumerate(magnitudes.items()):
        ax.plot(iterations, values, label=plain(name), linewidth=1, **line_style(index))
    ax.set(xlabel="iteration", ylabel=label, yscale="log")
    if magnitudes:
        ax.legend(fontsize=8)
    return ax


def plot_rates(
    rates: Sequence[float], losses: Sequence[float], suggestion: float, ax: Axes
) -> Axes:
    """Draw the losses by learning rate, with a mark at the rate that is suggested."""
    ax.plot(rates, losses, color=COLOURS[0])
    ax.axvline(suggestion, color=COLOURS[1], linestyle="--", label=f"suggested: {suggestion:.2g}")
    ax.set(xlabel="learning rate", ylabel="loss", xscale="log")
    ax.legend()
    return ax
