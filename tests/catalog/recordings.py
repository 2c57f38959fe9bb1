"""Every recording, whatever its dialect; none where there are no recordings beside this checkout."""

import gzip
import json
from functools import cache
from typing import Any

from tests.wire.test_recorded import shared


@cache
def recordings() -> list[dict[str, Any]]:
    """All rows of recorded.jsonl.gz."""
    root = shared()
    if root is None or not (path := root / "data/traffic/recorded.jsonl.gz").is_file():
        return []
    with gzip.open(path, "rt") as lines:
        return [json.loads(line) for line in lines]
