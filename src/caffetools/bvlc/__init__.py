"""BVLC's own build of Caffe 1.0: make it, and run the package's commands on it.

``python -m caffetools.bvlc`` is the command. Each module has one subject:

- ``build``: Debian 11's packages in a root folder of their own
- ``enter``: what starts a program in that folder, with this machine's files in their places
- ``alone``: starts a module of this package where nothing else of ours is to be seen
"""
