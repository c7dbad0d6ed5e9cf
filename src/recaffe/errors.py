"""What can go wrong, as one tree.

::

    CaffeError
    ├── FormatError          a file is not what its name or place says, or is cut short
    │   ├── PrototxtError    text that does not parse: file, line, column
    │   └── SizeError        another number of values than the shape beside them says
    ├── NetError             the graph: blobs, names, phases, sharing
    │   ├── UnknownLayerError     a layer type that no file of recaffe.layers registers
    │   ├── NoSuchLayerError      a name that no layer of the net has
    │   ├── NoSuchBlobError       a name that no blob of the net has
    │   ├── LayerError       one layer's parameters or inputs
    │   │   └── NoSuchMethodError     a method that a user's layer lacks
    │   └── ShapeMismatchError    two shapes that had to be equal
    ├── SolverError          a solver's parameters, or a state that does not fit
    │   └── SolverLostError  another of the solvers that train together is gone
    ├── DataError            a data source: absent, empty, or with a bad record
    │   └── SizeError        the same of a record
    ├── DeviceError          the GPU asked for is not there
    ├── OutOfMemoryError     the memory that a net or blob needs is not there
    └── ArgumentError        arguments that a function of pycaffe does not take

Every message names the place, what was expected, what was found and the likely fix.

Where pycaffe raises an exception of Python's own, the error here is one of that type as well:
RuntimeError for what its C++ part throws, ValueError and KeyError for names and shapes,
AttributeError for methods, TypeError for arguments, MemoryError for memory.
"""

from __future__ import annotations


class CaffeError(RuntimeError):
    """Base of all errors that a user's input can cause."""


class FormatError(CaffeError):
    """A file that is not what its name or place says, or that is cut short."""


class PrototxtError(FormatError):
    """Text that does not parse as the message it should be."""


class NetError(CaffeError):
    """A net that cannot be built or run as its prototxt describes it."""


class UnknownLayerError(NetError):
    """A layer type that is not registered."""


class NoSuchLayerError(NetError, ValueError):
    """A name that no layer of the net has."""


class NoSuchBlobError(NetError, KeyError):
    """A name that no blob of the net has."""

    # KeyError shows its argument as repr does.
    __str__ = NetError.__str__


class LayerError(NetError):
    """A layer whose parameters or inputs do not fit together."""


class NoSuchMethodError(LayerError, AttributeError):
    """A method that the class of a user's layer does not have."""


class ShapeMismatchError(NetError, ValueError):
    """Two shapes that had to be equal are not."""


class SolverError(CaffeError):
    """A solver's parameters, or a solver state that does not fit the net."""


class SolverLostError(SolverError):
    """Another of the solvers that train together is gone, or never came."""


class DataError(CaffeError):
    """A data source that is absent, empty, or holds a record that cannot be used."""


class SizeError(FormatError, DataError, ValueError):
    """Another number of values in a file or record than the shape beside them says."""


class DeviceError(CaffeError):
    """The device asked for is not there."""


class OutOfMemoryError(CaffeError, MemoryError):
    """The memory that a net or a blob needs is not there."""


class ArgumentError(CaffeError, TypeError):
    """Arguments that a function of pycaffe does not take."""
