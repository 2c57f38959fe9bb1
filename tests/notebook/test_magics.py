"""The magics in a shell without a front end: their text, their values, their errors."""

import pandas as pd
import pytest
from IPython.core.completer import provisionalcompleter

import llmlens as lens
from llmlens.notebook.answers import Answers

QUESTION = "Tom has 3 apples and buys 4 more. How many apples does Tom have?"


def test_one_model_streams_text_and_figures(notebook):
    cell = notebook.run(f"%%llm sim/echo -o a\n{QUESTION}")
    assert notebook["a"].text in cell.out
    for figure in ("sim/echo (simulated)", "latency", "first token", "tokens", "cost (simulated) $", "cache miss"):
        assert figure in cell.out
    assert cell.value is None


def test_several_models_and_samples_come_in_order(notebook):
    cell = notebook.run(f"%%llm sim/large sim/small -n 2 -o a --temperature 1\n{QUESTION}")
    assert isinstance(notebook["a"], Answers)
    assert [answer.model for answer in notebook["a"]] == ["sim/large", "sim/large", "sim/small", "sim/small"]
    assert cell.out.index("sim/large (simulated)") < cell.out.index("sim/small (simulated)")


def test_the_same_cell_again_gives_the_same_samples_for_nothing(notebook):
    source = "%%llm sim/small -n 8 -o {} --temperature 1\nA shop has 9 boxes. Each holds 7 pens. How many pens?"
    notebook.run(source.format("first"))
    notebook.run(source.format("again"))
    first, again = notebook["first"], notebook["again"]
    assert [answer.text for answer in again] == [answer.text for answer in first]
    assert {answer.cache for answer in again} == {"hit"}
    assert sum(answer.cost_usd for answer in again) == 0
    assert len({answer.call_id for answer in [*first, *again]}) == 16


def test_the_body_is_sent_as_it_stands(notebook):
    body = 'def f(): return {"a": {x}}  # {% if %} $HOME --system no -o b\n\n  {{}} "quoted" \\n'
    notebook.run(f"%%llm sim/echo -o a\n{body}")
    assert body.split("\n")[0] in notebook["a"].text
    assert "b" not in notebook.shell.user_ns
    logged = notebook.run("lens_row = __import__('llmlens').calls(limit=1)").error
    assert logged is None
    assert body.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") in notebook["lens_row"].request[0]


def test_only_double_braces_are_filled_in(notebook):
    notebook.run("row = {'text': 'hello'}")
    notebook.run("%%llm sim/echo -o a\nsay {{ row.text }} {row}")
    assert "say hello {row}" in notebook["a"].text
    notebook.run("%%llm sim/echo -o a --verbatim\nsay {{ row.text }}")
    assert "say {{ row.text }}" in notebook["a"].text


def test_options_reach_the_call(notebook):
    notebook.run("%%llm sim/echo --system 'Be brief' -t 0.25 -m 7 --cache off --tags step=1 -o a\nhello")
    assert notebook["a"].cache == "off"
    row = lens.calls(limit=1).iloc[0]
    assert '"temperature":0.25' in row.request
    assert '"max_tokens":7' in row.request
    assert "Be brief" in row.request
    assert '"step"' in row.tags


def test_the_line_gives_its_answer(notebook):
    cell = notebook.run('%llm sim/echo What\'s "this"? -o x')
    assert 'What\'s "this"? -o x' in cell.value.text
    notebook.run("b = %llm sim/echo hello")
    assert notebook["b"].model == "sim/echo"
    assert notebook.run("b").out.count("── sim/echo (simulated) ──") == 1  # drawn in full when asked for later


def test_a_failing_model_leaves_the_others_alone(notebook):
    cell = notebook.run("%%llm sim/down sim/echo -o a\nhello")
    assert cell.error is None
    down, echo = notebook["a"]
    assert down.error is not None
    assert down.text == ""
    assert "hello" in echo.text
    assert f"error: {down.error.message}" in cell.out


def test_a_cell_without_any_answer_fails_in_one_line(notebook):
    cell = notebook.run("%%llm sim/down -o a\nhello")
    assert isinstance(cell.error, lens.CallError)
    assert notebook["a"].error is not None
    assert "Traceback" not in cell.out
    assert cell.out.strip().splitlines()[-1].startswith("NoAnswer: ")


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("%%llm sim/echo --temprature 1\nhi", "did you mean --temperature?"),
        ("%%llm sim/echo\n   \n", "no prompt; for example"),
        ("%%llm\nhi", "no model; for example"),
        ("%llm sim/echo", "no prompt"),
        ("%%llm sim/echo\n{{ missing }}", "no variable 'missing'"),
        ("%lens", "%lens status"),
        ("%lens statos", "did you mean %lens status?"),
        ("%lens calls --lats 3", "did you mean --last?"),
        ("%lens calls --help", "--cell"),
        ("%%lens_sql\nSELEC 1", "syntax error"),
        ("%%lens_sql\n \n", "no SQL"),
        ("%%lens_sql SELECT 1\nSELECT 2", "in the cell below"),
        ("%lens usage --by colour", "cannot group by 'colour'"),
    ],
)
def test_a_slip_is_told_in_words(notebook, source, says):
    cell = notebook.run(source)
    assert says in cell.out
    assert "Traceback" not in cell.out


def test_help_shows_options_and_an_example(notebook):
    help_text = notebook.shell.find_magic("llm").__doc__
    for word in ("--temperature", "--cache", "%%llm sim/large sim/small", "{{ review }}"):
        assert word in help_text


def test_status_and_doctor(notebook, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary-0123456789")
    monkeypatch.setenv("HTTP_PROXY", "http://user:canary@proxy:1")
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://lab.example/v1")
    status, doctor = notebook.run("%lens status"), notebook.run("%lens doctor")
    shown = status.out + doctor.out + "".join(str(d.data) for d in status.displays + doctor.displays)
    for word in ("http://127.0.0.1:", "pid", "calls", "OPENAI_API_KEY set", "anthropic (ANTHROPIC_API_KEY)", "HTTP_PROXY",
                 "not captured", "httpx2", "openai"):  # fmt: skip
        assert word in shown
    assert "canary" not in shown


def test_calls_of_the_cell_before(notebook):
    notebook.run("import llmlens as lens\nlens.ask('one', 'sim/echo'); lens.ask('two', 'sim/echo')")
    assert list(notebook.run("%lens calls --cell -o frame").value.text) == list(notebook["frame"].text)
    assert len(notebook["frame"]) == 2
    assert len(notebook.run("%lens calls --last 1 --model sim/echo").value) == 1


def test_usage_says_what_is_simulated(notebook):
    notebook.run("%llm sim/echo hello")
    frame = notebook.run("%lens usage").value
    assert frame.simulated.all()


def test_sql_names_frames_of_the_notebook(notebook):
    notebook.run("import pandas as pd\nprices = pd.DataFrame({'item': ['a', 'b'], 'usd': [1, 2]})")
    cell = notebook.run(
        "%%lens_sql -o total\nSELECT sum(usd) AS usd, (SELECT count(*) FROM calls) >= 0 AS ok FROM prices"
    )
    assert isinstance(cell.value, pd.DataFrame)
    assert notebook["total"].usd[0] == 3
    assert notebook.run("%lens_sql SELECT '{{ x }}' AS a").value.a[0] == "{{ x }}"


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("%%llm sim/la", {"sim/large"}),
        ("%llm sim/ec", {"sim/echo"}),
        ("%%llm sim/large --temp", {"--temperature"}),
        ("%%llm sim/large --cache o", {"on", "off", "only"}),
        ("%lens do", {"doctor"}),
        ("%lens calls --mo", {"--model"}),
        ("%%lens_sql --o", {"--out"}),
        ("%lens nothing --x", set()),
    ],
)
def test_completion(notebook, line, offered):
    with provisionalcompleter():
        found = {c.text for c in notebook.shell.Completer.completions(line, len(line))}
    assert found >= offered  # IPython adds names of its own
