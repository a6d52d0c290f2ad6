"""The pytest plugin, in test runs of its own."""

import re
from importlib.metadata import entry_points

import pytest

from tests.support.project import ROOT

pytest_plugins = ["pytester"]


@pytest.fixture(autouse=True)
def _no_other_plugins(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    pytester.makeini("[pytest]\naddopts = -p brex_accounting.pytest_plugin\nfilterwarnings = error\n")


def test_pytest_finds_it_by_itself() -> None:
    (found,) = entry_points(group="pytest11", name="brex_accounting")
    assert found.load().brex_sandbox


def test_records_and_faults_of_ones_own(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import asyncio
        from decimal import Decimal

        import pytest
        from brex_accounting import BrexAccounting, RetryPolicy
        from brex_accounting.sandbox import Fault


        def connect(sandbox):
            retry = RetryPolicy(initial_backoff=0)
            return BrexAccounting(sandbox.token, base_url=sandbox.url, transport=sandbox.transport, retry=retry)


        def test_a_record(brex_sandbox):
            async def main():
                brex_sandbox.fault(Fault("status", status=503))
                brex_sandbox.add_record(memo="Taxi", amount={"amount": Decimal("84.10"), "currency": "USD"})
                async with connect(brex_sandbox) as brex:
                    return [(each.memo, str(each.amount.amount)) async for each in brex.records.iterate()]

            assert asyncio.run(main()) == [("Taxi", "84.10")]
            assert [each.status for each in brex_sandbox.requests] == [503, 200]


        @pytest.mark.brex_sandbox(records=[{"id": "accr_1"}, {"id": "accr_2"}], recent_days=1)
        def test_options(brex_sandbox):
            assert (list(brex_sandbox.state.records), brex_sandbox.recent_days) == (["accr_1", "accr_2"], 1)


        @pytest.mark.brex_sandbox(records=3)
        class TestSeveral:
            def test_one(self, brex_sandbox):
                brex_sandbox.add_record()
                assert len(brex_sandbox.state.records) == 4

            def test_other(self, brex_sandbox):
                assert len(brex_sandbox.state.records) == 3
        """
    )
    pytester.runpytest("--strict-markers").assert_outcomes(passed=4)


def test_over_a_socket(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import http.server
        import json
        import threading
        import urllib.request


        class Receiver(http.server.BaseHTTPRequestHandler):
            bodies = []
            received = threading.Event()

            def do_POST(self):
                self.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(204)
                self.end_headers()
                self.received.set()

            def log_message(self, *_):
                pass


        def test_synchronous_code(brex_sandbox, brex_sandbox_url):
            with http.server.HTTPServer(("127.0.0.1", 0), Receiver) as server:
                threading.Thread(target=server.handle_request).start()
                brex_sandbox.webhooks.register(f"http://127.0.0.1:{server.server_port}/")
                record_id = brex_sandbox.add_record()
                assert Receiver.received.wait(20)
            assert Receiver.bodies[0]["accounting_record_ids"] == [record_id]
            headers = {"Authorization": f"Bearer {brex_sandbox.token}"}
            request = urllib.request.Request(f"{brex_sandbox_url}/v3/accounting/records/{record_id}", headers=headers)
            with urllib.request.urlopen(request) as response:
                assert json.load(response)["id"] == record_id
            assert brex_sandbox.requests[0].status == 200


        def test_that_it_has_stopped():
            assert not [each for each in threading.enumerate() if each.name == "brex_sandbox"]
        """
    )
    pytester.runpytest().assert_outcomes(passed=2)


def test_a_server_that_does_not_start(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest
        from brex_accounting.sandbox import Sandbox

        @pytest.fixture
        def brex_sandbox():
            class Broken(Sandbox):
                def serve(self):
                    raise OSError("no port is left")
            return Broken()

        def test_it(brex_sandbox_url):
            pass
        """
    )
    ran = pytester.runpytest()
    ran.assert_outcomes(errors=1)
    ran.stdout.fnmatch_lines(["*OSError: no port is left"])


def test_it_costs_nothing_where_it_is_not_used(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import sys

        def test_modules():
            assert "brex_accounting.pytest_plugin" in sys.modules
            assert not {"httpx", "msgspec", "starlette", "uvicorn", "brex_accounting.sandbox"} & set(sys.modules)
        """
    )
    ran = pytester.runpytest_subprocess(
        "-p", "no:httpx_mock", "-p", "no:respx", "-p", "no:schemathesis", "-p", "no:anyio"
    )
    ran.assert_outcomes(passed=1)


def test_without_the_extra(pytester: pytest.Pytester) -> None:
    pytester.makeconftest("import sys\nsys.modules['starlette'] = None\n")
    pytester.makepyfile("def test_it(brex_sandbox): pass")
    ran = pytester.runpytest_subprocess()
    ran.assert_outcomes(errors=1)
    message = 'starlette is not installed; install what the sandbox needs with: pip install "brex-accounting[sandbox]"'
    ran.stdout.fnmatch_lines([f"*ModuleNotFoundError: {message.replace('[', '[[]')}"])


def test_the_marker_is_described(pytester: pytest.Pytester) -> None:
    pytester.runpytest("--markers").stdout.fnmatch_lines(["@pytest.mark.brex_sandbox(*options)*"])


@pytest.mark.parametrize(
    ("page", "plugins", "passed"), [("sandbox.md", [], 2), ("howto/testing.md", ["pytest_httpx", "respx.plugin"], 3)]
)
def test_the_examples_of_the_documentation(
    pytester: pytest.Pytester, page: str, plugins: list[str], passed: int
) -> None:
    blocks = re.findall("```python\n(.*?)```", (ROOT / "docs" / page).read_text("utf-8"), re.DOTALL)
    examples = [block for block in blocks if "def test_" in block]
    pytester.makepyfile(**{f"test_{number}": example for number, example in enumerate(examples)})
    pytester.runpytest_subprocess(*(f"-p{plugin}" for plugin in plugins)).assert_outcomes(passed=passed)
