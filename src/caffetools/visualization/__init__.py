"""Looking into a net: its kernels and weights, what it makes of images, and how it learned.

::

    image = visualize_kernels(net, "conv1", zoom=5)

Beside these calls, the modules are commands, each a figure::

    python -m caffetools.visualization.activations --help

Every module computes first, then draws on axes it is given, so that the numbers can be used, and
tested, without a picture. docs/how-to/see-inside-a-net.md shows each.
"""

from caffetools.visualization.weights import get_layers, visualize_kernels, visualize_weights

__all__ = ["get_layers", "visualize_kernels", "visualize_weights"]
