"""`data:` URLs with base64 content (RFC 2397). No I/O."""


def split_data_url(url: str) -> tuple[str | None, str | None]:
    """(media type, base64 text) of a base64 data URL; (None, None) of any other."""
    head, comma, data = url.partition(",")
    if not comma or not head.startswith("data:") or not head.endswith(";base64"):
        return None, None
    # parameters such as charset are of no use to a model
    return head[5:-7].partition(";")[0] or None, data


def data_url(media_type: str, data: str) -> str:
    """The data URL of base64 `data`."""
    return f"data:{media_type};base64,{data}"
