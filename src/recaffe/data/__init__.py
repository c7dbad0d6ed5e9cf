"""Records on their way into a net: LMDB, Datum, the transformer, prefetching."""
