"""Prompts as pure data: templates, versions, differences, files. No I/O, no clock; gateway and kernel both use it."""

from llmlens.prompts.diff import PromptDiff, diff, diff_templates
from llmlens.prompts.markdown import from_folder, from_markdown, to_folder, to_markdown
from llmlens.prompts.sections import ROLES, Section
from llmlens.prompts.template import PromptTemplate, contents
from llmlens.prompts.version import PromptVersion, Reference, find, next_version, valid_label, valid_name

__all__ = [
    "ROLES", "PromptDiff", "PromptTemplate", "PromptVersion", "Reference", "Section", "contents", "diff",
    "diff_templates", "find", "from_folder", "from_markdown", "next_version", "to_folder", "to_markdown",
    "valid_label", "valid_name",
]  # fmt: skip
