"""What the real SDKs are asked to do in a kernel, sync and async, plain and streamed. `sdk_report.py` prints it.

Every SDK is one asynchronous generator. `at` is the address of the provider, None: the SDK's own default. It yields the
kind of each call, the recording that is to answer it (the key says which, or a header), and what the SDK made of it.
SDKs are imported where they are used, as in a notebook: after `%load_ext llmlens`.
"""

import os
from collections.abc import AsyncIterator, Callable
from functools import cache
from typing import Any

Calls = AsyncIterator[tuple[str, str, Any]]

HELLO: Any = [{"role": "user", "content": "Say hello."}]
# Pairs: a plain answer and a streamed one.
OPENAI = ("openai.chat.sync.tions-api-invoked-via-prompt-positional-argument.475cc746",
          "openai.chat.stream.test-agent-run-streaming-with-tools.60af362d")  # fmt: skip
RESPONSES = ("openai.responses.sync.test-responses-with-service-tier.a23bea22",
             "openai.responses.stream.streaming.6fbac255")  # fmt: skip
OPENAI_EMBEDDING = "openai.embeddings.sync.testclient-createembeddingwithdimensions.b19cf461"
AZURE = ("azure.chat.sync.ureresponsescall-test-completions-call-unchanged.d6200420",
         "azure.chat.stream.completion-azure-stream.f39b102c")  # fmt: skip
ANTHROPIC = ("anthropic.messages.sync.test-anthropic-provider.a74f19e2",
             "anthropic.messages.stream.test-litellm-provider.1f0a87d4")  # fmt: skip
VERTEX_CLAUDE = "vertex.anthropic_messages.sync.simple.2024e0eb"
INVOKE = ("bedrock.invoke.sync.test-prompt-cache.2abb8f70", "bedrock.invoke.stream.tool-streaming.56b8c71e")
CONVERSE = ("bedrock.converse.sync.testnovainvokemodel-test-nova-converse.c7e079ec",
            "bedrock.converse.stream.test-converse-stream-with-content.14aa7297")  # fmt: skip
GEMINI = ("gemini.generate.sync.odels-gemini-gemini-2-0-flash-thinking-exp-01-21.8778bc21",
          "gemini.generate.stream.test-generate-content-with-file-uri-image-true.863cb5af")  # fmt: skip
GEMINI_EMBEDDING = "gemini.embeddings.sync.emini-embedding-2-embeds-an-image-alongside-text.f173965b"
VERTEX = ("vertex.generate.sync.turns-grounding-citations-when-search-is-enabled.0f7d4e07",
          "vertex.generate.stream.se-tools-with-multi-turn-streaming-conversations.b3cb120d")  # fmt: skip
MISTRAL = ("mistral.chat.sync.test-mistral-provider.9646a6ec", "mistral.chat.stream.test-mistral-provider.988ba08b")
MISTRAL_EMBEDDING = "mistral.embeddings.sync.mistral-v1-embeddings-post-9b4b22cf.6f52d108"
COHERE = ("cohere.chat.sync.6-can-understand-remote-images-without-extension.23969b13",
          "cohere.chat.stream.se-tools-with-multi-turn-streaming-conversations.fd25c3eb")  # fmt: skip
COHERE_EMBEDDING = "cohere.embeddings.sync.-can-handle-a-single-text-with-custom-dimensions.0b62a9af"
GROQ = ("groq.chat.sync.tool.b8a38571", "groq.chat.stream.multi-tool-streaming.0be5ba83")
OLLAMA = ("ollama.chat.sync.lama-operation-duration-includes-model-attribute.731dcea1",
          "ollama.chat.stream.testwithpullmodel.035d709d")  # fmt: skip
GENERATE = ("ollama.generate.sync.test-ollama-async-generation-legacy.dff61551",
            "ollama.generate.stream.test-ollama-async-streaming-generation-legacy.7ce07650")  # fmt: skip
OLLAMA_EMBEDDING = "ollama.embeddings.sync.testcreateembedding.3f72b013"


def key(recording: str) -> str:
    return f"cassette:{recording}"


def below(at: str | None, path: str) -> str | None:
    return at and at + path


async def all_of(stream: Any) -> list[Any]:
    return [one async for one in stream]


# ── OpenAI and what looks like it ─────────────────────────────────────────────────────────────────────────────────


async def openai(at: str | None) -> Calls:
    import openai

    def sync(recording: str) -> Any:
        return openai.OpenAI(api_key=key(recording), base_url=below(at, "/v1"), max_retries=0)

    def over(recording: str) -> Any:
        return openai.AsyncOpenAI(api_key=key(recording), base_url=below(at, "/v1"), max_retries=0)

    plain, streamed = OPENAI
    chat: Any = {"model": "gpt-4o-mini", "messages": HELLO}
    yield "chat", plain, sync(plain).chat.completions.create(**chat)
    yield "chat stream", streamed, list(sync(streamed).chat.completions.create(**chat, stream=True))
    yield "chat async", plain, await over(plain).chat.completions.create(**chat)
    yield "chat async stream", streamed, await all_of(await over(streamed).chat.completions.create(**chat, stream=True))
    plain, streamed = RESPONSES
    ask: Any = {"model": "gpt-4o-mini", "input": "Say hello."}
    yield "responses", plain, sync(plain).responses.create(**ask)
    yield "responses stream", streamed, list(sync(streamed).responses.create(**ask, stream=True))
    yield "responses async", plain, await over(plain).responses.create(**ask)
    yield "responses async stream", streamed, await all_of(await over(streamed).responses.create(**ask, stream=True))
    text: Any = {"model": "text-embedding-3-small", "input": "hello"}
    yield "embeddings", OPENAI_EMBEDDING, sync(OPENAI_EMBEDDING).embeddings.create(**text)
    yield "embeddings async", OPENAI_EMBEDDING, await over(OPENAI_EMBEDDING).embeddings.create(**text)


async def openai_azure(at: str | None) -> Calls:
    import openai

    def client(kind: Any, recording: str) -> Any:
        endpoint = at or "https://mine.openai.azure.com"
        return kind(api_key=key(recording), azure_endpoint=endpoint, api_version="2024-12-01-preview", max_retries=0)

    plain, streamed = AZURE
    chat: Any = {"model": "my-deployment", "messages": HELLO}
    yield "chat", plain, client(openai.AzureOpenAI, plain).chat.completions.create(**chat)
    stream = client(openai.AzureOpenAI, streamed).chat.completions.create(**chat, stream=True)
    yield "chat stream", streamed, list(stream)
    yield "chat async", plain, await client(openai.AsyncAzureOpenAI, plain).chat.completions.create(**chat)
    stream = await client(openai.AsyncAzureOpenAI, streamed).chat.completions.create(**chat, stream=True)
    yield "chat async stream", streamed, await all_of(stream)


async def groq(at: str | None) -> Calls:
    import groq

    plain, streamed = GROQ
    chat: Any = {"model": "llama-3.3-70b-versatile", "messages": HELLO}

    def client(kind: Any, recording: str) -> Any:
        return kind(api_key=key(recording), base_url=at, max_retries=0).chat.completions

    yield "chat", plain, client(groq.Groq, plain).create(**chat)
    yield "chat stream", streamed, list(client(groq.Groq, streamed).create(**chat, stream=True))
    yield "chat async", plain, await client(groq.AsyncGroq, plain).create(**chat)
    stream = await client(groq.AsyncGroq, streamed).create(**chat, stream=True)
    yield "chat async stream", streamed, await all_of(stream)


async def mistralai(at: str | None) -> Calls:
    from mistralai.client import Mistral

    plain, streamed = MISTRAL
    chat: Any = {"model": "mistral-small-latest", "messages": HELLO}

    def client(recording: str) -> Any:
        return Mistral(api_key=key(recording), server_url=at)

    yield "chat", plain, client(plain).chat.complete(**chat)
    yield "chat stream", streamed, list(client(streamed).chat.stream(**chat))
    yield "chat async", plain, await client(plain).chat.complete_async(**chat)
    yield "chat async stream", streamed, await all_of(await client(streamed).chat.stream_async(**chat))
    text: Any = {"model": "mistral-embed", "inputs": ["hello"]}
    yield "embeddings", MISTRAL_EMBEDDING, client(MISTRAL_EMBEDDING).embeddings.create(**text)
    yield "embeddings async", MISTRAL_EMBEDDING, await client(MISTRAL_EMBEDDING).embeddings.create_async(**text)


async def langchain_openai(at: str | None) -> Calls:
    from langchain_openai import ChatOpenAI

    def model(recording: str, **options: Any) -> Any:
        return ChatOpenAI(
            model="gpt-4o-mini", api_key=key(recording), base_url=below(at, "/v1"), max_retries=0, **options
        )

    def told(message: Any) -> Any:  # its id is made up on the spot
        return [message.content, message.response_metadata, message.usage_metadata]

    plain, streamed = OPENAI
    yield "chat", plain, told(model(plain).invoke("Say hello."))
    yield "chat stream", streamed, [told(chunk) for chunk in model(streamed).stream("Say hello.")]
    yield "chat async", plain, told(await model(plain).ainvoke("Say hello."))
    yield "chat async stream", streamed, [told(chunk) async for chunk in model(streamed).astream("Say hello.")]
    plain, streamed = RESPONSES
    yield "responses", plain, told(model(plain, use_responses_api=True).invoke("Say hello."))
    yield (
        "responses async stream", streamed,
        [told(chunk) async for chunk in model(streamed, use_responses_api=True).astream("Say hello.")],
    )  # fmt: skip


# ── Anthropic ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def _messages(sync: Callable[[str], Any], over: Callable[[str], Any], plain: str, streamed: str | None) -> Calls:
    ask: Any = {"model": "claude-haiku-4-5", "max_tokens": 99, "messages": HELLO}
    yield "messages", plain, sync(plain).messages.create(**ask)
    yield "messages async", plain, await over(plain).messages.create(**ask)
    if streamed is not None:
        yield "messages stream", streamed, list(sync(streamed).messages.create(**ask, stream=True))
        stream = await over(streamed).messages.create(**ask, stream=True)
        yield "messages async stream", streamed, await all_of(stream)


async def anthropic(at: str | None) -> Calls:
    import anthropic

    def sync(recording: str) -> Any:
        return anthropic.Anthropic(api_key=key(recording), base_url=at, max_retries=0)

    def over(recording: str) -> Any:
        return anthropic.AsyncAnthropic(api_key=key(recording), base_url=at, max_retries=0)

    async for call in _messages(sync, over, *ANTHROPIC):
        yield call


async def anthropic_bedrock(at: str | None) -> Calls:
    import anthropic

    def client(kind: Any) -> Callable[[str], Any]:
        return lambda recording: kind(api_key=key(recording), aws_region="us-west-2", base_url=at, max_retries=0)

    async for call in _messages(client(anthropic.AnthropicBedrock), client(anthropic.AsyncAnthropicBedrock), *INVOKE):
        yield call


async def anthropic_vertex(at: str | None) -> Calls:
    import anthropic

    def client(kind: Any) -> Callable[[str], Any]:
        base_url = below(at, "/v1")
        return lambda recording: kind(
            access_token=key(recording), project_id="mine", region="us-east5", base_url=base_url, max_retries=0
        )

    sync, over = client(anthropic.AnthropicVertex), client(anthropic.AsyncAnthropicVertex)
    async for call in _messages(sync, over, VERTEX_CLAUDE, None):
        yield call


# ── Google ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def _generate(client: Callable[[str], Any], plain: str, streamed: str, text: str = "Say hello.") -> Calls:
    ask: Any = {"model": "gemini-2.5-flash", "contents": text}
    yield "generate", plain, client(plain).models.generate_content(**ask)
    yield "generate stream", streamed, list(client(streamed).models.generate_content_stream(**ask))
    yield "generate async", plain, await client(plain).aio.models.generate_content(**ask)
    stream = await client(streamed).aio.models.generate_content_stream(**ask)
    yield "generate async stream", streamed, await all_of(stream)


async def google_genai(at: str | None) -> Calls:
    from google import genai

    @cache  # a client that nobody holds closes itself
    def client(recording: str) -> Any:
        return genai.Client(api_key=key(recording), http_options={"base_url": at} if at else None)

    async for call in _generate(client, *GEMINI):
        yield call
    text: Any = {"model": "gemini-embedding-001", "contents": "hello"}
    yield "embed", GEMINI_EMBEDDING, client(GEMINI_EMBEDDING).models.embed_content(**text)
    yield "embed async", GEMINI_EMBEDDING, await client(GEMINI_EMBEDDING).aio.models.embed_content(**text)


async def google_genai_httpx2(at: str | None) -> Calls:
    """As where aiohttp is not installed."""
    import httpx2
    from google import genai

    @cache
    def client(recording: str) -> Any:
        options: Any = {"httpx_async_client": httpx2.AsyncClient(), "base_url": at}
        return genai.Client(api_key=key(recording), http_options={k: v for k, v in options.items() if v})

    async for call in _generate(client, *GEMINI, text="Say hello again."):  # the cache knows the former
        yield call


async def google_genai_vertex(at: str | None) -> Calls:
    from google import genai
    from google.oauth2.credentials import Credentials

    @cache
    def client(recording: str) -> Any:
        return genai.Client(
            vertexai=True, project="mine", location="us-east5", credentials=Credentials(token=key(recording)),
            http_options={"base_url": at} if at else None,
        )  # fmt: skip

    async for call in _generate(client, *VERTEX):
        yield call


# ── others ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def cohere(at: str | None) -> Calls:
    import cohere

    plain, streamed = COHERE
    chat: Any = {"model": "command-a-03-2025", "messages": HELLO}

    def client(kind: Any, recording: str) -> Any:
        return kind(key(recording), base_url=at)

    yield "chat", plain, client(cohere.ClientV2, plain).chat(**chat)
    yield "chat stream", streamed, list(client(cohere.ClientV2, streamed).chat_stream(**chat))
    yield "chat async", plain, await client(cohere.AsyncClientV2, plain).chat(**chat)
    stream = client(cohere.AsyncClientV2, streamed).chat_stream(**chat)
    yield "chat async stream", streamed, await all_of(stream)
    text: Any = {"model": "embed-v4.0", "texts": ["hello"], "input_type": "search_query", "embedding_types": ["float"]}
    yield "embed", COHERE_EMBEDDING, client(cohere.ClientV2, COHERE_EMBEDDING).embed(**text)
    yield "embed async", COHERE_EMBEDDING, await client(cohere.AsyncClientV2, COHERE_EMBEDDING).embed(**text)


async def ollama(at: str | None) -> Calls:
    import ollama

    def client(kind: Any, recording: str) -> Any:
        return kind(host=at, headers={"authorization": f"Bearer {key(recording)}"})

    one, many = ollama.Client, ollama.AsyncClient
    plain, streamed = OLLAMA
    chat: Any = {"model": "gemma3:1b", "messages": HELLO}
    yield "chat", plain, client(one, plain).chat(**chat)
    yield "chat stream", streamed, list(client(one, streamed).chat(**chat, stream=True))
    yield "chat async", plain, await client(many, plain).chat(**chat)
    yield "chat async stream", streamed, await all_of(await client(many, streamed).chat(**chat, stream=True))
    plain, streamed = GENERATE
    ask: Any = {"model": "gemma3:1b", "prompt": "Say hello."}
    yield "generate", plain, client(one, plain).generate(**ask)
    yield "generate async stream", streamed, await all_of(await client(many, streamed).generate(**ask, stream=True))
    yield "embed", OLLAMA_EMBEDDING, client(one, OLLAMA_EMBEDDING).embed(model="all-minilm", input="hello")


async def botocore(at: str | None) -> Calls:
    """Signed with the caller's own keys; the header that chooses the recording is signed too."""
    from botocore.session import get_session

    def client(recording: str) -> Any:
        made = get_session().create_client(
            "bedrock-runtime", "eu-west-1", endpoint_url=at,
            aws_access_key_id="AKIDEXAMPLE", aws_secret_access_key="not-a-secret",
        )  # fmt: skip
        made.meta.events.register(
            "before-sign", lambda request, **_: request.headers.add_header("x-cassette-id", recording)
        )
        return made

    def told(answer: Any) -> Any:
        return {k: list(v) if k == "stream" else v for k, v in answer.items() if k != "ResponseMetadata"}

    plain, streamed = CONVERSE
    ask: Any = {"modelId": "amazon.nova-micro-v1:0", "messages": [{"role": "user", "content": [{"text": "Hello"}]}]}
    yield "converse", plain, told(client(plain).converse(**ask))
    yield "converse stream", streamed, told(client(streamed).converse_stream(**ask))


async def litellm(at: str | None) -> Calls:
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else it is fetched at the import
    import litellm

    litellm.telemetry = False
    homes: list[tuple[str, str, tuple[str, str], str | None]] = [
        ("openai", "openai/gpt-4o-mini", OPENAI, below(at, "/v1")),
        ("anthropic", "anthropic/claude-haiku-4-5", ANTHROPIC, below(at, "/v1/messages")),
        ("mistral", "mistral/mistral-small-latest", MISTRAL, below(at, "/v1")),
        ("gemini", "gemini/gemini-2.5-flash", GEMINI, below(at, "/v1beta/models/gemini-2.5-flash")),
    ]
    for home, model, (plain, streamed), base in homes:

        def ask(recording: str, model: str = model, base: str | None = base) -> Any:
            return {"model": model, "messages": HELLO, "api_key": key(recording), "api_base": base, "num_retries": 0}

        # Said, since litellm asks for the usage by itself at OpenAI's own address only.
        flow: Any = {"stream": True, "stream_options": {"include_usage": True}}
        yield f"{home} chat", plain, told_by_litellm(litellm.completion(**ask(plain)))
        chunks = list(litellm.completion(**ask(streamed), **flow))
        yield f"{home} chat stream", streamed, [told_by_litellm(chunk) for chunk in chunks]
        yield f"{home} chat async", plain, told_by_litellm(await litellm.acompletion(**ask(plain)))
        stream = await litellm.acompletion(**ask(streamed), **flow)
        yield f"{home} chat async stream", streamed, [told_by_litellm(chunk) async for chunk in stream]
    text: Any = {"model": "openai/text-embedding-3-small", "input": ["hello"], "api_key": key(OPENAI_EMBEDDING)}
    answer = litellm.embedding(**text, api_base=below(at, "/v1"))
    yield "openai embedding", OPENAI_EMBEDDING, answer.data


def told_by_litellm(answer: Any) -> Any:
    """Without what it makes up on the spot."""
    return {k: v for k, v in answer.model_dump(mode="json").items() if k not in ("id", "created")}


SDKS: dict[str, tuple[str, Callable[[str | None], Calls]]] = {
    "openai": ("openai", openai),
    "openai on Azure": ("openai", openai_azure),
    "anthropic": ("anthropic", anthropic),
    "anthropic on Bedrock": ("anthropic", anthropic_bedrock),
    "anthropic on Vertex": ("anthropic", anthropic_vertex),
    "google-genai": ("google-genai", google_genai),
    "google-genai without aiohttp": ("google-genai", google_genai_httpx2),
    "google-genai on Vertex": ("google-genai", google_genai_vertex),
    "mistralai": ("mistralai", mistralai),
    "cohere": ("cohere", cohere),
    "groq": ("groq", groq),
    "ollama": ("ollama", ollama),
    "langchain-openai": ("langchain-openai", langchain_openai),
    "botocore": ("botocore", botocore),
    "litellm": ("litellm", litellm),
}
"""Name → (distribution, its calls)."""
