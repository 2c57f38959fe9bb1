"""What the simulated models can do: arithmetic, labels, extraction, summaries, JSON, tools. And how often they err."""

import json
import re
import time
from math import sqrt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmlens.catalog.problems import arithmetic_problems, problem_kinds
from llmlens.catalog.simulated import SIM_MODELS
from llmlens.gateway.sim.answers import compose
from llmlens.gateway.sim.arithmetic import solve
from llmlens.gateway.sim.expressions import find_expression
from llmlens.gateway.sim.fields import Filler
from llmlens.gateway.sim.labels import classify, labels_of
from llmlens.gateway.sim.requests import read_chat
from llmlens.gateway.sim.texts import central_sentences, sentences

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the current weather of a place",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1, "maximum": 7}},
            "required": ["city"],
        },
    },
}
ADD = {
    "type": "function",
    "function": {
        "name": "add_numbers",
        "description": "Add two numbers",
        "parameters": {"type": "object", "properties": {"a": {"type": "number"}, "b": {"type": "number"}}},
    },
}


# ── arithmetic ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", problem_kinds())
@pytest.mark.parametrize(
    "wrap", ["{}", "Solve this.\n{}\nAnswer with only a number.", "Q: What is 2 + 2?\nA: 4\nQ: {}\nA:"]
)
def test_every_kind_of_problem_is_read_right(kind, wrap):
    problems = [p for p in arithmetic_problems(17 * 25, seed=11) if p["kind"] == kind]
    for problem in problems:
        prompt = wrap.format(problem["question"])
        asked = read_chat(json.dumps({"model": "echo", "messages": [{"role": "user", "content": prompt}]}).encode())
        question = re.split(r"Q: ", asked.turns[0].text)[-1].removesuffix("\nA:")
        assert (problem, int(solve(question).value)) == (problem, problem["answer"])


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("A baker made 48 rolls. She sold 29 and baked 12 more. How many rolls are there now?", 31),
        ("Tom has three boxes with 12 pencils each. He loses 5 pencils. How many pencils does he have?", 31),
        ("If I buy 4 pens at $3 each, how much do I pay?", 12),
        ("There are 24 students. They are split into 4 equal groups. How many students are in each group?", 6),
        ("A shop sells 1,200 cards. Then it sells twenty-five more. How many cards does it sell in total?", None),
        ("What is 15% of 200?", 30),
        ("Calculate 7 x 8.", 56),
        ("What is the capital of France?", None),
        ("The war lasted from 1914 - 1918. Who won it?", None),
        ("Call me on 2024-05-06?", None),
        ("What is 3 / 0?", None),
    ],
)
def test_problems_it_was_not_made_for(question, answer):
    solved = solve(question)
    if answer is not None:
        assert solved.value == answer
    else:
        assert solved is None or solved.value >= 0


@given(st.integers(0, 999), st.integers(1, 99), st.integers(0, 99))
def test_expressions_follow_the_rules_of_precedence(a, b, c):
    assert find_expression(f"What is {a} + {b} * {c}?").value == a + b * c
    assert find_expression(f"What is ({a} - {b}) * {c}?").value == (a - b) * c
    assert find_expression(f"Calculate {a} times {b} minus {c}").value == a * b - c
    assert find_expression(f"{a} / {b}").value * b == a


def answer_of(text):
    """What a scorer would read: the last number."""
    return int(re.findall(r"-?\d+", text)[-1])


def share_right(model, problems, temperature, sample=0):
    right = 0
    for problem in problems:
        body = {
            "model": model,
            "temperature": temperature,
            "messages": [{"role": "user", "content": problem["question"]}],
        }
        said = compose(read_chat(json.dumps(body).encode()), sample, 0).text
        right += answer_of(said) == problem["answer"]
    return right / len(problems)


@pytest.mark.parametrize("model", ["large", "medium", "small"])
@pytest.mark.parametrize("temperature", [0, 0.7, 1])
def test_the_error_rate_is_the_documented_one(model, temperature):
    """Over 600 problems, within 3.3 standard errors (one run in a thousand would fail; the draws are fixed)."""
    n, rate = 600, SIM_MODELS[model].error_rate
    wrong = 1 - share_right(model, arithmetic_problems(n, seed=2026), temperature)
    assert abs(wrong - rate) < 3.3 * sqrt(rate * (1 - rate) / n)


def test_better_models_are_better_and_a_vote_over_samples_helps():
    problems = arithmetic_problems(200, seed=5)
    large, small = (share_right(model, problems, 1) for model in ("large", "small"))
    assert large > small
    voted = 0
    for problem in problems:
        body = {"model": "small", "messages": [{"role": "user", "content": problem["question"]}]}
        ask = read_chat(json.dumps(body).encode())
        said = [answer_of(compose(ask, sample, 0).text) for sample in range(9)]
        voted += max(set(said), key=said.count) == problem["answer"]
    assert voted / 200 > small + 0.05


async def test_the_work_is_shown_unless_only_the_number_is_wanted(sim):
    problem = "Tom has 3 boxes with 12 pencils each. He loses 5 pencils. How many pencils does he have?"
    assert "36 - 5 = " in await sim.text(problem)
    assert (await sim.text(problem + " Answer with only the number.")).lstrip("-").isdigit()
    system = [{"role": "system", "content": "Reply with just the number."}, {"role": "user", "content": problem}]
    assert (await sim.text(system)).lstrip("-").isdigit()
    assert "#### " in await sim.text(problem + " End with #### and the number.")


# ── labels, extraction, summaries ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("prompt", "label"),
    [
        ("Classify the sentiment as positive, negative or neutral.\nReview: I loved it, wonderful!", "positive"),
        ("Classify the sentiment as Positive, Negative or Neutral.\nReview: Cold food, rude staff.", "Negative"),
        ("Is this review positive or negative? I loved it, great acting.", "positive"),
        ('Is this review positive or negative? "Not good at all, a waste of money."', "negative"),
        ("Labels: sports, politics, technology\nText: The striker scored twice and the team won the match.", "sports"),
        ("Classify into one of: billing, shipping, technical.\n\nI was charged twice, I want a refund.", "billing"),
        ("What is the sentiment of 'the parcel arrived on Tuesday'?", "neutral"),
        ("Categories: [spam, ham]. Message: You are a winner! Click to claim your free prize.", "spam"),
    ],
)
def test_classification(prompt, label):
    assert classify(prompt).label == label


@pytest.mark.parametrize("prompt", ["What is 3 plus 4?", "Hello there", "Tell me one of your secrets"])
def test_other_prompts_are_not_taken_for_a_classification(prompt):
    assert labels_of(prompt) == ()


def test_labels_are_wrong_as_often_as_documented():
    """The text always is a praise, so "positive" is right."""
    wrong = 0
    for i in range(600):
        content = f"Classify as positive or negative.\nReview: Wonderful, I love item {i}."
        body = {"model": "small", "messages": [{"role": "user", "content": content}]}
        wrong += compose(read_chat(json.dumps(body).encode()), 0, 0).text != "positive"
    assert abs(wrong / 600 - 0.30) < 3.3 * sqrt(0.3 * 0.7 / 600)


async def test_answers_are_found_in_the_text(sim):
    text = "The museum was built in 1892 by Anna Berg. It holds 300 paintings. Entry is free on Sundays."
    assert "Anna Berg" in await sim.text(f"{text}\n\nWho built the museum?")
    assert "free on Sundays" in await sim.text(f"{text}\n\nWhen is the entry free?")


async def test_what_the_text_does_not_say_is_not_invented(sim):
    assert "simulated model" in await sim.text("Who wrote Hamlet?")


ARTICLE = (
    "The city council approved a new tram line. The tram line will connect the station with the harbour. "
    "Bananas were sold out on Friday. Building the tram line will take three years. A dog barked."
)


@pytest.mark.parametrize(("ask", "n"), [("Summarize in one sentence", 1), ("Give a summary in 2 sentences of this", 2)])
async def test_summaries_are_central_sentences_of_the_text(sim, ask, n):
    said = sentences(await sim.text(f"{ask}:\n\n{ARTICLE}"))
    assert len(said) == n
    assert all(sentence in ARTICLE and "tram" in sentence for sentence in said)


@given(st.lists(st.sampled_from(sentences(ARTICLE)), min_size=1, max_size=12), st.integers(1, 5))
def test_a_summary_never_repeats_a_sentence_and_keeps_the_order(parts, n):
    text = " ".join(parts)
    found = central_sentences(text, n)
    assert len(found) == min(n, len(set(parts)))
    first = list(dict.fromkeys(parts))
    assert [first.index(s) for s in found] == sorted(first.index(s) for s in found)


@pytest.mark.parametrize(
    ("prompt", "text"),
    [("Say hello", "hello"), ("Say this is a test", "this is a test"), ("Reply with: pong", "pong")],
)
async def test_it_repeats_what_it_is_told_to(sim, prompt, text):
    assert await sim.text(prompt) == text


# ── JSON and tools ────────────────────────────────────────────────────────────────────────────────────────────────


def schema_format(schema):
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}


async def test_json_is_filled_from_the_text(sim):
    schema = {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "age": {"type": "integer"},
            "city": {"type": "string"},
            "email": {"type": "string"},
            "joined": {"type": "string", "format": "date"},
        },
        "required": ["name", "age"],
    }
    text = "Text: On 2024-03-01 we met Anna Smith, who is 34 years old and lives in Berlin (anna@example.org)."
    found = json.loads(await sim.text(text, response_format=schema_format(schema)))
    assert found == {
        "name": "Anna Smith",
        "age": 34,
        "city": "Berlin",
        "email": "anna@example.org",
        "joined": "2024-03-01",
    }


async def test_json_object_takes_its_keys_from_the_prompt(sim):
    prompt = "Return JSON with the keys name and city: we met Anna Smith in Berlin."
    found = json.loads(await sim.text(prompt, response_format={"type": "json_object"}))
    assert found == {"name": "Anna Smith", "city": "Berlin"}


async def test_a_calculation_goes_into_the_answer_field(sim):
    schema = {"type": "object", "properties": {"steps": {"type": "array", "items": {"type": "string"}},
                                               "answer": {"type": "integer"}}}  # fmt: skip
    found = json.loads(await sim.text("What is 12 * (3 + 4)?", temperature=0, response_format=schema_format(schema)))
    assert found == {"steps": ["3 + 4 = 7", "12 * 7 = 84"], "answer": 84}


async def test_an_enumeration_is_a_classification(sim):
    schema = {"type": "object", "properties": {"mood": {"enum": ["positive", "negative"]}}}
    found = json.loads(
        await sim.text("Review: I hated it, awful.", temperature=0, response_format=schema_format(schema))
    )
    assert found == {"mood": "negative"}


LEAVES = st.sampled_from(
    [
        {"type": "string"},
        {"type": "string", "minLength": 3, "maxLength": 8},
        {"type": "integer", "minimum": 5, "maximum": 9},
        {"type": "number", "exclusiveMinimum": 0},
        {"type": "integer", "multipleOf": 5},
        {"type": "boolean"},
        {"type": "null"},
        {"enum": ["a", "b"]},
        {"enum": [1, None, "x"]},
        {"const": 7},
        {"type": ["string", "null"]},
        {"anyOf": [{"type": "null"}, {"type": "integer"}]},
        {"$ref": "#/$defs/thing"},
    ]
)
SCHEMAS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.dictionaries(st.sampled_from(["name", "age", "answer", "x"]), inner, max_size=3).map(
            lambda p: {"type": "object", "properties": p, "required": list(p), "additionalProperties": False}
        ),
        st.tuples(inner, st.integers(0, 4)).map(lambda t: {"type": "array", "items": t[0], "minItems": t[1]}),
    ),
    max_leaves=6,
)


@settings(max_examples=50, deadline=None)
@given(SCHEMAS, st.sampled_from(["", "no digits here", "Anna is 34 and has 2.5 dogs in Rome", "-7 or 1,000?"]))
def test_what_is_filled_in_is_valid(schema, text):
    jsonschema = pytest.importorskip("jsonschema")
    whole = {"$defs": {"thing": {"type": "object", "properties": {"age": {"type": "integer"}}}}, **schema}
    jsonschema.validate(Filler(text, 3, root=whole).fill(whole), whole)


def test_a_schema_that_contains_itself_ends():
    tree = {"type": "object", "properties": {"next": {"$ref": "#"}}, "required": ["next"]}
    assert isinstance(Filler("x", root=tree).fill(tree), dict)


async def test_a_tool_that_fits_is_called_with_arguments_from_the_prompt(sim):
    _, body = await sim.chat("What will the weather in Paris be like for 3 days?", tools=[ADD, WEATHER])
    choice = body["choices"][0]
    call = choice["message"]["tool_calls"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    assert call["function"]["name"] == "get_weather"
    assert json.loads(call["function"]["arguments"]) == {"city": "Paris", "days": 3}


async def test_numbers_go_to_arguments_in_order(sim):
    _, body = await sim.chat("Please add 17 and 25", tools=[WEATHER, ADD])
    call = body["choices"][0]["message"]["tool_calls"][0]["function"]
    assert (call["name"], json.loads(call["arguments"])) == ("add_numbers", {"a": 17, "b": 25})


@pytest.mark.parametrize(
    ("choice", "called"),
    [
        ("auto", None),
        ("none", None),
        ("required", True),
        ({"type": "function", "function": {"name": "add_numbers"}}, "add_numbers"),
    ],
)
async def test_tool_choice_is_honoured(sim, choice, called):
    _, body = await sim.chat("Tell me a joke", tools=[WEATHER, ADD], tool_choice=choice)
    calls = body["choices"][0]["message"].get("tool_calls")
    assert bool(calls) == bool(called)
    if isinstance(called, str):
        assert calls[0]["function"]["name"] == called


async def test_the_result_of_a_tool_is_told(sim):
    call = {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": "What is the weather in Paris?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": '{"sky": "clear", "degrees": 21}'},
    ]
    said = await sim.text(messages, tools=[WEATHER])
    assert "clear" in said
    assert "21" in said


async def test_streamed_tool_calls_join_to_the_plain_ones(sim):
    prompt = "What is the weather in Paris?"
    events, _ = await sim.stream(prompt, tools=[WEATHER])
    deltas = [e["choices"][0]["delta"]["tool_calls"][0] for e in events if e["choices"][0]["delta"].get("tool_calls")]
    _, plain = await sim.chat(prompt, tools=[WEATHER])
    call = plain["choices"][0]["message"]["tool_calls"][0]
    assert (deltas[0]["id"], deltas[0]["function"]["name"]) == (call["id"], call["function"]["name"])
    assert "".join(d["function"]["arguments"] for d in deltas) == call["function"]["arguments"]
    assert events[-1]["choices"][0]["finish_reason"] == "tool_calls"


# ── odd input ─────────────────────────────────────────────────────────────────────────────────────────────────────

ODD = {
    "one letter": "a" * 200_000,
    "newlines": "\n" * 100_000,
    "blanks": " " * 200_000 + "?",
    "labels": "classify: " + "a, " * 30_000,
    "options": "label as " + "a or " * 10_000,
    "slashes": "topic: " + "a/" * 40_000,
    "hyphens": "a-" * 60_000,
    "address": "a.b" * 50_000 + "@",
    "sum": "what is " + "1+" * 10_000 + "1?",
    "brackets": "what is " + "(" * 500 + "1+1" + ")" * 500,
    "numbers": "1 " * 50_000 + "how many?",
    "capitals": "A" * 20 + " Bc" * 30_000,
    "quotes": '"' * 50_000,
    "sentences": "Summarize: " + "The cat sat. " * 20_000,
}


@pytest.mark.parametrize("prompt", ODD.values(), ids=list(ODD))
@pytest.mark.parametrize("schema", [None, {"properties": {"email": {"type": "string"}, "city": {"type": "string"}}}])
def test_no_prompt_makes_it_think_for_long(prompt, schema):
    """Each regular expression here once was, or could be, quadratic. Each took under 0.15 s when measured."""
    body = {"model": "large", "messages": [{"role": "user", "content": prompt}]}
    if schema:
        body["response_format"] = schema_format(schema)
    started = time.perf_counter()
    compose(read_chat(json.dumps(body).encode()), 0, 0)
    assert time.perf_counter() - started < 2
