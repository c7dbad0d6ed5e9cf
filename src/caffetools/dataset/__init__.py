"""From images, wherever they come from, to lists of train, val and test.

``python -m caffetools.dataset`` is the command. Each module has one subject:

- ``entry``: one image, a row of the manifest
- ``folders``, ``tables``: what images there are, by class folders or by lists and tables
- ``examine``: whether an image can be used
- ``splits``: which images fall where
- ``duplicates``: images that lie in more than one split
"""
