"""Prompts drawn at random: texts with variables, with lines that look like headings, marks and fields."""

from hypothesis import strategies as st

from llmlens.prompts import ROLES, PromptTemplate, Section

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
PIECES = st.sampled_from([
    "{{ x }}", "{{ y.z }}", "{% if x %}\nyes\n{% endif %}", "# user", "# System", "\\# user", "\\\\# assistant", "## user",
    "---", "name: x", "\n", "\n\n", " ", "\t", "<b>", "&amp;", "user:", "# user ", "\r\n", "\u2028", "é", "😀",
]) | st.text(st.characters(exclude_characters="{", exclude_categories=["Cs"]), max_size=12)  # fmt: skip
TEXTS = st.lists(PIECES, min_size=1, max_size=8).map("".join).filter(lambda text: text.strip())
SECTIONS = st.lists(st.builds(Section, st.sampled_from(ROLES), TEXTS), min_size=1, max_size=4).map(tuple)
NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,12}", fullmatch=True)


@st.composite
def templates(draw: st.DrawFn) -> PromptTemplate:
    """A prompt whose defaults are for variables that it has."""
    bare = PromptTemplate(draw(SECTIONS))
    defaults = draw(st.dictionaries(st.sampled_from(bare.variables), JSON)) if bare.variables else {}
    expects = draw(st.none() | st.just(bare.variables))
    return PromptTemplate(bare.sections, defaults, draw(st.dictionaries(st.text(), JSON, max_size=3)), expects)
