"""Looking into databases of Datums, LMDB or LevelDB, as they are: no record is changed.

An LMDB stays as it is to the byte. LevelDB itself renews its log and its list of files whenever it
is opened, so that the folder must be one that may be written to.

::

    python -m caffetools.records info DATABASE

Records are looked at one by one, so that memory does not grow with their number, and are taken
for hostile: what they claim is held against what they have before anything is made of it.
docs/tools/records.md shows each command.
"""
