"""Jinja2, bounded: what a template may say, and how much it may do. No I/O, no clock, no randomness.

Jinja's sandbox keeps a template away from the interpreter, but not from its memory and time
(https://jinja.palletsprojects.com/en/stable/sandbox/, "Security Considerations"). Here every loop, call, filter,
test and operator pays from the `Budget` of its rendering before it runs.

As in most tools for prompts, a line that holds nothing but a block tag leaves no empty line behind (`trim_blocks`,
`lstrip_blocks`).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import BuiltinMethodType, MethodType, TracebackType
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateError, TemplateSyntaxError, Undefined, meta, nodes, pass_context
from jinja2.runtime import Context, LoopContext, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from llmlens.errors import PromptError
from llmlens.prompts.budget import CHARS_PER_UNIT, OPERATION, Budget, small
from llmlens.prompts.paying import Paying
from llmlens.prompts.words import (
    BUDGET,
    FILTERS,
    READ_BY,
    READ_BY_CHARACTER,
    TESTS,
    UNREAD_BY,
    call_method,
    formatted,
    settled,
)

MAX_TEMPLATE_CHARS = 1_000_000
MAX_TOKENS = 10_000  # of the template language: names, operators, braces; plain text is one token
MAX_TEXT_CHARS = 4_000_000
MAX_RANGE = 100_000
_FILE = "<template>"


@dataclass(frozen=True, slots=True)
class Compiled:
    """One template text, ready to render. `optional` are the variables it can do without: `x is defined`,
    `x | default("…")`."""

    template: Template
    variables: frozenset[str]
    optional: frozenset[str]

    def render(self, values: Mapping[str, Any], budget: Budget) -> str:
        """The text for `values`, which must be plain data (`values.plain`).

        Raises:
            PromptError: something is missing, cannot be done or is too much; it names the line.
        """
        context = self.template.new_context({**values, BUDGET: budget})
        try:
            text = "".join(self.template.root_render_func(context))
        except Exception as error:
            raise PromptError(f"{self._place(error.__traceback__)}{_reason(error)}") from error
        if len(text) > MAX_TEXT_CHARS:
            raise PromptError(f"the text has {len(text):,} characters; {MAX_TEXT_CHARS:,} are the limit")
        return text

    def _place(self, trace: TracebackType | None) -> str:
        line = None
        while trace is not None:
            if trace.tb_frame.f_code.co_filename == _FILE:
                line = self.template.get_corresponding_lineno(trace.tb_lineno)
            trace = trace.tb_next
        return f"line {line}: " if line is not None else ""


@lru_cache(maxsize=128)
def compile_text(source: str) -> Compiled:
    """`source`, checked and ready to render.

    Raises:
        PromptError: it is no template, or too large a one; it names the line.
    """
    if len(source) > MAX_TEMPLATE_CHARS:
        raise PromptError(f"the template has {len(source):,} characters; {MAX_TEMPLATE_CHARS:,} are the limit")
    try:
        for count, _ in enumerate(_ENVIRONMENT.lex(source)):
            if count > MAX_TOKENS:
                raise PromptError(f"the template has more than {MAX_TOKENS:,} names, operators and braces")
        tree = _ENVIRONMENT.parse(source)
        variables = _variables(tree)
        optional = frozenset(_optional(tree)) & variables
        code = _ENVIRONMENT.compile(Paying().visit(tree), filename=_FILE)
    except TemplateSyntaxError as error:
        raise PromptError(f"line {error.lineno}: {error.message}{_hint(error.message or '')}") from None
    except (TemplateError, ValueError, SyntaxError, RecursionError, MemoryError, OverflowError) as error:
        raise PromptError(_reason(error)) from error
    return Compiled(Template.from_code(_ENVIRONMENT, code, _ENVIRONMENT.make_globals(None)), variables, optional)


def _hint(message: str) -> str:
    if message.startswith("No filter named"):
        return f" The filters of prompts are {', '.join(sorted(FILTERS))}."
    return f" The tests of prompts are {', '.join(sorted(TESTS))}." if message.startswith("No test named") else ""


def _reason(error: Exception) -> str:
    if isinstance(error, (RecursionError, MemoryError, SyntaxError)):
        return "the template is nested too deeply, or calls itself without end"
    known = isinstance(error, (PromptError, TemplateError))
    return str(error) if known else f"{type(error).__name__}: {error}"


def _variables(tree: nodes.Template) -> frozenset[str]:
    """As `meta.find_undeclared_variables`, but without folding constants."""
    finder = meta.TrackingCodeGenerator(_ENVIRONMENT)
    finder.optimizer = None
    finder.visit(tree)
    return frozenset(finder.undeclared_identifiers)


def _optional(tree: nodes.Template) -> Iterator[str]:
    asked = [*tree.find_all(nodes.Test), *tree.find_all(nodes.Filter)]
    for node in asked:
        if node.name in {"defined", "undefined", "default", "d"} and isinstance(node.node, nodes.Name):
            yield node.node.name


# ── the environment ───────────────────────────────────────────────────────────────────────────────────────────────


class _Environment(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%", "**"})

    def getattr(self, obj: Any, attribute: str) -> Any:
        """As Jinja, but a dict's own key comes first: `row.items` is the column, as in `%%llm`."""
        return obj[attribute] if isinstance(obj, dict) and attribute in obj else super().getattr(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        if not isinstance(argument, (str, int, Undefined)):  # the hash of a nested tuple takes as long as its text is
            raise PromptError(f"an index is text or an integer, not {type(argument).__name__}")
        return super().getitem(obj, argument)

    def call(self, context: Context, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        budget: Budget = context[BUDGET]
        budget.spend(OPERATION)
        for key, value in (*enumerate(args), *kwargs.items()):
            if not str(key).startswith("_") and not isinstance(value, (Macro, Namespace)):  # `_loop_vars` is Jinja's
                budget.weigh(value)
        owner = getattr(obj, "__self__", None)
        if isinstance(obj, BuiltinMethodType) and owner is not None:
            own = {key: value for key, value in kwargs.items() if not key.startswith("_")}
            return call_method(budget, owner, obj.__name__, args, own)
        if (
            isinstance(obj, (Macro, Undefined))
            or any(obj is own for own in self.globals.values())
            or _is_loop_method(obj)
        ):
            return super().call(context, obj, *args, **kwargs)
        raise PromptError(f"{getattr(obj, '__name__', type(obj).__name__)!r} cannot be called in a prompt")

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        budget: Budget = context[BUDGET]
        budget.spend(OPERATION)
        if isinstance(left, (int, float)) and isinstance(right, (int, float)):
            return small(super().call_binop(context, operator, small(left), _exponent(operator, left, right)))
        if operator == "%" and isinstance(left, str):
            return formatted(budget, left, tuple(right) if isinstance(right, tuple) else right)
        times = next((side for side in (left, right) if isinstance(side, int)), 1) if operator == "*" else 1
        budget.spend(max(0, times) * (_units(left) + _units(right)))
        return super().call_binop(context, operator, left, right)


def _units(part: Any) -> int:
    """What a copy of `part` costs."""
    if not hasattr(part, "__len__"):
        return 0
    return 1 + len(part) // (CHARS_PER_UNIT if isinstance(part, str) else 1)


def _exponent(operator: str, left: float, right: float) -> float:
    if operator == "**" and isinstance(left, int) and isinstance(right, int):
        small(1 << min(left.bit_length() * abs(right), 10_000))
    return small(right)  # type: ignore[no-any-return]


def _is_loop_method(obj: Any) -> bool:
    return (
        isinstance(obj, MethodType) and isinstance(obj.__self__, LoopContext) and obj.__name__ in {"cycle", "changed"}
    )


def _range(*ends: int) -> range:
    numbers = range(*ends)
    if numbers[MAX_RANGE:]:
        raise PromptError(f"range() of more than {MAX_RANGE:,} numbers")
    return numbers


def _finalize(context: Context, value: Any) -> Any:
    return context[BUDGET].weigh(value)


def _counted(context: Context, items: Any, weight: int) -> Iterator[Any]:
    """`items`, each paying `weight` when it is taken."""
    budget: Budget = context[BUDGET]
    iterator = iter(items)
    return _paid(iterator, budget, abs(weight))


def _paid(items: Iterator[Any], budget: Budget, weight: int) -> Iterator[Any]:
    for item in items:
        budget.spend(weight)
        yield item


def _spent(context: Context, _value: Any, weight: int) -> None:
    context[BUDGET].spend(abs(weight))


def _weighed(context: Context, value: Any) -> Any:
    return value if isinstance(value, Namespace) else context[BUDGET].weigh(value)


def _copied(context: Context, value: Any) -> Any:
    context[BUDGET].spend(_units(value))
    return value


# ── filters and tests that pay ────────────────────────────────────────────────────────────────────────────────────


def _paying_filter(name: str) -> Callable[..., Any]:
    def call(context: Context, value: Any, /, *args: Any, **kwargs: Any) -> Any:
        budget: Budget = context[BUDGET]
        budget.spend(OPERATION)
        texts = 0
        for arg in (*args, *kwargs.values()):
            budget.weigh(arg)
            texts += len(arg) if isinstance(arg, str) else 0
        if name not in UNREAD_BY:
            budget.weigh(value)
        if name in READ_BY_CHARACTER and hasattr(value, "__len__"):
            budget.spend(len(value) * (1 + texts))  # a path is followed for each item: `map(attribute="a.b.c")`
        return settled(budget, _PRISTINE.call_filter(name, value, args, kwargs, context))

    return pass_context(call)


def _paying_test(name: str) -> Callable[..., Any]:
    def call(context: Context, value: Any, /, *args: Any, **kwargs: Any) -> Any:
        budget: Budget = context[BUDGET]
        budget.spend(OPERATION)
        for arg in (*args, *kwargs.values(), *((value,) if name in READ_BY else ())):
            budget.weigh(arg)
        return _PRISTINE.call_test(name, value, args, kwargs, context)

    return pass_context(call)


def _environment(filters: Mapping[str, Callable[..., Any]], tests: Mapping[str, Callable[..., Any]]) -> _Environment:
    made = _Environment(
        undefined=StrictUndefined,
        finalize=pass_context(_finalize),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        cache_size=0,
        optimized=False,  # folding constants takes the square of the length of `1+1+1…`
    )
    made.filters = dict(filters)
    made.tests = dict(tests)
    made.globals = {"dict": dict, "namespace": Namespace, "range": _range}
    return made


_PRISTINE = _environment(FILTERS, TESTS)
_INTERNAL: Mapping[str, Callable[..., Any]] = {
    " counted": _counted,
    " spent": _spent,
    " weighed": _weighed,
    " copied": _copied,
}
_ENVIRONMENT = _environment(
    {**{name: _paying_filter(name) for name in FILTERS}, **{k: pass_context(v) for k, v in _INTERNAL.items()}},
    {name: _paying_test(name) for name in TESTS},
)
