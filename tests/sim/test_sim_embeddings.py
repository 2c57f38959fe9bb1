"""Embeddings of the simulated provider: unit vectors in which shared words show."""

import base64
import json
import struct
from math import sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmlens.catalog import tokens
from llmlens.gateway.sim.embedding import embed


async def vectors(sim, given_input, **options):
    reply = await sim.send("/v1/embeddings", {"model": "sim/embed", "input": given_input, **options})
    body = json.loads(await reply.body())
    assert reply.status == 200, body
    return [row["embedding"] for row in body["data"]], body


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


@given(st.text(st.characters()), st.integers(1, 300))
def test_every_text_has_a_vector_of_length_one(text, dimensions):
    vector = embed(text, dimensions)
    assert len(vector) == dimensions
    assert sqrt(cosine(vector, vector)) == pytest.approx(1)


async def test_texts_that_share_words_are_near(sim):
    (cat, cats, tram), _ = await vectors(
        sim, ["The cat sleeps on the sofa", "Cats sleeping on a red sofa", "A tram line connects the harbour"]
    )
    assert cosine(cat, cats) > 0.5
    assert cosine(cat, cats) > cosine(cat, tram) + 0.3


async def test_the_same_text_has_the_same_vector(sim, make_sim):
    assert (await vectors(sim, "Hello world"))[0] == (await vectors(make_sim(), "Hello world"))[0]


async def test_base64_is_the_same_vector_in_float32(sim):
    (plain,), _ = await vectors(sim, "Hello world")
    (packed,), _ = await vectors(sim, "Hello world", encoding_format="base64")
    assert struct.unpack("<256f", base64.b64decode(packed)) == pytest.approx(plain, abs=1e-6)


async def test_dimensions_are_honoured(sim):
    (vector,), _ = await vectors(sim, "Hello world", dimensions=64)
    assert len(vector) == 64


async def test_token_ids_are_the_text_they_stand_for(sim):
    ids = tokens.encode("Hello world")
    assert (await vectors(sim, ids))[0] == (await vectors(sim, "Hello world"))[0]
    assert (await vectors(sim, [ids, ids]))[1]["usage"] == {"prompt_tokens": 4, "total_tokens": 4}


async def test_rows_come_in_order_and_are_counted(sim):
    found, body = await vectors(sim, ["one", "two three"])
    assert [row["index"] for row in body["data"]] == [0, 1]
    assert body["usage"] == {"prompt_tokens": 3, "total_tokens": 3}
    assert len(found[0]) == 256


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"model": "embed"}, "input"),
        ({"model": "embed", "input": ""}, "input"),
        ({"model": "embed", "input": []}, "input"),
        ({"model": "embed", "input": ["x", ""]}, "input"),
        ({"model": "embed", "input": [[-1]]}, "input"),
        ({"model": "embed", "input": ["x"] * 2049}, "input"),
        ({"model": "embed", "input": "x", "dimensions": 257}, "dimensions"),
        ({"model": "embed", "input": "x", "encoding_format": "hex"}, "encoding_format"),
        ({"model": "large", "input": "x"}, "model"),
    ],
)
async def test_wrong_requests_are_refused(sim, body, param):
    reply = await sim.send("/embeddings", body)
    assert (reply.status, json.loads(await reply.body())["error"]["param"]) == (400, param)
