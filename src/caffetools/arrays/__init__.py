"""From NumPy's arrays to what Caffe's data layers read.

``python -m caffetools.arrays`` is the command. Each module has one subject:

- ``npy``: an array in a ``.npy`` file, its rows in blocks
- ``hdf5``: files for HDF5Data
- ``records``: LMDBs for Data
"""
