"""brex-accounting sandbox: tokens, credentials and customers of one's own, by option and by environment."""

import json
import re
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest
import yaml

from tests.support.commands import RUN, environment
from tests.support.project import ROOT

OAUTH = {"BREX_CLIENT_ID": "erp", "BREX_CLIENT_SECRET": "hush", "BREX_REFRESH_TOKEN": "refresh-1"}
OPTIONS = ["--token", "bxt_ci", "--client-id", "erp", "--client-secret", "hush", "--refresh-token", "refresh-1"]
OPTIONS += ["--redirect-uri", "https://a.example/callback", "--redirect-uri", "https://b.example/callback"]
OPTIONS += ["--customer", "seven=bxt_seven", "--customer", "eight", "--webhook-secret", "whsec_c2VjcmV0"]
OPTIONS += ["--port", "0", "--records", "3"]
VARIABLES = {
    "BREX_SANDBOX_TOKEN": "bxt_ci",
    "BREX_SANDBOX_CLIENT_ID": "erp",
    "BREX_SANDBOX_CLIENT_SECRET": "hush",
    "BREX_SANDBOX_REFRESH_TOKEN": "refresh-1",
    "BREX_SANDBOX_REDIRECT_URIS": "https://a.example/callback https://b.example/callback",
    "BREX_SANDBOX_CUSTOMERS": "seven=bxt_seven eight",
    "BREX_SANDBOX_WEBHOOK_SECRET": "whsec_c2VjcmV0",
    "BREX_SANDBOX_PORT": "0",
    "BREX_SANDBOX_RECORDS": "3",
}


@contextmanager
def serving(*arguments: str, expected_errors: str = "", **variables: str) -> Iterator[tuple[dict[str, str], str]]:
    """What it prints: the settings to export, and the rest."""
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, "sandbox", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(**variables),
        text=True,
    )
    settings, said = dict[str, str](), ""
    assert process.stdout is not None
    for line in process.stdout:
        said += line
        if found := re.fullmatch(r"export (\w+)=(\S+)\n", line):
            settings[found[1]] = found[2]
        if line.startswith("A token with no scope but"):
            break
    try:
        yield settings, said
    finally:
        process.terminate()
        _, errors = process.communicate()
    assert errors == expected_errors, errors
    assert process.returncode == 0


def ask(url: str, token: str, **form: str) -> Any:
    headers = {"Authorization": f"Bearer {token}" if not form else token}
    with urlopen(Request(url, urlencode(form).encode() or None, headers)) as response:
        return json.load(response)


@pytest.mark.parametrize(("arguments", "variables"), [(OPTIONS, {}), ([], VARIABLES)], ids=["options", "environment"])
def test_what_was_chosen(arguments: list[str], variables: dict[str, str]) -> None:
    with serving(*arguments, **variables) as (settings, said):
        url = settings["BREX_BASE_URL"]
        assert settings == OAUTH | {
            "BREX_BASE_URL": url,
            "BREX_WEBHOOK_SECRETS": "whsec_c2VjcmV0",
            "BREX_TOKEN": "bxt_ci",
            "BREX_TOKEN_URL": f"{url}/oauth2/default/v1/token",
            "BREX_ACCOUNT": "account",
            "BREX_TOKEN_STORE": "sandbox-tokens.db",
        }
        assert "The token of seven: bxt_seven\n" in said
        eight = re.search(r"The token of eight: (bxt_\S+)\n", said)
        assert eight is not None
        books = [ask(f"{url}/v3/accounting/records", each) for each in ("bxt_ci", "bxt_seven", eight[1])]
        assert [each["total_count"] for each in books] == [3, 3, 3]
        assert len({each["items"][0]["id"] for each in books}) == 3
        basic = f"Basic {b64encode(b'erp:hush').decode()}"
        issued = ask(settings["BREX_TOKEN_URL"], basic, grant_type="refresh_token", refresh_token="refresh-1")
        assert ask(f"{url}/v3/accounting/records", issued["access_token"]) == books[0]
        options = ask(f"{url}/_sandbox/options", "bxt_ci")["options"]
        assert options["redirect_uris"] == ["https://a.example/callback", "https://b.example/callback"]


def test_what_was_not_chosen_is_random_and_works() -> None:
    with serving("--port", "0") as (first, _), serving("--port", "0") as (settings, _):
        for name in (
            "BREX_TOKEN",
            "BREX_CLIENT_ID",
            "BREX_CLIENT_SECRET",
            "BREX_REFRESH_TOKEN",
            "BREX_WEBHOOK_SECRETS",
        ):
            assert settings[name] != first[name]
        assert ask(f"{settings['BREX_BASE_URL']}/v3/accounting/records", settings["BREX_TOKEN"])["total_count"] == 500
        pair = f"{settings['BREX_CLIENT_ID']}:{settings['BREX_CLIENT_SECRET']}"
        form = {"grant_type": "refresh_token", "refresh_token": settings["BREX_REFRESH_TOKEN"]}
        basic = f"Basic {b64encode(pair.encode()).decode()}"
        assert ask(settings["BREX_TOKEN_URL"], basic, **form)["token_type"] == "Bearer"


def test_beyond_this_machine_it_warns() -> None:
    warning = (
        "brex-accounting: warning: everyone who can reach 0.0.0.0 can use this sandbox. Keep real data out of it. "
        "The SDK speaks http to this machine only.\n"
    )
    with serving("--host", "0.0.0.0", "--port", "0", expected_errors=warning) as (settings, _):
        assert settings["BREX_BASE_URL"].startswith("http://127.0.0.1:")
        port = settings["BREX_BASE_URL"].rpartition(":")[2]
        discovery = f"{settings['BREX_BASE_URL']}/oauth2/default/.well-known/openid-configuration"
        with urlopen(Request(discovery, headers={"Host": f"brex:{port}"})) as response:
            assert json.load(response)["issuer"] == f"http://brex:{port}/oauth2/default"


def test_on_this_machine_another_host_is_refused() -> None:
    with serving("--port", "0") as (settings, _):
        discovery = f"{settings['BREX_BASE_URL']}/oauth2/default/.well-known/openid-configuration"
        with pytest.raises(HTTPError, match="400") as refused:
            urlopen(Request(discovery, headers={"Host": "evil.example"}))
        refused.value.close()


@pytest.mark.parametrize(
    ("arguments", "code", "problem"),
    [
        (["--token", "secret"], 2, "token must begin with bxt_."),
        (["--customer", "account"], 2, "name must not be empty or the name of another account."),
        (["--customer", "a=bxt_x", "--customer", "b=bxt_x"], 2, "token must not be the token of another account."),
        (["--redirect-uri", "/callback"], 2, "redirect_uris must be absolute, ASCII and without a fragment."),
        (["--webhook-secret", "hush"], 2, "secret must be whsec_ and base64."),
        (["--recent-days", "-1"], 2, "recent_days must be a number of days from 0 to 36500."),
        (["--host", "no such host"], 1, "cannot listen on no such host, port 8765: "),
    ],
)
def test_what_makes_no_sense(arguments: list[str], code: int, problem: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", RUN, "sandbox", *arguments],
        capture_output=True,
        env=environment(),
        text=True,
        check=False,
        timeout=60,
    )
    assert (ended.returncode, ended.stdout) == (code, "")
    assert ended.stderr.startswith(f"brex-accounting: {problem}")
    assert ended.stderr.count("\n") == 1


def test_the_container_sets_what_there_is() -> None:
    """A container engine is more than these tests can ask for: the names at least are right."""
    files = [ROOT / "examples" / "sandbox" / name for name in ("Dockerfile", "compose.yaml")]
    named = {name for file in files for name in re.findall(r"BREX_SANDBOX_[A-Z_]+", file.read_text("utf-8"))}
    shown = subprocess.run(
        [sys.executable, "-c", RUN, "sandbox", "--help"],
        capture_output=True,
        env=environment(COLUMNS="500"),
        text=True,
        check=True,
    )
    assert len(named) > 5
    assert named <= set(re.findall(r"BREX_SANDBOX_[A-Z_]+", shown.stdout))
    services = yaml.safe_load(files[1].read_text("utf-8"))["services"]
    settings = {
        name: value for name, value in services["sandbox"]["environment"].items() if name != "BREX_SANDBOX_PORT"
    }
    with serving("--port", "0", **settings) as (printed, _):
        told = services["service"]["environment"]
        assert {name: printed[name] for name in ("BREX_TOKEN", "BREX_WEBHOOK_SECRETS")}.items() <= told.items()
