"""The cells of test_sdk_door.py: make the calls of one SDK in a kernel and print what came of it, as JSON."""

import json
import sys
import traceback
import urllib.request
from importlib.metadata import version
from typing import Any

from tests.e2e.sdk_calls import SDKS


async def report(name: str, playback: str, *, directly: bool) -> None:
    """Make the calls of one SDK and print what came of it, as JSON; what goes wrong is told, not raised.

    `directly`: at the address of the playback server; else at the provider's, and llmlens is to lead them there.
    """
    distribution, calls = SDKS[name]
    answers: list[dict[str, Any]] = []
    error = None
    served, captured = _served(playback), _captured()
    try:
        async for kind, recording, answer in calls(playback if directly else None):
            answers.append({"kind": kind, "recording": recording, "answer": _plain(answer)})
    except Exception:  # noqa: BLE001  one SDK must not stop the others
        error = traceback.format_exc()
    print(json.dumps({
        "version": version(distribution), "answers": answers, "error": error,
        "served": _more(_served(playback), served), "captured": _more(_captured(), captured),
    }))  # fmt: skip


def _served(playback: str) -> dict[str, int]:
    """How often each recording was played, by the playback server's own count."""
    # Not through an HTTP library that llmlens watches, nor through a proxy.
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(playback + "/__stats", timeout=20) as page:
        stats = json.load(page)
    return {**stats["served"], "missed": stats["missed"]}


def _captured() -> dict[str, int]:
    """How many calls llmlens captured, by HTTP library; empty where it is not loaded."""
    redirect = sys.modules.get("llmlens.client.redirect")
    door = redirect and redirect.installed()
    return {row["library"]: row["captured"] for row in door.report()} if door else {}


def _more(after: dict[str, int], before: dict[str, int]) -> dict[str, int]:
    return {name: n - before.get(name, 0) for name, n in after.items() if n != before.get(name, 0)}


def _plain(answer: Any) -> Any:
    """As JSON, without the headers of the answer: llmlens adds its own there."""
    if isinstance(answer, list):
        return [_plain(one) for one in answer]
    if hasattr(answer, "model_dump"):
        return {k: v for k, v in answer.model_dump(mode="json").items() if k != "sdk_http_response"}
    return json.loads(json.dumps(answer, default=str))
