"""The one place where a call is let in or refused, for every door and dialect. No I/O.

Order, as rules arrive: role and model, hooks, template, size, then one atomic reservation of requests, tokens,
concurrency and dollars. `settle` gives back what was reserved and not used.
"""

from dataclasses import dataclass, field
from decimal import Decimal
from hashlib import sha256

from llmlens.errors import Unauthenticated
from llmlens.gateway.call import Call
from llmlens.records import Principal, Usage
from llmlens.wire import headers as names

OWNER = Principal(key_id="owner", role="owner")
OUR_PREFIX = "llk-"
KEY_HEADERS = ("authorization", "x-api-key", "x-goog-api-key", "api-key")  # where SDKs put a key


@dataclass(frozen=True, slots=True)
class Ticket:
    """A call was let in. What it reserved is settled once its true size is known."""

    call_id: str

    def settle(self, usage: Usage | None, cost_usd: Decimal | None) -> None:
        """The call has ended, having used this much; None: nothing was used."""


@dataclass(slots=True)
class Gate:
    """Keys are held as SHA-256 only; a lookup by digest gives a timing attacker nothing to measure."""

    max_body_bytes: int
    _principals: dict[bytes, Principal] = field(default_factory=dict)

    def add_key(self, key: str, principal: Principal) -> None:
        """From now on `key` is `principal`'s."""
        self._principals[sha256(key.encode()).digest()] = principal

    def who(self, headers: dict[str, str]) -> tuple[Principal, str | None]:
        """Who calls, and the provider key of the caller's own, if one came along.

        Our key is taken out of `headers`, so that it goes no further.

        Raises:
            Unauthenticated: no key of ours among x-llmlens-key, Authorization, x-api-key, x-goog-api-key.
        """
        principal = self._known(headers.pop(names.KEY, None))
        credential = None
        for name in KEY_HEADERS:
            value = headers.get(name)
            if value is None:
                continue
            key = value[7:] if value[:7].lower() == "bearer " else value
            if found := self._known(key):
                principal = found  # said by the caller, so it counts before the one that llmlens adds
                del headers[name]
            elif key.startswith(OUR_PREFIX):  # an old key of ours is nobody's credential
                del headers[name]
            else:
                credential = credential or key
        if principal is None:
            raise Unauthenticated(
                "no valid llmlens key: send it as 'Authorization: Bearer …', 'x-api-key' or 'x-llmlens-key'. "
                "In a notebook `%load_ext llmlens` does it; elsewhere `llmlens status --key` shows it"
            )
        return principal, credential

    def admit(self, call: Call) -> Ticket:
        """Reserve what `call` may use, or raise a Denied."""
        return Ticket(call.id)

    def _known(self, key: str | None) -> Principal | None:
        return self._principals.get(sha256(key.encode("utf-8", "replace")).digest()) if key else None
