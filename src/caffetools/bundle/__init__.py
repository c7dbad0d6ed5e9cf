"""A trained net as one folder to take away: made, held against other readers, and used.

``make`` writes a bundle, ``classify`` answers with one. :mod:`caffetools.bundle.preprocessing`
is the one place that says how an image file becomes the net's input.
"""
