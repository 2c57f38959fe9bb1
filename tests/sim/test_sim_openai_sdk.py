"""The real OpenAI SDK against the simulated provider: its own parser and exceptions judge our bytes."""

import httpx2
import openai
import pytest
from pydantic import BaseModel


class Sum(BaseModel):
    """What the structured answer must be."""

    answer: int


@pytest.fixture
async def client(sim):
    async def handle(request):
        reply = await sim.upstream.send(path=request.url.path, body=request.content)
        return httpx2.Response(reply.status, headers=reply.headers, content=await reply.body())

    http = httpx2.AsyncClient(transport=httpx2.MockTransport(handle))
    async with openai.AsyncOpenAI(
        api_key="x", base_url="http://sim.invalid/v1", http_client=http, max_retries=0
    ) as made:
        yield made


ASK = [{"role": "user", "content": "What is 12 * (3 + 4)?"}]


async def test_chat(client):
    answer = await client.chat.completions.create(model="large", messages=ASK, temperature=0)
    assert answer.choices[0].message.content.endswith("Answer: 84")
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


async def test_stream(client):
    stream = await client.chat.completions.create(
        model="large", messages=ASK, temperature=0, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text.endswith("Answer: 84")
    assert chunks[-1].usage.completion_tokens > 0


async def test_structured_answers_are_parsed(client):
    answer = await client.chat.completions.parse(model="large", messages=ASK, temperature=0, response_format=Sum)
    assert answer.choices[0].message.parsed == Sum(answer=84)


async def test_embeddings_come_as_base64_by_default(client):
    answer = await client.embeddings.create(model="embed", input=["one", "two"])
    assert [len(row.embedding) for row in answer.data] == [256, 256]


async def test_models(client):
    assert "large" in [model.id async for model in client.models.list()]


@pytest.mark.parametrize(
    ("model", "error"),
    [
        ("down", openai.InternalServerError),
        ("no-such-model", openai.NotFoundError),
        ("embed", openai.BadRequestError),
    ],
)
async def test_faults_raise_the_sdks_own_exceptions(client, model, error):
    with pytest.raises(error):
        await client.chat.completions.create(model=model, messages=ASK)


async def test_the_limit_raises_the_sdks_own_exception(client):
    await client.chat.completions.create(model="limited", messages=ASK)
    with pytest.raises(openai.RateLimitError) as caught:
        await client.chat.completions.create(model="limited", messages=ASK)
    assert caught.value.response.headers["retry-after"] == "1"
