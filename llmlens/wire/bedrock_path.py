"""The paths of Amazon Bedrock, which name the model and say whether a stream is asked for. No I/O."""

import re
from urllib.parse import quote, unquote

# An ARN has slashes of its own; they come encoded, unless a server on the way has decoded them.
_PATH = re.compile(r"/model/(?P<model>.+)/(?:converse|invoke)(?P<stream>-stream|-with-response-stream)?/?$")


def read_path(path: str) -> tuple[str | None, bool | None]:
    """(model, whether a stream is asked for); (None, None) of other paths."""
    found = _PATH.search(path)
    return (unquote(found["model"]), found["stream"] is not None) if found else (None, None)


def converse_path(model: str, stream: bool) -> str:
    """Where a call to Converse goes, below the provider's base URL. Everything but unreserved characters is encoded:
    that is the path the SDKs of AWS send and sign."""
    return f"/model/{quote(model, safe='')}/converse{'-stream' if stream else ''}"
