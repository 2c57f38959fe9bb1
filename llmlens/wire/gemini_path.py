"""What Google's paths say: `…/models/{model}:{verb}`. No I/O.

Google AI has `/v1beta/models/{m}` and `/v1beta/tunedModels/{m}`, Vertex
`/v1/projects/{p}/locations/{l}/publishers/{publisher}/models/{m}` and `…/endpoints/{e}`.
"""

from urllib.parse import quote, unquote

_STREAMS = frozenset({"streamGenerateContent", "streamRawPredict"})
# Resources that are no plain models keep their kind, so that the name leads back to them.
_KINDS = ("tunedModels", "endpoints")


def read_path(path: str) -> tuple[str | None, bool | None]:
    """(model, whether a stream is asked for) of a path without query; (None, None) of one that names no verb."""
    resource, colon, verb = path.rpartition(":")
    if not colon or "/" in verb:
        return None, None
    head, _, name = unquote(resource).rpartition("/models/")
    if not head and not resource.lstrip("/").startswith("models/"):
        kind, _, name = unquote(resource).rpartition("/")
        kind = kind.rpartition("/")[2]
        name = f"{kind}/{name}" if kind in _KINDS else name
    return name.removeprefix("models/") or None, verb in _STREAMS


def call_path(model: str, stream: bool) -> str:
    """The path and query below the base URL (`…/v1beta`, or on Vertex `…/publishers/google`) of a chat call."""
    kind = "" if model.startswith(tuple(f"{kind}/" for kind in _KINDS)) else "models/"
    verb = "streamGenerateContent?alt=sse" if stream else "generateContent"
    return f"/{kind}{quote(model, safe='/@')}:{verb}"
