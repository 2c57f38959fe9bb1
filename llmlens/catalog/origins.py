"""Origins as the catalogue writes them: `https://api.openai.com`, or with `*` for a label of the host or a part of it.

    https://*.openai.azure.com                  https://mine.openai.azure.com
    https://bedrock-runtime.*.amazonaws.com     https://bedrock-runtime.eu-west-1.amazonaws.com

A `*` stands for letters, digits and hyphens of one label: never for a dot, so not for a longer host; never for a port
or a user name. `check_stars` allows it with https only, and where at least the last two labels are written out.
"""

import re
from functools import lru_cache
from urllib.parse import urlsplit

_LABEL = "[a-z0-9-]+"


@lru_cache(maxsize=1024)
def origin_of(url: str) -> str:
    """Scheme, host and port of `url`, in lower case."""
    split = urlsplit(url)
    return f"{split.scheme}://{split.netloc}".lower()


def part_under(url: str, prefix: str) -> str | None:
    """The beginning of `url` that `prefix` stands for; None where it does not lead there.

    It ends at a "/", at "?" or at the end of `url`. Hosts compare in lower case.
    """
    if "*" in prefix:
        match = _pattern(prefix).match(url)
        begin = match[0] if match else None
    else:
        begin = prefix if url.startswith(prefix) else None
    return begin if begin is not None and url[len(begin) : len(begin) + 1] in ("", "/", "?") else None


def fits(pattern: str, origin: str) -> bool:
    """Whether `origin` (scheme, host and port, in lower case) is the one that `pattern` names, or one of those."""
    return part_under(origin, pattern) == origin


@lru_cache(maxsize=4096)  # asked of every provider per call
def among(prefixes: tuple[str, ...], origin: str) -> bool:
    """Whether `origin` (in lower case) is that of one of the URL `prefixes`."""
    return any(fits(origin_of(prefix), origin) for prefix in prefixes)


def check_stars(url: str) -> str | None:
    """What is wrong with the `*` in `url`; None where there is nothing."""
    if "*" not in url:
        return None
    split = urlsplit(url)
    if split.scheme != "https" or "*" in split.path:
        return "may have '*' only in the host, and only with https://"
    if split.netloc.rpartition("*")[2].count(".") < 2:
        return "must name at least the last two labels of the host"
    return None


@lru_cache(maxsize=256)
def _pattern(prefix: str) -> re.Pattern[str]:
    return re.compile(_LABEL.join(map(re.escape, prefix.split("*"))))
