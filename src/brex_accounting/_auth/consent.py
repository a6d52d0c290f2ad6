"""A customer's consent: authorization code with PKCE, for web applications and the command (RFC 6749, 7636, 9207)."""

from __future__ import annotations

import asyncio
import hmac
import re
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from contextlib import AsyncExitStack
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import msgspec

from brex_accounting._arguments import SURROGATE, check_text
from brex_accounting._clock import Clock, TimeLimit
from brex_accounting._http.addresses import check_base_url
from brex_accounting._http.network import Transport
from brex_accounting._http.response import Response, TransportFailure
from brex_accounting._retry import RetryPolicy
from brex_accounting._text import printable
from brex_accounting.errors import BrexError, ConfigurationError, ReauthorizationRequiredError, TokenRefreshError

from .callback import Callback, read_callback
from .discovery import PRODUCTION_ISSUER, discover
from .token_endpoint import DEADLINE, TokenReply, ask, read_token_reply, token_request
from .tokens import StoredToken, Token, TokenStore, _Veiled, fingerprint, store_key

SCOPES = (
    "openid",
    "offline_access",
    "accounting.integration.read",
    "accounting.integration.write",
    "accounting.record.read",
    "accounting.record.write",
)
SAVES = 4

_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")  # RFC 6749 3.3
_REFUSALS = {"access_denied", "consent_required", "interaction_required", "login_required"}
_clock = Clock()
_under_way = set[asyncio.Task[None]]()
"""Redemptions, which go on when nobody waits for them any more."""


class _Server(_Veiled, frozen=True, kw_only=True):
    """The authorization server that a consent was begun with."""

    _issuer: str
    _token_endpoint: str


class Consent(_Server, frozen=True):
    """A consent that was begun: keep it (in the customer's session) until the customer comes back.

    It can be pickled. Its repr shows nothing of it.
    """

    url: str
    """Where to send the customer's browser."""
    state: str
    """What must come back with the browser, to tell its callback from a forged one."""
    code_verifier: str
    """What proves that whoever redeems the code began the consent (PKCE): a secret."""
    redirect_uri: str
    """Where the browser comes back to."""


async def begin_consent(
    client_id: str,
    redirect_uri: str,
    *,
    scopes: Sequence[str] = SCOPES,
    issuer: str = PRODUCTION_ISSUER,
    transport: Transport = None,
) -> Consent:
    """Begin to ask a customer for consent: send the customer's browser to the `url` of what this returns.

    Args:
        client_id: The partner's client id.
        redirect_uri: Where the browser comes back to, as registered with Brex; https, or http on loopback.
        scopes: What to ask for. Without ``offline_access`` there is no refresh token, and `finish_consent` fails.
        issuer: The authorization server. Its discovery document names the endpoints, which must be on its host.
        transport: As for `OAuth2`.

    Raises:
        ConfigurationError: An argument cannot be right; nothing was sent.
        TokenRefreshError: The authorization server gives no answer now.
        InvalidResponseError: Its discovery document cannot be read, or is not to be trusted.
    """
    check_text(client_id, "client_id")
    _check_redirect_uri(redirect_uri)
    if isinstance(scopes, str) or not all(isinstance(scope, str) and _SCOPE.fullmatch(scope) for scope in scopes):
        raise ConfigurationError("scopes must be a list of strings, each one scope: no spaces in them, none empty.")
    authorization_endpoint, token_endpoint = await discover(issuer, transport)
    state, code_verifier = secrets.token_urlsafe(32), secrets.token_urlsafe(48)
    query = {
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": redirect_uri,
        "scope": " ".join(scopes),
        "state": state,
        "code_challenge": urlsafe_b64encode(sha256(code_verifier.encode()).digest()).decode().rstrip("="),
        "code_challenge_method": "S256",
    }
    url = f"{authorization_endpoint}{'&' if '?' in authorization_endpoint else '?'}{urlencode(query)}"
    return Consent(url, state, code_verifier, redirect_uri, _issuer=issuer, _token_endpoint=token_endpoint)


async def finish_consent(
    consent: Consent,
    callback_url: str,
    *,
    client_id: str,
    client_secret: str,
    account: str,
    store: TokenStore,
    transport: Transport = None,
) -> None:
    """Finish a consent: redeem what the browser came back with, and put the tokens into the store.

    They replace what the store holds for the account. An `OAuth2` with the same client id, account and store uses them;
    a refresh token that it is given as a seed, and that was in the store before, does not replace them. Cancelling this
    does not end a redemption that is under way, for its code works only once.

    Args:
        consent: What `begin_consent` returned for this customer.
        callback_url: The address that the browser came back to, with its query; its host does not matter.
        client_id: The partner's client id.
        client_secret: Its secret; it goes to the token endpoint that the consent was begun with, as HTTP Basic.
        account: Your name for the customer.
        store: Where the tokens are kept.
        transport: As for `OAuth2`.

    Raises:
        ConfigurationError: An argument cannot be right, or the callback does not belong to this consent (another
            state): nothing was sent.
        ReauthorizationRequiredError: The customer refused.
        TokenRefreshError: The authorization server refused, or could not be asked; or the tokens could not be saved.
    """
    redemption = _Redemption(consent, callback_url, client_id, client_secret, account, store, transport)
    del callback_url, client_secret  # or they would stand in tracebacks that show locals
    redemption.check()
    task = asyncio.get_running_loop().create_task(redemption.run(), name="brex-accounting-consent")
    _under_way.add(task)
    task.add_done_callback(_forget)
    await asyncio.wait([task])
    error = task.exception()
    if error is not None:
        raise error


def _forget(task: asyncio.Task[None]) -> None:
    _under_way.discard(task)
    if not task.cancelled():
        task.exception()  # or asyncio complains that nobody looked


class _Redemption:
    """A code that becomes tokens. Nothing of it is raised where a secret is a local variable."""

    def __init__(  # noqa: PLR0917 - one caller, above
        self,
        consent: Consent,
        callback_url: str,
        client_id: str,
        client_secret: str,
        account: str,
        store: TokenStore,
        transport: Transport,
    ) -> None:
        self._consent = consent
        self._callback = read_callback(callback_url)
        self._client_id = client_id
        self._client_secret = client_secret
        self._account = account
        self._store = store
        self._transport = transport

    def check(self) -> None:
        """Refuse what is wrong before anything is sent."""
        consent, callback = self._consent, self._callback
        if not isinstance(consent, Consent):
            raise ConfigurationError("consent must be what begin_consent returned.")
        check_text(self._client_id, "client_id")
        check_text(self._account, "account")
        if not isinstance(self._client_secret, str) or not self._client_secret:
            raise ConfigurationError("client_secret must be a string, and not empty.")
        if SURROGATE.search(self._client_secret):  # the error of encoding it would hold it
            raise ConfigurationError("client_secret holds a character that is not Unicode text (a lone surrogate).")
        if not all(callable(getattr(self._store, name, None)) for name in ("load", "save", "lock")):
            raise ConfigurationError("store must be a TokenStore, such as SQLiteTokenStore(path).")
        if callback is None or callback.state is None:
            raise ConfigurationError(
                "callback_url is no answer to a consent: pass the whole address that the browser came back to."
            )
        if not hmac.compare_digest(_bytes(callback.state), _bytes(consent.state)):
            raise ConfigurationError(
                "The callback's state is not this consent's: it is forged, or belongs to another consent."
            )
        if callback.iss is not None and callback.iss != consent._issuer:  # noqa: SLF001
            raise ConfigurationError("The callback is of another authorization server (iss) than this consent.")
        if callback.error is not None:
            self._refused(callback)
        if callback.code is None:
            raise ConfigurationError(
                "The callback holds neither a code nor an error: pass the whole address that the browser came to."
            )

    def _refused(self, callback: Callback) -> None:
        what = ": ".join(printable(text) for text in (callback.error, callback.error_description) if text)
        if callback.error in _REFUSALS:
            raise ReauthorizationRequiredError(
                f"There is no consent for {self._account!r} ({what}). To go on, ask the customer to consent again."
            )
        raise TokenRefreshError(
            f"The authorization server did not ask for the consent of {self._account!r} ({what}). Begin it again."
        )

    async def run(self) -> None:
        """Lock, reload, redeem, save."""
        key = store_key(self._consent._token_endpoint, self._client_id, self._account)  # noqa: SLF001
        async with AsyncExitStack() as locked:
            problem, stored = "", None
            try:
                with TimeLimit(DEADLINE):
                    await locked.enter_async_context(self._store.lock(key))
                    stored = await self._store.load(key)
            except BrexError:
                raise
            except Exception as error:  # noqa: BLE001 - a store may be anything; its words could hold a secret
                problem = type(error).__name__
            if problem:
                raise TokenRefreshError(
                    f"The consent of {self._account!r} was not redeemed: the token store cannot be had ({problem}). "
                    "Call finish_consent again at once, or begin the consent again."
                )
            reply = await self._redeem()
            await self._save(key, stored, self._checked(reply))

    async def _redeem(self) -> TokenReply:
        _, reply = await ask(self._consent._token_endpoint, self._transport, self._request, self._read)  # noqa: SLF001
        return msgspec.structs.replace(reply, text=self._redacted(reply.text))

    def _request(self) -> dict[str, Any]:
        form = {
            "grant_type": "authorization_code",
            "code": "" if self._callback is None else self._callback.code or "",
            "redirect_uri": self._consent.redirect_uri,
            "code_verifier": self._consent.code_verifier,
        }
        return token_request(self._client_id, self._client_secret, "basic", form)

    def _read(self, came: Response | TransportFailure) -> TokenReply:
        asked = parse_qs(urlsplit(self._consent.url).query).get("scope", [None])[-1]
        return read_token_reply(came, Token(scope=asked), now=_clock.wall())  # no scope in the answer: it is as asked

    def _checked(self, reply: TokenReply) -> Token:
        token, text = reply.token, reply.text
        if token is not None and token.refresh_token is None:
            text = "it gave no refresh token: ask for the scope offline_access"
        elif token is not None:
            return token
        raise TokenRefreshError(
            f"The consent of {self._account!r} could not be redeemed: {text}. The code works only once: begin it again."
        )

    def _redacted(self, text: str) -> str:
        code = None if self._callback is None else self._callback.code
        for secret in (self._client_secret, code, self._consent.code_verifier):
            text = text.replace(secret or self._client_secret, "[redacted]")
        return text

    async def _save(self, key: str, stored: StoredToken | None, token: Token) -> None:
        problem = ""
        for attempt in range(SAVES):
            expected = None if stored is None else stored.version
            # That of an older seed stays: the seed is still in the environment, and must not replace this consent.
            seed = (None if stored is None else stored.seed_fingerprint) or fingerprint(token.refresh_token or "")
            try:
                former = () if stored is None else stored.former_seeds
                new = StoredToken(token, (expected or 0) + 1, seed_fingerprint=seed, former_seeds=former)
                if await self._store.save(key, new, expected_version=expected):
                    return
                stored = await self._store.load(key)
                problem = "others keep saving"
            except Exception as error:  # noqa: BLE001 - as above
                problem = str(error) if isinstance(error, BrexError) else type(error).__name__
            await _clock.sleep(RetryPolicy().backoff(attempt, _clock))
        raise TokenRefreshError(
            f"The tokens of {self._account!r} could not be saved, and are lost ({problem.rstrip('.')}). "
            "Mend the store, and begin the consent again."
        )


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogatepass")


def _check_redirect_uri(value: object) -> None:
    if isinstance(value, str) and "#" in value:
        raise ConfigurationError("redirect_uri must not hold a fragment.")
    check_base_url(value.partition("?")[0] if isinstance(value, str) else value, "redirect_uri")
