"""A customer's consent: authorization code with PKCE, for web applications and the command (RFC 6749, 7636, 9207)."""

from __future__ import annotations

import asyncio
import copy
import hmac
import logging
import re
import secrets
import ssl
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from types import MappingProxyType
from urllib.parse import parse_qs, urlencode, urlsplit

from brex_accounting._arguments import SURROGATE, check_text
from brex_accounting._clock import Clock
from brex_accounting._http.addresses import check_base_url
from brex_accounting._http.connector import Transport
from brex_accounting._text import Secret, printable, veil
from brex_accounting.errors import BrexError, ConfigurationError, ReauthorizationRequiredError, TokenRefreshError

from .callback import Callback, read_callback
from .discovery import PRODUCTION_ISSUER, discover
from .grant_store import GrantStore, StoreFailure
from .secret import Given, check_client_secret
from .seeds import with_new_consent
from .tasks import ShieldedTask
from .token_endpoint import Route, TokenEndpoint, persist
from .token_messages import ClientAuth, Reply, TokenReply, check_client_auth
from .tokens import StoredToken, Token, TokenStore, _Veiled, check_store, store_key

OFFLINE_ACCESS = "offline_access"
SCOPES = (
    "openid",
    OFFLINE_ACCESS,
    "accounting.integration.read",
    "accounting.integration.write",
    "accounting.record.read",
    "accounting.record.write",
)

_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")  # RFC 6749 3.3
_OURS = {"response_type", "client_id", "redirect_uri", "scope", "state", "code_challenge", "code_challenge_method"}
_REFUSALS = {"access_denied", "consent_required", "interaction_required", "login_required"}
_clock = Clock()
_under_way = set[ShieldedTask]()
"""Redemptions, which go on when nobody waits for them any more."""

logger = logging.getLogger("brex_accounting")


class _Server(_Veiled, frozen=True, kw_only=True):
    """The authorization server that a consent was begun with."""

    _issuer: str
    _token_endpoint: str
    _client_auth: ClientAuth = "basic"
    _promises_iss: bool = False


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
    extra: Mapping[str, str] = MappingProxyType({}),
    ssl_context: ssl.SSLContext | None = None,
    proxy: str | None = None,
    transport: Transport = None,
) -> Consent:
    """Begin to ask a customer for consent: send the customer's browser to the `url` of what this returns.

    Args:
        client_id: The partner's client id.
        redirect_uri: Where the browser comes back to, as registered with Brex; https, or http on loopback.
        scopes: What to ask for. Without ``offline_access`` there is no refresh token, and `finish_consent` fails.
        issuer: The authorization server. Its discovery document names the endpoints, which must be on its host.
        extra: Further parameters of the authorization URL, such as ``{"prompt": "consent"}``, without which some
            servers give no refresh token to a customer who consented before.
        ssl_context: As for `OAuth2`.
        proxy: As for `OAuth2`.
        transport: As for `OAuth2`.

    Raises:
        ConfigurationError: An argument cannot be right; nothing was sent.
        TokenRefreshError: The authorization server gives no answer now.
        InvalidResponseError: Its discovery document cannot be read, or is not to be trusted.
    """
    proxy = veil(proxy)
    route = Route(transport, ssl_context, proxy)
    check_text(client_id, "client_id")
    _check_redirect_uri(redirect_uri)
    if isinstance(scopes, str) or not all(isinstance(scope, str) and _SCOPE.fullmatch(scope) for scope in scopes):
        raise ConfigurationError("scopes must be a list of strings, each one scope: no spaces in them, none empty.")
    _check_extra(extra)
    server = await discover(issuer, route, _clock)
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
    endpoint = server.authorization_endpoint
    return Consent(
        f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode({**query, **extra})}",
        state,
        code_verifier,
        redirect_uri,
        _issuer=issuer,
        _token_endpoint=server.token_endpoint,
        _client_auth=server.client_auth,
        _promises_iss=server.promises_iss,
    )


async def finish_consent(
    consent: Consent,
    callback_url: str,
    *,
    client_id: str,
    client_secret: str,
    account: str,
    store: TokenStore,
    client_auth: ClientAuth | None = None,
    ssl_context: ssl.SSLContext | None = None,
    proxy: str | None = None,
    transport: Transport = None,
) -> None:
    """Finish a consent: redeem what the browser came back with, and put the tokens into the store.

    They replace what the store holds for the account. An `OAuth2` with the same client id, account and store uses them;
    a refresh token that it is given as a seed, and that was in the store before, does not replace them. Cancelling this
    does not end a redemption that is under way, since its code works only once. If the customer granted fewer scopes
    than were asked for, a warning is logged.

    Args:
        consent: What `begin_consent` returned for this customer.
        callback_url: The address that the browser came back to, with its query; its host does not matter.
        client_id: The partner's client id.
        client_secret: Its secret; it goes to the token endpoint that the consent was begun with.
        account: Your name for the customer.
        store: Where the tokens are kept.
        client_auth: Whether the client's credentials go as HTTP Basic or in the body (RFC 6749 2.3.1). Without it, the
            way that the discovery document names, Basic if it names both or none.
        ssl_context: As for `OAuth2`.
        proxy: As for `OAuth2`.
        transport: As for `OAuth2`.

    Raises:
        ConfigurationError: An argument cannot be right, or the callback does not belong to this consent (another
            state, another server): nothing was sent.
        ReauthorizationRequiredError: The customer refused.
        TokenRefreshError: The authorization server refused, or could not be asked; or the tokens could not be saved.
    """
    callback, secret = read_callback(callback_url), Given(client_secret)
    del callback_url, client_secret  # or they would stand in tracebacks that show locals
    proxy = veil(proxy)
    route = Route(transport, ssl_context, proxy)
    if not isinstance(consent, Consent):
        raise ConfigurationError("consent must be what begin_consent returned.")
    check_text(client_id, "client_id")
    check_text(account, "account")
    check_store(store)
    if client_auth is not None:
        check_client_auth(client_auth)
    token_url = consent._token_endpoint  # noqa: SLF001
    endpoint = TokenEndpoint(
        check_base_url(token_url),
        client_id,
        check_client_secret(secret),
        client_auth or consent._client_auth,  # noqa: SLF001
        route,
    )
    grant = GrantStore(store, store_key(token_url, client_id, account), _clock)
    redemption = _Redemption(consent, _checked(consent, callback, account), account, endpoint, grant)
    task = ShieldedTask(redemption.run(), loop=asyncio.get_running_loop(), name="brex-accounting-consent")
    _under_way.add(task)
    task.add_done_callback(_under_way.discard)
    await asyncio.wait([task])
    if (error := task.result()) is not None:
        raise error


def _checked(consent: Consent, callback: Callback | None, account: str) -> Callback:
    """Refuse a callback that does not give a code for this consent."""
    if callback is None or callback.state is None:
        raise ConfigurationError(
            "callback_url is not an answer to a consent: pass the whole address that the browser came back to."
        )
    if not hmac.compare_digest(_bytes(callback.state), _bytes(consent.state)):
        raise ConfigurationError(
            "The callback's state is not this consent's: it is forged, or belongs to another consent."
        )
    if callback.iss != consent._issuer and (callback.iss is not None or consent._promises_iss):  # noqa: SLF001
        raise ConfigurationError(
            "The callback does not name the authorization server (iss) that this consent was begun with: it is forged, "
            "or belongs to another consent."
        )
    if callback.error is not None:
        what = ": ".join(printable(text) for text in (callback.error, callback.error_description) if text)
        if callback.error in _REFUSALS:
            raise ReauthorizationRequiredError(
                f"There is no consent for {account!r} ({what}). To go on, ask the customer to consent again."
            )
        raise TokenRefreshError(
            f"The authorization server did not ask for the consent of {account!r} ({what}). Begin it again."
        )
    if callback.code is None:
        raise ConfigurationError(
            "The callback holds neither a code nor an error: pass the whole address that the browser came to."
        )
    return callback


@dataclass(frozen=True, slots=True)
class _Redemption:
    """A code that becomes tokens."""

    consent: Consent
    callback: Callback
    account: str
    endpoint: TokenEndpoint
    grant: GrantStore

    async def run(self) -> BrexError | None:
        """Lock, reload, redeem, save. An error is returned, as a copy without the frames that it came through."""
        try:
            async with self.grant.locked():
                return await self._redeem(await self.grant.load())
        except StoreFailure as failure:
            return TokenRefreshError(
                f"The consent of {self.account!r} was not redeemed: {failure}. Call finish_consent again at once, or "
                "begin the consent again."
            )
        except BrexError as error:
            return copy.copy(error)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - it could hold a secret
            return TokenRefreshError(
                f"The consent of {self.account!r} broke off ({type(error).__name__}). Begin it again."
            )

    async def _redeem(self, stored: StoredToken | None) -> BrexError | None:
        reply = await persist(self._ask, _clock)
        token, problem = reply.token, self._find_problem(reply)
        if token is None or token.refresh_token is None:
            return TokenRefreshError(
                f"The consent of {self.account!r} could not be redeemed: {problem}. The code works only once: begin it "
                "again."
            )

        def change(now: StoredToken | None) -> StoredToken | None:
            return None if now is not None and now.token == token else with_new_consent(now, token)

        try:
            await self.grant.swap(stored, change)
        except StoreFailure as failure:
            return TokenRefreshError(
                f"The tokens of {self.account!r} could not be saved, and are lost ({failure}). Fix the store, and "
                "begin the consent again."
            )
        if problem:
            return TokenRefreshError(
                f"The consent of {self.account!r} is stored with its refresh token, but {problem}. The first call asks "
                "for an access token again; begin the consent again if that fails too."
            )
        if missing := missing_scopes(self.consent, token):
            logger.warning("the consent of %r does not grant all that was asked for: %s", self.account, missing)
        return None

    async def _ask(self) -> TokenReply:
        return await self.endpoint.redeem(
            Secret(self.callback.code or ""),
            Secret(self.consent.code_verifier),
            self.consent.redirect_uri,
            " ".join(_scopes_of(self.consent)),
            _clock,
        )

    def _find_problem(self, reply: TokenReply) -> str:
        """Return what is wrong with the answer; "": it gave all that a consent gives."""
        if reply.reply is not Reply.GRANTED or reply.token is None:
            return reply.text
        if reply.token.refresh_token is not None:
            return ""
        if OFFLINE_ACCESS not in _scopes_of(self.consent):
            return f"it gave no refresh token: ask for the scope {OFFLINE_ACCESS}"
        return (
            f"it gave no refresh token, although {OFFLINE_ACCESS} was asked for: some servers give one only with "
            'extra={"prompt": "consent"}, and only to clients that may have them'
        )


def missing_scopes(consent: Consent, token: Token) -> str:
    """Return the scopes that were asked for and not granted, separated by spaces."""
    granted = set(_scopes_of(consent) if token.scope is None else token.scope.split())
    if token.refresh_token is not None:
        granted.add(OFFLINE_ACCESS)  # a server need not name it
    return " ".join(scope for scope in _scopes_of(consent) if scope not in granted)


def _scopes_of(consent: Consent) -> list[str]:
    return parse_qs(urlsplit(consent.url).query).get("scope", [""])[-1].split()


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogatepass")


def _check_redirect_uri(value: object) -> None:
    if isinstance(value, str) and "#" in value:
        raise ConfigurationError("redirect_uri must not hold a fragment.")
    check_base_url(value.partition("?")[0] if isinstance(value, str) else value, "redirect_uri")


def _check_extra(extra: object) -> None:
    if not isinstance(extra, Mapping) or not all(
        isinstance(text, str) and text and not SURROGATE.search(text) for pair in extra.items() for text in pair
    ):
        raise ConfigurationError("extra must map strings to strings, none of them empty.")
    if ours := sorted(_OURS & extra.keys()):
        raise ConfigurationError(f"extra must not hold {ours[0]}: begin_consent sets it.")
