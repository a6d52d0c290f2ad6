"""Files of outcomes to report."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brex_accounting import ExportFailed, ExportSucceeded
from brex_accounting._commands.exit_codes import Code, StopError
from brex_accounting._commands.results import read_results

SUCCESS = '{"record_id":"a","status":"success"}'


def write(folder: Path, name: str, content: str | bytes) -> Path:
    file = folder / name
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


CSV = """\ufeffrecord_id,status,reference_id,deep_link_url,error_message\r
a,Success,JE-1,https://erp.example/1,\r
\r
" b ",failure,,,"no account 6000,
sorry"\r
c,success,,,\r
"""
OTHER_CSV = """status,error_message,record_id,reference_id,deep_link_url
success,,a,JE-1,https://erp.example/1
failure,"no account 6000,
sorry",b

success,,c"""
JSON_LINES = """{"record_id":"a","status":"success","reference_id":"JE-1","deep_link_url":"https://erp.example/1"}

{"status":"failure","record_id":"b","error_message":"no account 6000,\\nsorry","reference_id":null}\r
{"record_id":"c","status":"success"}"""


@pytest.mark.parametrize(
    ("name", "content"), [("r.csv", CSV), ("r.CSV", OTHER_CSV), ("r.jsonl", JSON_LINES), ("r.ndjson", JSON_LINES)]
)
def test_read(tmp_path: Path, name: str, content: str) -> None:
    assert read_results(write(tmp_path, name, content)) == [
        ExportSucceeded("a", "JE-1", "https://erp.example/1"),
        ExportFailed("b", "no account 6000,\nsorry"),
        ExportSucceeded("c"),
    ]


@pytest.mark.parametrize(
    "content",
    [
        "record_id,status,,\na,success,,\n,,,\n",
        "record_id,status,,\na,success\n",
        "record_id,status\na,success,,, ,\n",
        ",record_id,,status, ,\n,a,,success,,\n ,,,,,\n",
        "\n,,,\nrecord_id,status,,\n,,\na,success,,,,\n",
    ],
)
def test_columns_that_a_spreadsheet_left_empty(tmp_path: Path, content: str) -> None:
    assert read_results(write(tmp_path, "r.csv", content)) == [ExportSucceeded("a")]


def test_a_long_message(tmp_path: Path) -> None:
    """Longer than what Python's csv takes by default."""
    content = f"record_id,status,error_message\na,failure,{'x' * 200_000}\n"
    assert read_results(write(tmp_path, "r.csv", content)) == [ExportFailed("a", "x" * 200_000)]


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("r.txt", "", "ends in neither .csv nor .jsonl or .ndjson"),
        ("r.csv", "", "holds no outcomes"),
        ("r.csv", "record_id,status\n", "holds no outcomes"),
        (
            "r.csv",
            "record_id;status\na;success\n",
            "line 1: there is no column 'record_id;status': save the file as CSV with commas. The columns, separated",
        ),
        ("r.csv", "record_id,status,refrence_id\n", "line 1: there is no column 'refrence_id'"),
        ("r.csv", "record_id,reference_id\n", "line 1: record_id and status must be there"),
        ("r.csv", "record_id,status,status\n", "line 1: record_id and status must be there, each column once"),
        ("r.csv", "record_id,status\na,success\nb,succes\n", "line 3: status is 'succes': write success or failure."),
        ("r.csv", "record_id,status\na,success\n,success\n", "line 3: Object missing required field `record_id`"),
        ("r.csv", "record_id,status\na\n", "line 2: Object missing required field `status`"),
        ("r.csv", "record_id,status\na,success,JE-1\n", "line 2: it has 3 values for 2 columns"),
        ("r.csv", "record_id,status\na,success\nb,success\na,success\n", "line 4: a has an outcome already, in line 2"),
        ("r.csv", "record_id,status,error_message\na,failure,\n", "line 2: a failure needs an error_message"),
        ("r.csv", "record_id,status,error_message\na,success,no\n", "line 2: a success has no error_message"),
        (
            "r.csv",
            "record_id,status,error_message,reference_id\na,failure,no,JE\n",
            "a failure has neither reference_id",
        ),
        ("r.csv", 'record_id,status\n"a"x,success\n', "line 2: "),
        ("r.csv", 'record_id,status\na,success\n"b,success\n', "line 3: unexpected end of data"),
        ("r.csv", b"record_id,status\na,success\n\xff,success\n", "line 3: this is not UTF-8: save the file as UTF-8"),
        (
            "r.csv",
            "record_id,status\na,success\n".encode("utf-16"),
            "line 1: this is not UTF-8: save the file as UTF-8",
        ),
        ("r.csv", "record_id,status\na,success\n".encode("utf-16-le"), "save the file as UTF-8"),
        ("r.csv", "record_id,status\na,success\n a ,success\n", "line 3: a has an outcome already, in line 2"),
        ("r.csv", "record_id,status,error_message,reference_id\na,failure,no,JE\n", "is it a success? Nothing was"),
        (
            "r.csv",
            "record_id,status,,error_message\na,failure,note,no\n",
            "line 2: there is a value in a column with",
        ),
        ("r.csv", "record_id,status,\na,success,,JE-1\n", "line 2: it has 4 values for 2 columns"),
        ("r.csv", "record_id,status,\na,success,JE-1\n", "line 2: it has 3 values for 2 columns"),
        ("r.csv", "record_id,,status,status,\n", "line 1: record_id and status must be there, each column once"),
        ("r.jsonl", "\n" + SUCCESS + "\n{", "line 3: "),
        ("r.jsonl", "[1]", "line 1: it is not a JSON object"),
        ("r.jsonl", '{"record_id":1,"status":"success"}', "line 1: Expected `str`, got `int` - at `$.record_id`"),
        ("r.jsonl", '{"record_id":" ","status":"success"}', "line 1: record_id is empty"),
        ("r.jsonl", '{"record_id":"a","status":"success","x":1}', "line 1: Object contains unknown field `x`"),
        ("r.jsonl", "[" * 100_000, "line 1: "),
    ],
)
def test_refused(tmp_path: Path, name: str, content: str | bytes, problem: str) -> None:
    file = write(tmp_path, name, content)
    with pytest.raises(StopError) as refused:
        read_results(file)
    told = str(refused.value)
    assert problem in told
    assert told.startswith(f"{file}")
    assert told.isprintable()
    assert refused.value.code is Code.USAGE


@given(st.binary(max_size=60), st.sampled_from(["csv", "jsonl"]))
def test_anything_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes, kind: str) -> None:
    folder = tmp_path_factory.getbasetemp()
    try:
        read_results(write(folder, f"fuzz.{kind}", content))
        read_results(write(folder, "fuzz.csv", b"record_id,status\n" + content))
    except StopError as error:
        assert str(error).isprintable()  # noqa: PT017
