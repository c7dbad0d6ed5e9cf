"""Python, and what a user's layer is derived from."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any

from recaffe.blob import Blob
from recaffe.context import context
from recaffe.layers.base import BlobLayer, Shape, register


class UserBlobs(list[Blob]):
    """The parameters of a user's layer."""

    def add_blob(self, *shape: int) -> Blob:
        """Append a parameter of that shape, of zeros."""
        self.append(Blob(shape))
        return self[-1]


class UserLayer:
    """What the class that a ``type: "Python"`` layer names is derived from: ``caffe.Layer``.

    ``bottom`` and ``top`` are sequences of blobs, which have ``data``, ``diff``, ``shape`` and
    ``reshape(...)``.

    Attributes:
        param_str: the text that the prototxt gives.
        phase: TRAIN or TEST.
        blobs: the layer's own parameters; ``self.blobs.add_blob(2, 3)`` in ``setup`` makes one.
            A solver updates them by what ``backward`` leaves in their diffs.
    """

    type = "Python"

    def __init__(self, param: Any) -> None:
        self.blobs = UserBlobs()
        self.param_str = ""
        self.phase = 0

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Check the bottoms and read ``param_str``; called once."""

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Reshape the tops; called after ``setup`` and before each forward."""
        raise NotImplementedError("a Python layer needs a method reshape(self, bottom, top)")

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Write the tops' data."""
        raise NotImplementedError("a Python layer needs a method forward(self, bottom, top)")

    def backward(
        self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]
    ) -> None:
        """Write the diffs of those bottoms that ``propagate_down`` marks, and of the blobs."""
        raise NotImplementedError(
            "a Python layer through which gradients go needs a method "
            "backward(self, top, propagate_down, bottom)"
        )


@register("Python")
class Python(BlobLayer):
    """A layer that a user's class computes, named by ``python_param``: module and layer.

    The class is derived from :class:`UserLayer`; the module is imported as by ``import``, so
    its folder is in PYTHONPATH or beside the program. What is no attribute of this layer is
    the user's object's: ``net.layers[0].my_setting``. An exception of the user's code goes on
    as it is, with a note that names the layer. ``share_in_parallel`` is for the threads of
    several GPUs in one process, which are not there: of several solvers that train together
    each must have a process of its own, and say so.

    Source: ``python_layer.hpp``.
    """

    bottoms = (0, None)
    tops = (0, None)
    in_place = True

    def attach(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> None:
        super().attach(bottoms, tops)
        if self.is_training and context.solver_count > 1 and not context.multiprocess:
            raise self.error(
                f"trains with {context.solver_count} solvers only where each of them has a process "
                "of its own: call caffe.set_multiprocess(True) in each"
            )
        parameter = self.param.python_param
        user = self._call(self._user_class(), self.param)
        user.param_str = parameter.param_str
        user.phase = self.phase
        self.user: UserLayer = user

    def _user_class(self) -> type[UserLayer]:
        parameter = self.param.python_param
        try:
            module = importlib.import_module(parameter.module)
        except ModuleNotFoundError as error:
            if error.name != parameter.module.split(".")[0]:
                self._name_in(error)
                raise
            raise self.error(
                f"no module '{parameter.module}': name it in python_param as import does, and put "
                "its folder into PYTHONPATH"
            ) from error
        except ValueError as error:  # no name at all
            raise self.error(f"python_param.module '{parameter.module}': {error}") from error
        except Exception as error:
            self._name_in(error)
            raise
        found = getattr(module, parameter.layer, None)
        if not (isinstance(found, type) and issubclass(found, UserLayer)):
            raise self.error(
                f"expected a class '{parameter.layer}' derived from caffe.Layer in the module "
                f"'{parameter.module}' ({getattr(module, '__file__', 'built in')}), found {found!r}"
            )
        return found

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        # As in pycaffe the layer of a net is the user's object: isinstance says so.
        user = self.__dict__.get("user")
        return type(self if user is None else user)

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self._call(self.user.reshape, bottom, top)

    def forward(self, bottom: Any, top: Any) -> Any:
        """The user's ``forward(bottom, top)``, which a user calls; nets call forward_blobs."""
        return self._call(self.user.forward, bottom, top)

    def setup(self, bottom: Any, top: Any = None) -> None:
        """The user's ``setup(bottom, top)``; a net gives the bottoms' shapes alone."""
        if top is not None:
            self._call(self.user.setup, bottom, top)
            return
        self._call(self.user.setup, self.bottom_blobs, self.top_blobs)
        # The same list, so that both see where a parameter is shared with another layer.
        self.blobs = self.user.blobs

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        self._call(self.user.reshape, self.bottom_blobs, self.top_blobs)
        return [blob.shape for blob in self.top_blobs]

    def forward_blobs(self) -> None:
        self._call(self.user.reshape, self.bottom_blobs, self.top_blobs)
        self._call(self.user.forward, self.bottom_blobs, self.top_blobs)

    def backward_blobs(self, propagate_down: Sequence[bool]) -> None:
        self._call(self.user.backward, self.top_blobs, list(propagate_down), self.bottom_blobs)

    def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except Exception as error:
            self._name_in(error)
            raise

    def _name_in(self, error: Exception) -> None:
        parameter = self.param.python_param
        error.add_note(
            f"in layer '{self.name}' ({self.type}): {parameter.module}.{parameter.layer}"
        )

    def __getattr__(self, name: str) -> Any:
        user = self.__dict__.get("user")
        if user is None:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(user, name)

    def __setattr__(self, name: str, value: Any) -> None:
        user = self.__dict__.get("user")
        if user is None or name in self.__dict__ or hasattr(type(self), name):
            super().__setattr__(name, value)
        else:
            setattr(user, name, value)
