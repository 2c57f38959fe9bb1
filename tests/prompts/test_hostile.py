"""Templates that mean harm end with an error, soon, and with little memory."""

import time
import tracemalloc

import pytest

from llmlens.errors import PromptError
from llmlens.prompts import PromptTemplate
from llmlens.prompts.budget import MAX_WORK

MAX_SECONDS = 5.0  # at most 0.5 s on a core of one's own
MAX_BYTES = 100 * 2**20

GROW = "{% set ns = namespace(x=SEED, y=SEED) %}{% for i in range(60) %}{% set ns.x = STEP %}{% set ns.y = ns.x %}{% endfor %}"
LOOP = "{% for i in range(99999) %}BODY{% endfor %}"
BIG = "{% set b = 'x' * 900000 %}"


def grown(seed: str, step: str, use: str) -> str:
    return GROW.replace("SEED", seed).replace("STEP", step) + use


def looped(body: str) -> str:
    return LOOP.replace("BODY", body)


SPENDING = {
    "loops in loops": looped(looped("")),
    "filtered loops": looped("{% for j in range(99999) if false %}{% endfor %}"),
    "a long body": looped("{% if i %}{% endif %}" * 500),
    "a large body": looped("x" * 200_000),
    "a captured body": "{% set a %}" + looped("x" * 200_000) + "{% endset %}",
    "a filtered body": "{% filter upper %}" + looped("x" * 200_000) + "{% endfilter %}",
    "a called body": "{% macro m() %}" + looped("{{ caller() }}") + "{% endmacro %}{% call m() %}" + "x" * 99_999 + "{% endcall %}",
    "loop.length": looped(looped("{{ loop.length }}")),
    "recursion that branches": "{% macro f(n) %}{% if n %}{{ f(n-1) }}{{ f(n-1) }}{% endif %}{% endmacro %}{{ f(99) }}",
    "calls that double": "{% macro d(s) %}{{ s }}{{ s }}{% endmacro %}{{ " + "d(" * 30 + "'x'" + ")" * 30 + " }}",
    "a text many times": BIG + "{{ b }}" * 1500,
    "a text in a macro": BIG + "{% macro d(s) %}" + "{{ s }}" * 1500 + "{% endmacro %}{{ d(b) }}",
    "text * number": "{{ 'x' * 10**9 }}",
    "number * text": "{{ 10**9 * 'x' }}",
    "list * number": "{{ [0] * 10**9 }}",
    "doubling by ~": grown("'x'", "ns.x ~ ns.x", "{{ ns.x }}"),
    "doubling by +": grown("'x'", "ns.x + ns.x", "{{ ns.x }}"),
    "shared lists, written": grown("[1]", "[ns.x, ns.x]", "{{ ns.x }}"),
    "shared lists, compared": grown("[1]", "[ns.x, ns.x]", "{{ ns.x == [ns.y] }}"),
    "shared lists, searched": grown("[1]", "[ns.x, ns.x]", "{{ 5 in ns.x }}"),
    "shared lists, as JSON": grown("[1]", "[ns.x, ns.x]", "{{ ns.x|tojson }}"),
    "shared lists, tested": grown("[1]", "[ns.x, ns.x]", "{{ [ns.x]|select('eq', ns.y)|list }}"),
    "shared tuples, as key": grown("(1,)", "(ns.x, ns.x)", "{{ {ns.x: 1} }}"),
    "shared tuples, looked up": grown("(1,)", "(ns.x, ns.x)", "{{ {}.get(ns.x) }}"),
    "replace": BIG + "{{ b|replace('', b) }}",
    ".replace": BIG + "{{ b.replace('x', b) }}",
    "join": BIG + "{{ range(99999)|join(b) }}",
    ".join": BIG + "{{ b.join('y' * 1000) }}",
    "indent": BIG + "{{ ('\\n' * 99999)|indent(b, blank=true) }}",
    "format by name": BIG + "{{ ('%(a)s' * 9999) % {'a': b} }}",
    "many formats": "{{ ('%99d' * 99999) % 1 }}",
    "split": looped("{% set x = ('x ' * 99999).split() %}"),
    "lists": looped("{% set x = range(99999)|list %}"),
    "sort": looped("{% set x = range(9999)|sort %}"),
    "unique": looped("{% set x = range(9999)|unique %}"),
    "reject": looped("{% set x = range(99999)|reject %}"),
    "searching": BIG + looped("{% if 'y' in b %}{% endif %}"),
    ".find": BIG + looped("{{ b.find('y') }}"),
    "strip": BIG + "{{ b.strip('y' * 900000 ~ 'x') }}",
    "trim": BIG + "{{ b|trim('y' * 900000 ~ 'x') }}",
    "rfind": BIG + "{{ b.rfind('xy' ~ 'x' * 450000) }}",
    "characters": BIG + "{{ ''.join(b) }}",
    "slices": BIG + looped("{% set x = b[1:] %}"),
    "titles": "{{ ('a ' * 999999)|title }}",
    "long paths": "{% set p = 'a' ~ '.a' * 99999 %}" + looped("{{ [{}]|map(attribute=p, default={})|list }}"),
}  # fmt: skip


@pytest.mark.parametrize("name", SPENDING)
def test_what_would_not_end_runs_out_of_budget(name: str) -> None:
    refused("-" + SPENDING[name], "the template does too much")


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("{% for i in range(10**9) %}x{% endfor %}", "more than 100,000 numbers"),
        ("{{ (10**9) ** (10**9) }}", "integers of more than"),
        ("{{ 2 ** -(10**9) }}", "integers of more than"),
        (grown("2", "ns.x * ns.x", ""), "integers of more than"),
        ("{{ ('f' * 9999)|int(0, 16) // 3 }}", "integers of more than"),
        ("{{ " + "9" * 5000 + " }}", "4300 digits"),
        ("{% macro f(n) %}{{ f(n) }}{% endmacro %}{{ f(1) }}", "calls itself without end"),
        ("{{ '%999999999d' % 1 }}", "wider than 99"),
        ("{{ '%*d' % (999999999, 1) }}", "takes its width from a value"),
        ("{{ '%.999999999f'|format(1.0) }}", "wider than 99"),
        ("{{ '%(a(b)c)999999999d' % {'a(b)c': 1} }}", "wider than 99"),
        ("{{ '%999999999d' is odd }}", "not a number"),
        ("{{ '%999999999d' is divisibleby(1) }}", "not a number"),
        ("{{ '{:999999999}'.format(1) }}", "'format' cannot be called"),
        ("{{ '{a:999999999}'.format_map({'a': 1}) }}", "'format_map' cannot be called"),
        ("{{ ['{:999999999}'.format]|map('string')|list }}", "is not text, number, list or dict"),
        ("{{ 'x'.ljust(10**9) }}", "ljust"),
        ("{{ 'x'|center(10**9) }}", "No filter named 'center'"),
        ("{{ 'a\nb'|indent(10**9) }}", "at most 64"),
        ("{{ [1]|tojson(indent=10**9) }}", "at most 8"),
        ("{{ 5|round(-10**9) }}", "at most 20"),
        ("{{ 'xxxxxxxxxx'|round(9, 'ceil') }}", "round takes a number"),
        ("{{ [[1]]|sum(start=[]) }}", "sum takes numbers"),
        (grown("(1,)", "(ns.x, ns.x)", "{{ {}[ns.x] }}"), "an index is text or an integer"),
        (grown("namespace(a=1)", "namespace(a=ns.x, b=ns.x)", "{{ ns.x }}"), "Namespace"),
        ("{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}", "nested too deeply"),
        ("{{ " + "not " * 3000 + "1 }}", "nested too deeply"),
        ("{{ x" + ".b" * 3000 + " }}", "nested too deeply"),
        ("{{ 1" + "+1" * 300 + " }}", "nested too deeply"),
        ("{% for i in [1] %}" * 30 + "{% endfor %}" * 30, "nested too deeply"),
        ("{% if 1 %}" * 150 + "{% endif %}" * 150, "nested too deeply"),
        ("{{ 1 }}" * 6000, "more than 10,000 names"),
        ("{{ " * 100_000, "more than 10,000 names"),
        ("{#" * 100_000, "Missing end of comment"),
        ("{{ ''.__class__.__mro__ }}", "unsafe"),
        ("{{ range.__globals__ }}", "unsafe"),
        ("{{ ''|attr('__class__') }}", "No filter named 'attr'"),
        ("{{ x.append(1) }}", "unsafe"),
        ("{{ dict.fromkeys(range(9)) }}", "not allowed"),
        ("{{ self._TemplateReference__context }}", "unsafe"),
        ("{{ self['llmlens budget'] }}", "has no attribute"),
        ("{{ lipsum(n=10**6) }}", "missing: 'lipsum'"),
        ("{% import 'os' as os %}", "not allowed"),
        ("{% from 'os' import path %}", "not allowed"),
        ("{% extends 'x' %}", "not allowed"),
        ("{% block x %}{{ self.x() }}{% endblock %}", "not allowed"),
        ("{% autoescape true %}{% endautoescape %}", "not allowed"),
        ("{% for i in [[1]] recursive %}{{ loop(i) }}{% endfor %}", "recursive loops are not allowed"),
        ("x" * 1_000_001, "1,000,000 are the limit"),
    ],
)  # fmt: skip
def test_what_is_not_allowed_is_named(source: str, says: str) -> None:
    refused("-" + source if len(source) < 10**6 else source, says)


def test_no_budget_can_be_earned_back() -> None:
    refused("-{{ [[1]]|map(' counted', -10**9)|first|list }}", "the template does too much")
    refused("-{{ [1]|map(' spent', -10**9)|list }}", "the template does too much")


def test_a_large_honest_prompt_fits() -> None:
    rows = [{"q": f"question {n} " * 10, "a": n} for n in range(2_000)]
    shots = "{% for r in rows %}\n{{ loop.index }}/{{ rows|length }} {{ r.q|trim }} = {{ r.a }}\n{% endfor %}\n{{ document }}"
    (message,) = PromptTemplate.of(shots).render({"rows": rows, "document": "x" * 2_000_000})
    assert message.parts[0].text.count("\n") == 2_000  # type: ignore[union-attr]


def test_the_budget_is_for_all_messages_together() -> None:
    half = "{% for i in range(N) %}{% endfor %}-".replace("N", str(MAX_WORK // 12))
    assert PromptTemplate.of([("user", half)]).render({})
    with pytest.raises(PromptError, match=r"message \d+ \(user\), line 1: the template does too much"):
        PromptTemplate.of([("user", half)] * 12).render({})


def refused(source: str, says: str) -> None:
    def render() -> None:
        with pytest.raises(PromptError, match=says):
            PromptTemplate.of([("user", source)]).render({"x": [1]} if "x" in source else {}, allow_unknown=True)

    started = time.perf_counter()
    render()
    assert time.perf_counter() - started < MAX_SECONDS
    tracemalloc.start()
    try:
        render()
        assert tracemalloc.get_traced_memory()[1] < MAX_BYTES
    finally:
        tracemalloc.stop()
