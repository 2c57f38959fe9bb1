# ruff: noqa: N802, N815  (Jinja's visitors name their methods after the nodes)
"""The syntax tree of a template, rewritten so that it pays as it goes, and refused where it says what it may not.

Jinja's sandbox sees calls, operators and look-ups, but not loops, macros, comparisons, `~` and slices. There the
internal filters ` counted`, ` spent`, ` weighed` and ` copied` are put (`sandbox.py` has them; a template that
names one, through `map`, only pays more).
"""

from typing import Any, NoReturn, cast

from jinja2 import TemplateSyntaxError, nodes
from jinja2.visitor import NodeTransformer

from llmlens.prompts.budget import CHARS_PER_UNIT

_ALLOWED = (
    nodes.Template, nodes.Output, nodes.For, nodes.If, nodes.Macro, nodes.CallBlock, nodes.FilterBlock, nodes.With,
    nodes.Assign, nodes.AssignBlock, nodes.Name, nodes.NSRef, nodes.Literal, nodes.Pair, nodes.Keyword,
    nodes.CondExpr, nodes.Filter, nodes.Test, nodes.Call, nodes.Getitem, nodes.Getattr, nodes.Slice, nodes.Concat,
    nodes.Compare, nodes.Operand, nodes.BinExpr, nodes.UnaryExpr, nodes.Scope,
)  # fmt: skip
_KEYWORDS = {"FromImport": "from … import", "ScopedEvalContextModifier": "autoescape"}


class Paying(NodeTransformer):
    """Rewrites a tree in place.

    Raises:
        TemplateSyntaxError: a statement that prompts do not have.
    """

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
        node.iter = _filtered(cast(nodes.Expr, node.iter), " counted", weight)
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


def _refuse(node: nodes.Node, why: str) -> NoReturn:
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
