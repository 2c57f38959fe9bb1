"""`/v1/models`: what can be called, of all providers that answer, as `provider/model`. Asked anew once a minute."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

import msgspec

from llmlens.catalog.providers import Provider
from llmlens.errors import ModelUnknown, UpstreamFailed
from llmlens.gateway.route import ANTHROPIC_VERSION, Answering, Router
from llmlens.gateway.upstream import Outgoing

FRESH_S = 60.0
MAX_LIST_BYTES = 16 * 1024 * 1024
PATIENCE_S = 3.0


@dataclass(slots=True)
class Models:
    """The list in OpenAI's shape. A provider that cannot be reached, or has no key, is left out."""

    router: Router
    _body: bytes = b""
    _asked_at: float = field(default=-FRESH_S, init=False)

    async def listing(self) -> bytes:
        """JSON: {"object": "list", "data": [{"id": "provider/model", "object": "model", "owned_by": provider}]}."""
        if not self._body or time.monotonic() - self._asked_at > FRESH_S:
            found = await asyncio.gather(*(self._of(p) for p in self.router.providers.values()))
            data = [model for models in found for model in models]
            self._body = msgspec.json.encode({"object": "list", "data": data})
            self._asked_at = time.monotonic()
        return self._body

    async def answer(self, path: str) -> bytes:
        """The list, or for /v1/models/{id} that one of it.

        Raises:
            ModelUnknown: it is not in the list.
        """
        listing = await self.listing()
        wanted = unquote(path.partition("/models")[2].strip("/"))
        if not wanted:
            return listing
        for model in msgspec.json.decode(listing)["data"]:
            if model["id"] == wanted:
                return msgspec.json.encode(model)
        raise ModelUnknown(f"no model {wanted!r}; GET /v1/models lists those there are", param="model")

    async def _of(self, provider: Provider) -> list[dict[str, Any]]:
        secret = self.router.secret_of(provider)
        if provider.unset or (provider.key_env and secret is None):
            return []
        headers = {"accept-encoding": "identity"}
        if secret:
            value = secret.reveal()
            headers["authorization" if provider.auth == "bearer" else provider.auth] = (
                f"Bearer {value}" if provider.auth == "bearer" else value
            )
        if provider.dialect == "anthropic":
            headers["anthropic-version"] = ANTHROPIC_VERSION
        upstream = self.router.simulated if provider.simulated else self.router.http
        try:
            async with asyncio.timeout(PATIENCE_S):
                incoming = await upstream.send(Outgoing("GET", f"{provider.base_url}/models", headers, b""))
                body = await Answering(incoming, await incoming.read()).whole(MAX_LIST_BYTES)
            data = msgspec.json.decode(body)["data"]
            return [{"object": "model", "owned_by": provider.name, "id": f"{provider.name}/{m['id']}"} for m in data]
        except (TimeoutError, UpstreamFailed, msgspec.DecodeError, KeyError, TypeError):
            return []
