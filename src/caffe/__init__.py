"""pycaffe: the names that Caffe users know, over the runtime of :mod:`recaffe`.

Each name is loaded when it is first used: torch takes most of two seconds to load, and
programs that only read and write messages (``from caffe.proto import caffe_pb2``) need none
of it. The names and their modules stand in ``__init__.pyi``. With ``EAGER_IMPORT=1`` in the
environment all are loaded at once.
"""

import lazy_loader

from caffe.glog import install

__getattr__, _, __all__ = lazy_loader.attach_stub(__name__, __file__)

# What scripts that ask mean is the release whose names and numbers these are.
__version__ = "1.0.0"

install()


def __dir__() -> list[str]:
    """What is to be had, and the modules that were imported since."""
    return sorted({*globals(), *__all__})
