"""The durable log: one DuckDB file, an append-only journal before it, one thread that writes, many that read.

```python
database = Database.open(path)                     # StoreLocked names the PID that holds it; StoreError else
journal = Journal(journal_directory(path))         # opened after the database: its file lock guards both
writer = Writer(database, journal, rows_of=rows_of, rows_of_payload=rows_of_payload, on_committed=publish)
writer.start()                                     # replays what a crash left behind, then writes in its own thread
reader = Reader(database, STANDARD_VIEWS)

position = journal.append(payload)                 # on the event loop, before the answer's last byte goes out
writer.submit(record, position, len(payload))      # O(1), never blocks; StoreError when too much is pending
writer.flush(timeout_s=5)                          # blocking: run it in a thread, before a query
answer = reader.query("SELECT model, sum(cost_usd) FROM calls GROUP BY ALL")       # blocking: run it in a thread

writer.close(); database.close()                   # drains, checkpoints, removes the private temp directory
```
Nothing here knows HTTP, dialects or settings. All of it raises `StoreError`, `StoreLocked` or `QueryError`.
"""

from llmlens.store.database import Database
from llmlens.store.journal import Journal, Position, journal_directory
from llmlens.store.reader import Reader
from llmlens.store.rows import CacheEntry, Rows
from llmlens.store.views import STANDARD_VIEWS, View
from llmlens.store.writer import Writer

__all__ = [
    "STANDARD_VIEWS",
    "CacheEntry",
    "Database",
    "Journal",
    "Position",
    "Reader",
    "Rows",
    "View",
    "Writer",
    "journal_directory",
]
