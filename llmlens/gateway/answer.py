"""THE path of a call: log ready → admit → cache → send → relay → record. Read `answer` top to bottom.

Exactly one row per call, whatever happens, and it is in the journal before the last byte of the answer goes out.
"""

import asyncio
import logging

from llmlens.errors import Denied, InternalError
from llmlens.gateway.books import Books, House
from llmlens.gateway.cache import Stored
from llmlens.gateway.call import Call
from llmlens.gateway.caller import Caller
from llmlens.gateway.relay import refuse, relay, replay
from llmlens.gateway.route import Leg

logger = logging.getLogger("llmlens.gateway")


async def answer(call: Call, caller: Caller, house: House) -> None:
    """Answer one call. Raises nothing but CancelledError: every failure is an answer in the caller's dialect."""
    books = Books(call, house)
    caller.watch()
    try:
        house.log.check()
        books.ticket = house.gate.admit(call)
        leg = house.router.leg(call)
        books.going_to(leg)
        stored = await _look_up(call, leg, books)
        if stored is not None:
            await replay(stored, leg, caller, books)
            return
        answering = await house.router.send(call, leg, books.record, books.sample)
        try:
            await relay(answering, leg, caller, books)
        finally:
            answering.incoming.close()
    except Denied as denial:
        await refuse(denial, caller, books)
    except Exception as error:  # a bug of ours is an answer too, and a row that says so
        logger.exception("call %s failed", call.id)
        await refuse(InternalError(f"the gateway failed ({type(error).__name__}); see its log"), caller, books)
    except asyncio.CancelledError:
        books.close("cancelled")
        raise
    finally:
        caller.unwatch()
        books.close("error")  # for what nobody foresaw; closing twice is harmless


async def _look_up(call: Call, leg: Leg, books: Books) -> Stored | None:
    record, cache = books.record, books.house.cache
    record.cache = "miss" if call.cacheable and call.cache_mode != "off" else "off"
    if not call.cacheable:
        return None
    stored, flight = await cache.enter(call, origin=leg.origin, path=leg.path, query=call.query, body=leg.outgoing.body)
    books.flight = flight
    record.cache_key, record.sample = flight.key, flight.sample
    if stored is not None:
        record.cache, record.cached_from = "hit", stored.call_id
    return stored
