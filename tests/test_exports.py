"""What the package exports, frozen: a change here is a change for every user."""

import ast
import inspect
import re
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType, UnionType

import pytest

import brex_accounting
from brex_accounting import worker

NAMES = [
    "APIError",
    "AccountingFieldValue",
    "AccountingRecord",
    "Attempt",
    "BadRequestError",
    "BrexAccounting",
    "BrexError",
    "CallTimeoutError",
    "ConfigurationError",
    "ConflictError",
    "ConnectionFailedError",
    "Consent",
    "DuplicateRecordsError",
    "ExportFailed",
    "ExportResult",
    "ExportSucceeded",
    "ForbiddenError",
    "Integration",
    "IntegrationExistsError",
    "IntegrationNotActiveError",
    "IntegrationStatus",
    "Integrations",
    "InvalidRecord",
    "InvalidResponseError",
    "LineItem",
    "LineItemType",
    "MemoryTokenStore",
    "Money",
    "NotFoundError",
    "OAuth2",
    "Outcome",
    "PRODUCTION",
    "PRODUCTION_TOKEN_URL",
    "RateLimit",
    "RateLimitedError",
    "ReauthorizationRequiredError",
    "Receipt",
    "RecordPage",
    "RecordStream",
    "RecordType",
    "Records",
    "RecordsNotReadyError",
    "ReportOutcome",
    "RecordsReadyForExport",
    "RetryPolicy",
    "ReviewStatus",
    "SQLiteTokenStore",
    "STAGING",
    "STAGING_TOKEN_URL",
    "ServerError",
    "SourceType",
    "StoredToken",
    "Token",
    "TokenRefreshError",
    "TokenStore",
    "UnauthorizedError",
    "UnknownEvent",
    "UnprocessableError",
    "User",
    "UserToken",
    "Vendor",
    "VendorAccountMismatchError",
    "WebhookVerificationError",
    "aiohttp_transport",
    "begin_consent",
    "finish_consent",
    "save_grant",
    "verify_webhook",
]

# From the design's list of signatures, as far as it is built. `...` as a default: any.
SIGNATURES = """
class BrexAccounting:
    def __init__(
        self, auth=None, *, base_url=None, timeout=30.0, retry=..., rate_limit=..., max_connections=20,
        transport=None, ssl_context=None, proxy=None, on_attempt=None,
    ): ...
    def with_options(self, *, timeout=..., retry=...): ...
    async def aclose(self): ...
    async def __aenter__(self): ...
    async def __aexit__(self, *exc): ...

class RetryPolicy:
    def __init__(
        self, *, max_attempts=4, deadline=120.0, initial_backoff=0.5, max_backoff=8.0, max_retry_after=60.0
    ): ...
    def none(): ...

class RateLimit:
    def __init__(self, requests, *, per): ...

class Integrations:
    async def create(self, vendor, vendor_account_id, *, idempotency_key=None): ...
    async def ensure(self, vendor, vendor_account_id, *, replace=False): ...
    async def disconnect(self, integration_id, *, idempotency_key=None): ...
    async def reactivate(self, integration_id, *, idempotency_key=None): ...
    async def ensure_disconnected(self, integration_id): ...
    async def ensure_active(self, integration_id): ...

class ExportSucceeded:
    def __init__(self, record_id, reference_id=None, deep_link_url=None): ...

class ExportFailed:
    def __init__(self, record_id, error_message): ...

class RecordStream:
    async def __anext__(self): ...
    async def aclose(self): ...
    async def __aenter__(self): ...
    async def __aexit__(self, *exc): ...

class Records:
    def ready_for_export(self, *, updated_after=None, page_size=100, on_invalid=None): ...
    async def get(self, record_id, *, single_entry=None): ...
    async def query(
        self, *, ids=None, review_status=None, source_type=None, updated_after=None, updated_before=None,
        single_entry=None, limit=100, cursor=None,
    ): ...
    def pages(
        self, *, ids=None, review_status=None, source_type=None, updated_after=None, updated_before=None,
        single_entry=None, page_size=100, cursor=None, on_invalid=None,
    ): ...
    def iterate(
        self, *, ids=None, review_status=None, source_type=None, updated_after=None, updated_before=None,
        single_entry=None, page_size=100, cursor=None, on_invalid=None,
    ): ...
    async def report(self, results, *, idempotency_key=None): ...
    async def report_all(self, results): ...

class UserToken:
    def __init__(self, token): ...

class OAuth2:
    def __init__(
        self, client_id, client_secret, *, account, store, refresh_token=None,
        token_url="https://accounts-api.brex.com/oauth2/default/v1/token", client_auth="basic",
        ssl_context=None, proxy=None, transport=None,
    ): ...

class MemoryTokenStore:
    def __init__(self): ...
    async def load(self, key): ...
    async def save(self, key, stored, *, expected_version): ...
    def lock(self, key): ...

class SQLiteTokenStore:
    def __init__(self, path): ...
    async def load(self, key): ...
    async def save(self, key, stored, *, expected_version): ...
    def lock(self, key): ...

class TokenStore:
    async def load(self, key): ...
    async def save(self, key, stored, *, expected_version): ...
    def lock(self, key): ...

def aiohttp_transport(*, max_connections=20): ...

async def begin_consent(
    client_id, redirect_uri, *, scopes=..., issuer="https://accounts-api.brex.com/oauth2/default", extra=...,
    ssl_context=None, proxy=None, transport=None
): ...

async def finish_consent(
    consent, callback_url, *, client_id, client_secret, account, store, client_auth=None,
    ssl_context=None, proxy=None, transport=None
): ...

async def save_grant(
    store, *, client_id, account, refresh_token, token_url="https://accounts-api.brex.com/oauth2/default/v1/token"
): ...

def verify_webhook(body, headers, secrets, *, tolerance=300.0): ...
"""

FIELDS = {
    "BrexAccounting": "integrations records",
    "Consent": "url state code_verifier redirect_uri",
    "Attempt": "operation number status error seconds retry_in idempotency_key trace_id",
    "Integration": "id vendor vendor_account_id status created_at unknown_fields",
    "AccountingFieldValue": "brex_field_id remote_field_id brex_field_value_id remote_field_value_id field_name "
    "field_value_name type",
    "ExportFailed": "record_id error_message",
    "ExportSucceeded": "record_id reference_id deep_link_url",
    "InvalidRecord": "record_id reason raw",
    "LineItem": "id type amount original_amount memo accounting_field_values billing_amount amortization",
    "Money": "amount currency",
    "Receipt": "id download_uris",
    "RecordPage": "items next_cursor has_next_page total_count",
    "ReportOutcome": "record_id status message error",
    "Token": "access_token refresh_token expires_at scope",
    "StoredToken": "token version dead seed_fingerprint former_seeds",
    "BrexError": "outcome operation attempts idempotency_key disconnected_integration_id",
    "APIError": "status error_code message details trace_id retry_after",
    "InvalidResponseError": "status content_type length trace_id record_id",
    "RecordsReadyForExport": "webhook_id record_ids company_id",
    "UnknownEvent": "webhook_id event_type payload",
    "WebhookVerificationError": "reason",
}


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[tuple[str, str, object]]:
    """Name, kind and default of each parameter."""
    arguments = function.args
    first_default = len(arguments.args) - len(arguments.defaults)
    default = [inspect.Parameter.empty] * first_default + [ast.literal_eval(d) for d in arguments.defaults]
    found = [(a.arg, "positional or keyword", d) for a, d in zip(arguments.args, default, strict=True)]
    if arguments.vararg:
        found.append((arguments.vararg.arg, "variadic positional", inspect.Parameter.empty))
    for argument, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        found.append((argument.arg, "keyword-only", ast.literal_eval(value) if value else inspect.Parameter.empty))
    return found


METHODS = [
    pytest.param(node.name, method, id=f"{node.name}.{method.name}")
    for node in ast.parse(SIGNATURES).body
    if isinstance(node, ast.ClassDef)
    for method in node.body
    if isinstance(method, (ast.FunctionDef, ast.AsyncFunctionDef))
]


def test_names() -> None:
    public = {
        name
        for name in dir(brex_accounting)
        if not name.startswith("_") and not isinstance(getattr(brex_accounting, name), ModuleType)
    }
    assert sorted(public) == sorted(brex_accounting.__all__) == sorted(NAMES)


def test_no_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        _ = brex_accounting.Nonsense  # type: ignore[attr-defined]


def test_the_names_that_type_checkers_see_are_the_names_that_are_loaded() -> None:
    tree = ast.parse(inspect.getsource(brex_accounting))
    guarded = next(node for node in tree.body if isinstance(node, ast.If))
    for node in guarded.body:
        assert isinstance(node, ast.ImportFrom)
        home = import_module(f"brex_accounting.{node.module}")
        for alias in node.names:
            assert getattr(brex_accounting, alias.name) is getattr(home, alias.name)
    assert {alias.name for node in guarded.body for alias in node.names} - {"__version__"} == set(NAMES)  # type: ignore[attr-defined]


def check_signature(function: Callable[..., object], method: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
    actual = inspect.signature(function).parameters.values()
    documented = parameters(method)
    assert [(p.name, p.kind.description) for p in actual] == [(name, kind) for name, kind, _ in documented]
    for parameter, (_, _, default) in zip(actual, documented, strict=True):
        if default is ...:
            assert parameter.default is not inspect.Parameter.empty
        else:
            assert parameter.default == default
    assert inspect.iscoroutinefunction(function) == isinstance(method, ast.AsyncFunctionDef)


@pytest.mark.parametrize(("owner", "method"), METHODS)
def test_signatures(owner: str, method: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
    check_signature(getattr(getattr(brex_accounting, owner), method.name), method)


@pytest.mark.parametrize(("owner", "names"), FIELDS.items())
def test_fields(owner: str, names: str) -> None:
    assert list(inspect.get_annotations(getattr(brex_accounting, owner))) == names.split()


FUNCTIONS = [
    pytest.param(node, id=node.name)
    for node in ast.parse(SIGNATURES).body
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
]


@pytest.mark.parametrize("documented", FUNCTIONS)
def test_functions(documented: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
    check_signature(getattr(brex_accounting, documented.name), documented)


def test_addresses() -> None:
    assert brex_accounting.PRODUCTION == "https://api.brex.com"
    assert brex_accounting.STAGING == "https://api-staging.brex.com"


def test_version() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", brex_accounting.__version__)


def test_everything_public_says_what_it_is() -> None:
    silent = []
    for name in NAMES:
        thing = getattr(brex_accounting, name)
        if isinstance(thing, str | UnionType):
            continue
        members = {f"{name}.{key}": value for key, value in vars(thing).items() if not key.startswith("_")}
        functions = {key: value for key, value in members.items() if inspect.isroutine(value)}
        silent += [key for key, value in {name: thing, **functions}.items() if not inspect.getdoc(value)]
    assert silent == []


def test_the_client_loads_most_when_it_is_made() -> None:
    script = """
import sys
from brex_accounting import BrexAccounting
late = {"brex_accounting._engine.call", "brex_accounting.records", "brex_accounting_api.models"}
assert not late & set(sys.modules), late & set(sys.modules)
BrexAccounting("bxt_x")
assert late <= set(sys.modules), late - set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_the_import_pulls_in_no_extra() -> None:
    script = "import sys; from brex_accounting import *; print(*{name.partition('.')[0] for name in sys.modules})"
    run = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert not {"starlette", "uvicorn", "cyclopts", "aiohttp", "dateutil"} & set(run.stdout.split())


def test_modules_are_attributes_of_the_package() -> None:
    run = "import brex_accounting; " + "; ".join(f"brex_accounting.{name}" for name in ("records", "webhooks", "auth"))
    subprocess.run([sys.executable, "-c", run], check=True)


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_class_names_its_public_place(name: str) -> None:
    """Pickles and reprs carry it, and a private module may move."""
    kind = getattr(brex_accounting, name)
    if isinstance(kind, type):
        assert re.fullmatch(r"brex_accounting(\.[a-z]+)?", kind.__module__)
        assert getattr(import_module(kind.__module__), name) is kind


@pytest.mark.parametrize("name", ["ExportStoreError", "NotBookedError", "WorkerRunningError"])
def test_an_error_of_the_worker_names_its_public_place(name: str) -> None:
    assert getattr(worker, name).__module__ == worker.__name__


def test_type_checkers_see_a_wrong_import(tmp_path: Path) -> None:
    file = tmp_path / "wrong.py"
    file.write_text("from brex_accounting import BrexAcounting\n")
    run = subprocess.run(
        [sys.executable, "-m", "mypy", "--cache-dir", tmp_path / "cache", file],
        capture_output=True,
        text=True,
        check=False,
    )
    assert 'Module "brex_accounting" has no attribute "BrexAcounting"' in run.stdout
