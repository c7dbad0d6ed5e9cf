"""Looking into databases of Datums, LMDB or LevelDB, as they are: nothing is changed in them.

::

    python -m caffetools.records info DATABASE

Records are looked at one by one, so that memory does not grow with their number, and are taken
for hostile: what they claim is held against what they have before anything is made of it.
docs/tools/records.md shows each command.
"""
