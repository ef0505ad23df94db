"""New software for readers: what is remembered of each job, how its files come here, how they get into the reader.

`jobs` is the state machine and its table in the journal; `downloads` brings and checks files; `updates` does the work.
"""

from __future__ import annotations
