"""What can be seen to be wrong before a training starts.

``python -m caffetools.preflight --solver solver.prototxt`` reads solver, net, weights and data
sets, and reports every finding with its cause and its fix. Each module looks at one subject:

- ``solver``: the solver's own fields, and the net that it names
- ``records``, ``labels``, ``images``: what the data sets hold, and whether it fits
- ``weights``, ``normalization``: what loading the weights would do
- ``cost``: memory and disk
- ``first_loss``: the loss of the net as training would start

A check takes what was read and yields :class:`~caffetools.preflight.finding.Finding`s.
"""
