"""The authorization server's state machine, without any I/O: what RFC 6749, 7636 and 9700 ask of it."""

from base64 import urlsafe_b64encode
from dataclasses import replace
from hashlib import sha256
from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from brex_accounting.sandbox import AuthorizationOptions, AuthorizationServer
from brex_accounting.sandbox._grants import Issued, OAuthError, Rotation, fingerprint
from tests.support.marks import examples

READ, WRITE = "accounting.record.read", "accounting.record.write"
REDIRECT = "http://127.0.0.1:7777/callback"
VERIFIER = "v" * 43
CHALLENGE = urlsafe_b64encode(sha256(VERIFIER.encode()).digest()).decode().rstrip("=")
DAY = 86_400


class Time:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def make_server(time: Time | None = None, **options: Any) -> AuthorizationServer:
    numbers = count(1)
    return AuthorizationServer(
        AuthorizationOptions(**options),
        api_scopes=[READ, WRITE],
        clock=time or Time(),
        new_secret=lambda: f"{next(numbers)}",
    )


def refresh(server: AuthorizationServer, token: str, scope: str | None = None) -> Issued:
    return server.refresh(server.client_id, token, scope)


def refused(code: str, description: str = "") -> Any:
    def check(error: OAuthError) -> bool:
        return error.code == code and description in error.description

    return pytest.RaisesExc(OAuthError, check=check)


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def server(time: Time) -> AuthorizationServer:
    return make_server(time)


class TestRotation:
    def test_each_refresh_gives_new_tokens(self, server: AuthorizationServer) -> None:
        tokens = [server.new_grant()]
        access_tokens = list[str]()
        for _ in range(3):
            issued = refresh(server, tokens[-1])
            assert issued.refresh_token is not None
            tokens.append(issued.refresh_token)
            access_tokens.append(issued.access_token)
            assert [server.is_live(token) for token in tokens] == [False] * (len(tokens) - 1) + [True]
        assert len({*tokens, *access_tokens}) == 7
        assert all(server.is_live(token) for token in access_tokens)
        assert (server.access_tokens_issued, server.refresh_tokens_issued, server.reuse_events) == (3, 4, 0)

    def test_reuse_revokes_the_whole_grant(self, server: AuthorizationServer) -> None:
        first, other = server.new_grant(), server.new_grant("another account")
        issued = refresh(server, first)
        with refused("invalid_grant", "rotated and then reused"):
            refresh(server, first)
        with refused("invalid_grant", "revoked"):
            refresh(server, str(issued.refresh_token))
        assert not server.is_live(issued.access_token)
        assert not server.is_live(str(issued.refresh_token))
        assert (server.reuse_events, [grant.reuse_events for grant in server.grants]) == (1, [1, 0])
        assert refresh(server, other).refresh_token is not None

    def test_reuse_is_found_however_old_the_token_is(self, server: AuthorizationServer, time: Time) -> None:
        first = server.new_grant()
        latest = str(refresh(server, first).refresh_token)
        for _ in range(3):
            time.now += 80 * DAY
            latest = str(refresh(server, latest).refresh_token)
        with refused("invalid_grant", "rotated and then reused"):
            refresh(server, first)
        assert not server.is_live(latest)

    def test_without_rotation(self, server: AuthorizationServer) -> None:
        token = server.new_grant()
        answers: list[tuple[Rotation, str | None]] = [("omit", None), ("repeat", token)]
        for rotation, answered in answers:
            server.options = replace(server.options, rotation=rotation)
            assert [refresh(server, token).refresh_token for _ in range(2)] == [answered] * 2
        assert (server.refresh_tokens_issued, server.access_tokens_issued) == (1, 4)

    def test_within_the_grace_the_same_answer_is_given_again(self, time: Time) -> None:
        server = make_server(time, grace=10)
        first = server.new_grant()
        issued = refresh(server, first)
        time.now += 9.9
        assert refresh(server, first) == replace(issued, repeated=True)
        assert (server.access_tokens_issued, server.refresh_tokens_issued, server.reuse_events) == (1, 2, 0)
        time.now += 0.1
        with refused("invalid_grant", "rotated and then reused"):
            refresh(server, first)

    def test_the_grace_ends_with_the_use_of_the_successor(self) -> None:
        server = make_server(grace=10)
        first = server.new_grant()
        refresh(server, str(refresh(server, first).refresh_token))
        with refused("invalid_grant", "rotated and then reused"):
            refresh(server, first)
        assert server.reuse_events == 1

    def test_a_revoked_grant_has_no_grace(self) -> None:
        server = make_server(grace=10)
        first = server.new_grant()
        refresh(server, first)
        server.revoke()
        with refused("invalid_grant"):
            refresh(server, first)


class TestRefresh:
    def test_unknown_tokens(self, server: AuthorizationServer) -> None:
        issued = refresh(server, server.new_grant())
        for token in ("", "refresh_x", issued.access_token):
            with refused("invalid_grant", "unknown"):
                refresh(server, token)
        assert server.is_live(issued.access_token)

    def test_a_refresh_token_is_one_clients(self, server: AuthorizationServer) -> None:
        token, (other, _) = server.new_grant(), server.new_client("other")
        theirs = server.new_grant(client_id=other)
        with refused("invalid_grant", "unknown"):
            server.refresh(other, token)
        refresh(server, token)
        with refused("invalid_grant", "unknown"):
            server.refresh(other, token)
        assert server.reuse_events == 0
        assert server.refresh(other, theirs).refresh_token is not None

    def test_scopes(self, server: AuthorizationServer) -> None:
        token = server.new_grant(scopes=[READ, WRITE])
        for scope in ("openid", f"{READ} nonsense", "", " ", f"{READ}  {WRITE}"):
            with refused("invalid_scope"):
                refresh(server, token, scope)
        narrow = refresh(server, token, READ)
        wide = refresh(server, str(narrow.refresh_token))
        callers = [server.caller(issued.access_token) for issued in (narrow, wide)]
        assert [caller.scopes for caller in callers if caller] == [{READ}, {READ, WRITE}]

    def test_access_tokens_expire(self, server: AuthorizationServer, time: Time) -> None:
        server.options = replace(server.options, expires_in=60)
        issued = refresh(server, server.new_grant())
        time.now += 59.9
        assert (issued.expires_in, server.is_live(issued.access_token)) == (60, True)
        time.now += 0.1
        assert not server.is_live(issued.access_token)

    def test_refresh_tokens_expire_unused(self, time: Time) -> None:
        server = make_server(time, rotation="omit")
        token = server.new_grant()
        for _ in range(2):
            time.now += 89 * DAY
            refresh(server, token)
        time.now += 90 * DAY
        assert not server.is_live(token)
        with refused("invalid_grant", "expired"):
            refresh(server, token)

    def test_expire_access_tokens(self, server: AuthorizationServer) -> None:
        first, second = (refresh(server, server.new_grant(account)) for account in ("a", "b"))
        server.expire_access_tokens("a")
        assert [server.is_live(issued.access_token) for issued in (first, second)] == [False, True]
        server.expire_access_tokens()
        assert not server.is_live(second.access_token)
        assert server.is_live(refresh(server, str(first.refresh_token)).access_token)

    def test_revoke(self, server: AuthorizationServer) -> None:
        first, second = server.new_grant("a"), server.new_grant("b")
        issued = refresh(server, first)
        server.revoke("a")
        assert [server.is_live(token) for token in (issued.access_token, str(issued.refresh_token), second)] == [
            False,
            False,
            True,
        ]
        server.revoke()
        with refused("invalid_grant", "revoked"):
            refresh(server, second)
        assert server.reuse_events == 0

    def test_who_calls(self, server: AuthorizationServer) -> None:
        """The rate limit is for a client and an account, whatever the token."""
        first, other = server.new_grant("a"), server.new_grant("b")
        issued = refresh(server, first)
        again = refresh(server, str(issued.refresh_token))
        names = [str(server.caller(each.access_token)) for each in (issued, again)]
        assert len(set(names)) == 1
        callers = [server.caller(each.access_token) for each in (again, refresh(server, other))]
        assert None not in callers
        assert callers[0] != callers[1]


class TestClients:
    def test_authentication(self, server: AuthorizationServer) -> None:
        server.authenticate(server.client_id, server.client_secret)
        other, secret = server.new_client("other", "sécret")
        server.authenticate(other, secret)
        pairs = [(server.client_id, secret), (other, ""), ("nobody", ""), ("", ""), (other, "secret"), (other, "é")]
        for client_id, client_secret in pairs:
            with refused("invalid_client"):
                server.authenticate(client_id, client_secret)

    def test_what_there_is_not(self, server: AuthorizationServer) -> None:
        with pytest.raises(ValueError, match="client"):
            server.new_client(server.client_id)
        with pytest.raises(ValueError, match="client"):
            server.new_grant(client_id="nobody")
        with pytest.raises(ValueError, match="scope"):
            server.new_grant(scopes=["nonsense"])

    def test_chosen_credentials(self) -> None:
        server = make_server(client_id="me", client_secret="hush")
        assert (server.client_id, server.client_secret) == ("me", "hush")

    @pytest.mark.parametrize(
        "options",
        [
            *({"client_id": ""}, {"client_secret": ""}, {"rotation": "never"}, {"expires_in": 0}, {"grace": -1}),
            *({"grace": float("nan")}, {"redirect_uris": ["https://a/#b"]}, {"redirect_uris": ["/callback"]}),
            *({"auth_methods": ()}, {"auth_methods": ("none",)}, {"consents": "no"}, {"sends_iss": 1}),
            *({"offline_access_needs_prompt": None}, {"code_lifetime": -1}, {"refresh_token_lifetime": -1}),
            *({"expires_in": True}, {"expires_in": 1.5}),
        ],
    )
    def test_options_that_make_no_sense(self, options: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=next(iter(options))):
            AuthorizationOptions(**options)


class TestConsent:
    def consent(self, server: AuthorizationServer, *, offline: bool = True, challenge: str | None = CHALLENGE) -> str:
        return server.consent(server.client_id, REDIRECT, f"{READ} offline_access" if offline else READ, challenge)

    def test_a_code_gives_tokens_once(self, server: AuthorizationServer) -> None:
        code = self.consent(server)
        issued = server.redeem(server.client_id, code, REDIRECT, VERIFIER)
        assert issued.scopes == {READ, "offline_access"}
        latest = refresh(server, str(issued.refresh_token))
        with refused("invalid_grant", "used before"):
            server.redeem(server.client_id, code, REDIRECT, VERIFIER)
        assert not any(map(server.is_live, (issued.access_token, latest.access_token, str(latest.refresh_token))))
        assert server.reuse_events == 0

    def test_without_offline_access_there_is_no_refresh_token(self, server: AuthorizationServer) -> None:
        issued = server.redeem(server.client_id, self.consent(server, offline=False), REDIRECT, VERIFIER)
        assert issued.refresh_token is None
        assert server.is_live(issued.access_token)

    @pytest.mark.parametrize(
        ("challenge", "verifier", "code"),
        [
            (CHALLENGE, None, "invalid_grant"),
            (CHALLENGE, "w" * 43, "invalid_grant"),
            (CHALLENGE, CHALLENGE, "invalid_grant"),
            (CHALLENGE, "v" * 42, "invalid_request"),
            (CHALLENGE, "v" * 129, "invalid_request"),
            (CHALLENGE, "ä" * 43, "invalid_request"),
            (None, VERIFIER, "invalid_grant"),
        ],
    )
    def test_pkce(self, server: AuthorizationServer, challenge: str | None, verifier: str | None, code: str) -> None:
        with refused(code):
            server.redeem(server.client_id, self.consent(server, challenge=challenge), REDIRECT, verifier)
        assert server.access_tokens_issued == 0

    def test_pkce_is_the_clients_choice(self, server: AuthorizationServer) -> None:
        issued = server.redeem(server.client_id, self.consent(server, challenge=None), REDIRECT, None)
        assert server.is_live(issued.access_token)

    @pytest.mark.parametrize("challenge", ["", "short", "=" * 43, CHALLENGE + "=", "é" * 43])
    def test_challenges_that_are_none(self, server: AuthorizationServer, challenge: str) -> None:
        with refused("invalid_request"):
            self.consent(server, challenge=challenge)

    def test_the_redirect_uri_is_the_same(self, server: AuthorizationServer) -> None:
        for uri in ("", f"{REDIRECT}/", REDIRECT.upper(), "http://127.0.0.1:7778/callback"):
            with refused("invalid_grant", "redirect_uri"):
                server.redeem(server.client_id, self.consent(server), uri, VERIFIER)

    def test_a_failed_attempt_spends_the_code(self, server: AuthorizationServer) -> None:
        code = self.consent(server)
        with refused("invalid_grant", "code_verifier"):
            server.redeem(server.client_id, code, REDIRECT, None)
        with refused("invalid_grant", "used before"):
            server.redeem(server.client_id, code, REDIRECT, VERIFIER)

    def test_codes_expire(self, server: AuthorizationServer, time: Time) -> None:
        code = self.consent(server)
        time.now += 60
        with refused("invalid_grant", "expired"):
            server.redeem(server.client_id, code, REDIRECT, VERIFIER)

    def test_a_revoked_grant_has_no_code(self, server: AuthorizationServer) -> None:
        code = self.consent(server)
        server.revoke()
        with refused("invalid_grant"):
            server.redeem(server.client_id, code, REDIRECT, VERIFIER)

    def test_a_code_is_one_clients(self, server: AuthorizationServer) -> None:
        code, (other, _) = self.consent(server), server.new_client()
        with refused("invalid_grant", "unknown"):
            server.redeem(other, code, REDIRECT, VERIFIER)
        with refused("invalid_grant", "unknown"):
            server.redeem(server.client_id, "code_x", REDIRECT, VERIFIER)
        assert server.redeem(server.client_id, code, REDIRECT, VERIFIER).refresh_token is not None

    def test_refusals(self, server: AuthorizationServer) -> None:
        for scope in (None, "nonsense", f"{READ} nonsense"):
            with refused("invalid_scope"):
                server.consent(server.client_id, REDIRECT, scope, CHALLENGE)
        server.options = replace(server.options, consents=False)
        with refused("access_denied"):
            self.consent(server)
        assert server.grants == []

    @pytest.mark.parametrize(
        ("uri", "trusted"),
        [
            *((REDIRECT, True), ("http://[::1]:1/", True), ("http://127.0.0.1", True), (f"{REDIRECT}?a=b", True)),
            *(("https://erp.example/brex", True), ("https://erp.example/brex/", False), (None, False), ("", False)),
            *(("https://erp.example/brex?a=b", False), ("https://127.0.0.1/", False), (f"{REDIRECT}#a", False)),
            *(("http://localhost:7777/", False), ("http://127.0.0.1.evil.example/", False), ("//127.0.0.1", False)),
            *(("http://127.0.0.1@evil.example/", False), ("http://evil.example\\@127.0.0.1/", False)),
            *(("http://127.0.0.1:1@evil.example/", False), ("http://127.0.0.1/\r\nX: y", False)),
            *(("http://127.0.0.1/ ", False), ("http://127.0.0.1/é", False), ("http://127.0.0.1:99999999/", False)),
        ],
    )
    def test_where_a_browser_may_be_sent(self, uri: str | None, trusted: bool) -> None:
        server = make_server(redirect_uris=("https://erp.example/brex",))
        assert server.trusts(server.client_id, uri) is trusted
        assert not server.trusts("nobody", uri)
        assert not server.trusts(None, uri)


class TestLog:
    def test_in_flight(self, server: AuthorizationServer) -> None:
        token = server.new_grant()
        asking: dict[str, Any] = {"grant_type": "refresh_token", "client_auth": "basic", "fault": None}
        with server.answering(token=token, **asking) as first, server.answering(token="unknown", **asking) as unknown:
            successor = str(refresh(server, token).refresh_token)
            with server.answering(token=successor, **asking), server.answering(token=None, **asking):
                assert server.grants[0].in_flight == 2
        with server.answering(token=token, **asking):
            assert server.grants[0].in_flight == 1
        assert (server.grants[0].in_flight, server.grants[0].in_flight_max) == (0, 2)
        assert (first.grant, unknown.grant) == (server.grants[0], None)
        assert first.fingerprint == fingerprint(token) == sha256(token.encode()).hexdigest()
        assert [line.grant is None for line in server.requests] == [False, True, False, True, False]

    def test_the_grant_of_a_token(self, server: AuthorizationServer) -> None:
        token = server.new_grant("a")
        issued = refresh(server, token)
        code = server.consent(server.client_id, REDIRECT, READ, None)
        for known in (token, issued.access_token, str(issued.refresh_token)):
            assert server.grant_of(known) is server.grants[0]
        assert server.grant_of(code) is server.grants[1]
        assert server.grant_of("unknown") is None

    def test_no_secret_is_shown(self) -> None:
        server = make_server(client_secret="CANARY")
        token = server.new_grant()
        with server.answering(grant_type="refresh_token", client_auth=None, token=token, fault=None):
            issued = refresh(server, token)
        shown = repr([server, server.options, server.grants, server.requests, issued, vars(server)])
        shown = shown.replace(repr(server._clients), "")
        for secret in ("CANARY", token, issued.access_token, str(issued.refresh_token)):
            assert secret not in shown


class Grants(RuleBasedStateMachine):
    """Whatever clients, customers and time do, in any order."""

    tokens = Bundle("tokens")
    access_tokens = Bundle("access_tokens")
    codes = Bundle("codes")

    @initialize(
        target=tokens,
        grace=st.sampled_from([0, 0, 10]),
        rotation=st.sampled_from(["rotate", "rotate", "omit", "repeat"]),
    )
    def start(self, grace: float, rotation: str) -> str:
        self.time = Time()
        self.server = make_server(self.time, grace=grace, rotation=rotation)
        self.issued = dict[str, list[str]]()  # the refresh tokens of each grant, in their order
        self.dead = set[str]()
        self.used = set[str]()
        return self.keep(self.server.new_grant("a"))

    def keep(self, token: str) -> str:
        grant = self.server.grant_of(token)
        assert grant is not None
        known = self.issued.setdefault(grant.id, [])
        if token not in known:
            known.append(token)
        return token

    @rule(target=tokens, account=st.sampled_from("ab"))
    def a_customer_consents(self, account: str) -> str:
        return self.keep(self.server.new_grant(account))

    @rule(target=codes)
    def a_customer_consents_in_a_browser(self) -> str:
        return self.server.consent(self.server.client_id, REDIRECT, f"{READ} offline_access", CHALLENGE)

    @rule(target=tokens, code=codes, verifier=st.sampled_from([VERIFIER, VERIFIER, None]))
    def a_code_is_redeemed(self, code: str, verifier: str | None) -> str:
        grant = self.server.grant_of(code)
        assert grant is not None
        first = code not in self.used
        self.used.add(code)
        try:
            issued = self.server.redeem(self.server.client_id, code, REDIRECT, verifier)
        except OAuthError:
            assert grant.revoked or first
            return "nothing"
        assert first
        assert verifier == VERIFIER
        return self.keep(str(issued.refresh_token))

    @rule(target=access_tokens, token=tokens)
    def a_token_is_used(self, token: str) -> str:
        grant, reuse_events = self.server.grant_of(token), self.server.reuse_events
        live = self.server.is_live(token)
        try:
            issued = refresh(self.server, token)
        except OAuthError:
            assert not live
            if grant is not None and token != self.issued[grant.id][-1]:
                assert grant.revoked, "reuse revokes"
                assert self.server.reuse_events == reuse_events + 1
            else:
                assert self.server.reuse_events == reuse_events
            return "nothing"
        assert grant is not None
        assert not grant.revoked
        assert self.server.reuse_events == reuse_events
        if issued.repeated:
            assert self.server.options.grace
            assert self.issued[grant.id][-2:] == [token, issued.refresh_token]
        else:
            assert live
            assert (self.server.options.rotation == "rotate") is not self.server.is_live(token)
            assert token == self.issued[grant.id][-1]
        self.keep(issued.refresh_token or token)
        return issued.access_token

    @rule(target=tokens, token=tokens)
    def a_client_looks_up_its_latest(self, token: str) -> str:
        grant = self.server.grant_of(token)
        return token if grant is None else self.issued[grant.id][-1]

    @rule(account=st.sampled_from("abc"))
    def a_customer_revokes(self, account: str) -> None:
        self.server.revoke(account)

    @rule(seconds=st.sampled_from([1, 9, 3600, 91 * DAY]))
    def time_passes(self, seconds: float) -> None:
        self.time.now += seconds

    @rule(token=access_tokens)
    def the_api_is_called(self, token: str) -> None:
        grant = self.server.grant_of(token)
        if grant is None or grant.revoked:
            assert self.server.caller(token) is None

    @invariant()
    def a_grant_has_one_live_refresh_token_at_most(self) -> None:
        for tokens in self.issued.values():
            assert sum(map(self.server.is_live, tokens)) <= 1
            assert not any(map(self.server.is_live, tokens[:-1]))

    @invariant()
    def a_revoked_grant_never_comes_back(self) -> None:
        revoked = {grant.id for grant in self.server.grants if grant.revoked}
        assert self.dead <= revoked
        self.dead = revoked
        for grant_id in revoked & self.issued.keys():
            assert not any(map(self.server.is_live, self.issued[grant_id]))


TestGrants = Grants.TestCase
TestGrants.settings = settings(max_examples=examples(150), stateful_step_count=30, deadline=None)


@given(st.text(), st.text())
def test_any_text_is_refused_or_right(token: str, secret: str) -> None:
    server = make_server()
    server.new_grant()
    with refused("invalid_grant"):
        refresh(server, token.encode(errors="ignore").decode())
    with refused("invalid_client"):
        server.authenticate(server.client_id, secret.encode(errors="ignore").decode())
