"""The read-only view of a scheduled program: nests, accesses, engines, streams, runs, banks."""
