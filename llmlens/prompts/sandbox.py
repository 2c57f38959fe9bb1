"""Jinja2, bounded: what a template may say, and how much it may do. No I/O, no clock, no randomness.

Jinja's sandbox keeps a template away from the interpreter, but not from its memory and time
(https://jinja.palletsprojects.com/en/stable/sandbox/, "Security Considerations"). Here every loop, call, filter,
test and operator pays from the `Budget` of its rendering before it runs: the syntax tree is rewritten so.

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
from jinja2.visitor import NodeTransformer

from llmlens.errors import PromptError
from llmlens.prompts.budget import CHARS_PER_UNIT, OPERATION, Budget, small
from llmlens.prompts.words import BUDGET, FILTERS, READ_BY, READ_BY_CHARACTER, TESTS, UNREAD_BY
from llmlens.prompts.words import call_method, formatted, settled

MAX_TEMPLATE_CHARS = 1_000_000
MAX_TOKENS = 20_000  # of the template language: names, operators, braces; plain text is one token
MAX_TEXT_CHARS = 4_000_000
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
        variables = frozenset(meta.find_undeclared_variables(tree))
        optional = frozenset(_optional(tree)) & variables
        code = _ENVIRONMENT.compile(_Paying().visit(tree), filename=_FILE)
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


def _optional(tree: nodes.Template) -> Iterator[str]:
    asked = [*tree.find_all(nodes.Test), *tree.find_all(nodes.Filter)]
    for node in asked:
        if node.name in {"defined", "undefined", "default", "d"} and isinstance(node.node, nodes.Name):
            yield node.node.name


# ── the syntax tree, rewritten so that it pays ────────────────────────────────────────────────────────────────────

_ALLOWED = (
    nodes.Template, nodes.Output, nodes.For, nodes.If, nodes.Macro, nodes.CallBlock, nodes.FilterBlock, nodes.With,
    nodes.Assign, nodes.AssignBlock, nodes.Name, nodes.NSRef, nodes.Literal, nodes.Pair, nodes.Keyword,
    nodes.CondExpr, nodes.Filter, nodes.Test, nodes.Call, nodes.Getitem, nodes.Getattr, nodes.Slice, nodes.Concat,
    nodes.Compare, nodes.Operand, nodes.BinExpr, nodes.UnaryExpr, nodes.Scope,
)  # fmt: skip
_KEYWORDS = {"FromImport": "from … import", "ScopedEvalContextModifier": "autoescape"}


class _Paying(NodeTransformer):
    """Puts the internal filters ` counted`, ` spent` and ` weighed` where work is done. Each node is made new once."""

    def generic_visit(self, node: nodes.Node, *args: Any, **kwargs: Any) -> nodes.Node:
        if not isinstance(node, _ALLOWED):
            name = type(node).__name__
            _refuse(node, f"{{% {_KEYWORDS.get(name, name.lower())} %}} is not allowed in a prompt")
        return super().generic_visit(node, *args, **kwargs)

    def visit_For(self, node: nodes.For) -> nodes.Node:
        if node.recursive:
            _refuse(node, "recursive loops are not allowed in a prompt; a macro may call itself")
        weight = _weight(node)
        self.generic_visit(node)
        node.iter = _filtered(node.iter, " counted", weight)
        return node

    def visit_Macro(self, node: nodes.Macro) -> nodes.Node:
        weight = _weight(node)
        self.generic_visit(node)
        pay = _filtered(_const(0, node), " spent", weight)
        node.body.insert(0, nodes.ExprStmt(pay, lineno=node.lineno, environment=node.environment))
        return node

    visit_CallBlock = visit_Macro

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:
        self.generic_visit(node)
        node.expr = _filtered(node.expr, " weighed")
        for operand in node.ops:
            operand.expr = _filtered(operand.expr, " weighed")
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        node.nodes = [_filtered(part, " weighed") for part in node.nodes]
        return node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:
        self.generic_visit(node)
        if isinstance(node.arg, nodes.Slice):  # a copy; the sandbox does not see it
            node.node = _filtered(node.node, " copied")
        return node

    def visit_Pair(self, node: nodes.Pair) -> nodes.Node:
        self.generic_visit(node)
        node.key = _filtered(node.key, " weighed")
        return node


def _refuse(node: nodes.Node, why: str) -> None:
    raise TemplateSyntaxError(why, node.lineno)


def _const(value: int, like: nodes.Node) -> nodes.Const:
    return nodes.Const(value, lineno=like.lineno, environment=like.environment)


def _filtered(node: nodes.Expr, name: str, *args: int) -> nodes.Expr:
    values = [_const(arg, node) for arg in args]
    return nodes.Filter(node, name, values, [], None, None, lineno=node.lineno, environment=node.environment)


def _weight(node: nodes.Node) -> int:
    """The units that one pass through everything in `node` takes at most, but for what loops and calls in it add."""
    texts = sum(len(data.data) for data in node.find_all(nodes.TemplateData))
    return 1 + sum(1 for _ in node.find_all(nodes.Node)) + texts // CHARS_PER_UNIT


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
        if isinstance(obj, Macro) or any(obj is own for own in self.globals.values()) or _is_loop_method(obj):
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
    return isinstance(obj, MethodType) and isinstance(obj.__self__, LoopContext) and obj.__name__ in {"cycle", "changed"}


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
        before = budget.left
        for arg in (*args, *kwargs.values()):
            budget.weigh(arg)
        for_each = 1 + before - budget.left  # an argument may be read once for each item: `map(attribute="a.b.c")`
        if name not in UNREAD_BY:
            budget.weigh(value)
        if name in READ_BY_CHARACTER and hasattr(value, "__len__"):
            budget.spend(len(value) * for_each)
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
    )
    made.filters = dict(filters)
    made.tests = dict(tests)
    made.globals = {"dict": dict, "namespace": Namespace, "range": made.globals["range"]}
    return made


_PRISTINE = _environment(FILTERS, TESTS)
_INTERNAL = {" counted": _counted, " spent": _spent, " weighed": _weighed, " copied": _copied}
_ENVIRONMENT = _environment(
    {**{name: _paying_filter(name) for name in FILTERS}, **{k: pass_context(v) for k, v in _INTERNAL.items()}},
    {name: _paying_test(name) for name in TESTS},
)
