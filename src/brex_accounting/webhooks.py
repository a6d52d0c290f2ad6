"""Reads what Brex sends to a webhook, after proving that it comes from Brex.

Brex signs by the Standard Webhooks scheme: HMAC-SHA256 over ``id.timestamp.body``.
"""

from __future__ import annotations

import hmac
import re
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple, NoReturn

import msgspec
from attrs import field, frozen
from standardwebhooks import Webhook

from ._arguments import PRINTABLE_ASCII, check_not_negative
from ._clock import Clock
from ._http.body import Body
from ._text import without_bom
from .errors import ConfigurationError, WebhookReason, WebhookVerificationError

__all__ = ["RecordsReadyForExport", "UnknownEvent", "verify_webhook"]

READY_FOR_EXPORT = "ACCOUNTING_RECORD_READY_FOR_EXPORT"
MAX_BODY = 16 * 1024 * 1024
"""Bytes; some hundred thousand record ids."""
MAX_SIGNATURES = 64 * 1024
"""Characters of the header: more than a server takes."""
# 10 digits: until the year 2286, which the datetime of every platform can express.
_TIMESTAMP = re.compile(r"0|[1-9][0-9]{0,9}")
_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}(?:==)?|[A-Za-z0-9+/]{3}=?)?")
_DECODER = msgspec.json.Decoder(float_hook=Decimal)
_CLOCK = Clock()
_GZIP_MAGIC = b"\x1f\x8b"


@frozen(kw_only=True)
class RecordsReadyForExport:
    """Accounting records became ready for export.

    They were ready when the event was sent. Fetch the records before you book them: some may have been exported since.
    """

    webhook_id: str
    """The delivery's Webhook-Id. Brex sends an event again until it is answered: keep the ids of events that you have
    taken, and skip those that come again."""
    record_ids: tuple[str, ...]
    """The records, in the order of the event. One event can name many."""
    company_id: str | None = None
    """The company whose records they are, if the event says so."""


@frozen(kw_only=True)
class UnknownEvent:
    """A genuine event of a type that this version does not know. Answer it with 2xx, or Brex sends it again."""

    webhook_id: str
    """See `RecordsReadyForExport.webhook_id`."""
    event_type: str
    """The type, as received."""
    payload: dict[str, Any] = field(hash=False)
    """The whole body; a number with a fraction is a Decimal of exactly its digits."""


class _Delivery(NamedTuple):
    """What the headers say."""

    webhook_id: str
    timestamp: int
    signatures: list[str]
    encoding: str


def verify_webhook(
    body: bytes,
    headers: Mapping[str, str],
    secrets: str | Sequence[str],
    *,
    tolerance: float = 300.0,
) -> RecordsReadyForExport | UnknownEvent:
    """Prove that a webhook comes from Brex, and read it.

    Answer with 2xx as soon as you have noted the event, and work on it afterwards: a late answer counts as none, and
    the event is sent again. Deliveries come more than once, and in any order: deduplicate them by `webhook_id`.

    Args:
        body: The raw bytes of the request's body, never JSON that was parsed and written again: the signature is over
            these bytes. A gzip body may be passed as it came, or decompressed.
        headers: The request's headers, their names in any case: a dict, or the headers of your web framework.
        secrets: The webhook's signing secret, in base64, with or without its ``whsec_``. While it is being rotated,
            pass both, the new and the old one: a signature by either is good.
        tolerance: How many seconds the Webhook-Timestamp may differ from this machine's clock, in either direction. It
            bounds how long a recorded delivery can be replayed.

    Raises:
        WebhookVerificationError: It cannot be proved that Brex sent it just now, or its body cannot be read; `reason`
            says which. Answer it with 400, and do nothing else. Whatever a sender sends, this is the only error.
        ConfigurationError: The arguments cannot be used: no secret or a malformed one, a body that is not bytes.
    """
    # The frame of an error that is raised here must hold no secret.
    signers = _read_secrets(secrets)
    del secrets
    if isinstance(signers, str):
        raise ConfigurationError(signers)
    check_not_negative(tolerance, "tolerance")
    if not isinstance(body, bytes):
        raise ConfigurationError(
            f"body must be bytes, not {type(body).__name__}: pass the request's body as it came, unparsed."
        )
    # The headers of some frameworks are like a mapping without being one.
    if not callable(getattr(headers, "items", None)):
        raise ConfigurationError(f"headers must be a mapping of names to values, not {type(headers).__name__}.")
    delivery = _read_headers(headers)
    _check_age(delivery.timestamp, tolerance)
    content = _read_body(body, delivery.encoding)
    if not _is_signed(delivery, _read_text(content), signers):
        _reject("wrong_signature", "none of its signatures is valid for the secret")
    return _read_event(delivery.webhook_id, without_bom(content))


def _reject(reason: WebhookReason, text: str) -> NoReturn:
    raise WebhookVerificationError(f"The webhook is refused: {text}.", reason=reason)


def _read_secrets(secrets: object) -> list[Webhook] | str:
    """Return a signer for each secret, or else what is wrong with them, without showing one."""
    if isinstance(secrets, str):
        secrets = [secrets]
    if not isinstance(secrets, Sequence) or isinstance(secrets, (bytes, bytearray, memoryview)):
        return "secrets must be a string, or a list of them."
    if not secrets:
        return "secrets is empty: pass the webhook's signing secret."
    signers = []
    for secret in secrets:
        if not isinstance(secret, str):
            return f"A webhook secret must be a string, not {type(secret).__name__}."
        key = secret.strip().removeprefix("whsec_")
        if not key or not _BASE64.fullmatch(key):
            return "A webhook secret must be base64, with or without whsec_ before it: pass it as Brex shows it."
        signers.append(Webhook(key))
    return signers


def _read_headers(headers: Mapping[str, str]) -> _Delivery:
    found: dict[str, list[str]] = {"webhook-id": [], "webhook-timestamp": [], "webhook-signature": []}
    encodings = list[str]()
    for name, value in headers.items():
        if isinstance(name, str) and name.lower() == "content-encoding" and isinstance(value, str):
            encodings.append(value)
        values = found.get(name.lower()) if isinstance(name, str) else None
        if values is not None and value is not None and value != "":
            values.append(value)
    for name, values in found.items():
        title = name.title()
        if not values:
            _reject("missing_header", f"it has no {title}")
        if not all(isinstance(value, str) for value in values):
            _reject("malformed_header", f"its {title} is not text")
    if len(found["webhook-id"]) > 1 or not PRINTABLE_ASCII.fullmatch(found["webhook-id"][0]):
        _reject("malformed_header", "its Webhook-Id is not one text of 1 to 255 printable ASCII characters")
    if len(found["webhook-timestamp"]) > 1 or not _TIMESTAMP.fullmatch(found["webhook-timestamp"][0]):
        _reject("malformed_header", "its Webhook-Timestamp is not one whole number of seconds")
    signatures = " ".join(found["webhook-signature"])
    if len(signatures) > MAX_SIGNATURES:
        _reject("too_large", f"its Webhook-Signature is longer than {MAX_SIGNATURES} characters")
    return _Delivery(
        found["webhook-id"][0], int(found["webhook-timestamp"][0]), signatures.split(), ",".join(encodings)
    )


def _check_age(timestamp: int, tolerance: float) -> None:
    age = _CLOCK.wall() - timestamp
    if age > tolerance:
        _reject("stale_timestamp", f"it was sent {age:.0f} seconds ago, and the tolerance is {tolerance:g}")
    if age < -tolerance:
        _reject(
            "future_timestamp",
            f"it was sent {-age:.0f} seconds in the future by this machine's clock, and the tolerance is {tolerance:g}",
        )


def _read_body(body: bytes, encoding: str) -> bytes:
    """Decompress a body that is compressed: some servers have done so already, and left the header as it was."""
    compressed = Body(encoding if body.startswith(_GZIP_MAGIC) else None, MAX_BODY)
    broken = False
    try:
        compressed.feed(body)
    except zlib.error:
        broken = True
    if compressed.too_large:
        _reject("too_large", f"its body is larger than {MAX_BODY} bytes")
    if broken or compressed.defect:
        _reject("unreadable_body", "its body cannot be decompressed")
    return compressed.decompressed


def _read_text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:
        pass
    _reject("unreadable_body", "its body is not UTF-8")


def _is_signed(delivery: _Delivery, text: str, signers: list[Webhook]) -> bool:
    """Compare all signatures with those of all secrets, so that timing does not reveal which one matched."""
    # A timestamp without a leading zero, a sign or a fraction is signed exactly as it came.
    moment = datetime.fromtimestamp(delivery.timestamp, UTC)
    # As text, not decoded: text that is not base64 does not match, and each signature has one spelling. Other versions
    # than v1 do not match either.
    given = [signature.encode("utf-8", "surrogatepass") for signature in delivery.signatures]
    matches = False
    for signer in signers:
        expected = signer.sign(delivery.webhook_id, moment, text).encode()
        for signature in given:
            matches |= hmac.compare_digest(signature, expected)
    return matches


def _read_event(webhook_id: str, body: bytes) -> RecordsReadyForExport | UnknownEvent:
    payload: object = None
    # JSON nested too deeply, or a number that Decimal cannot hold, are not ValueErrors.
    with suppress(ValueError, RecursionError, ArithmeticError):
        payload = _DECODER.decode(body)
    if not isinstance(payload, dict):
        _reject("unreadable_body", "its body is not a JSON object")
    event_type = payload.get("event_type")
    if not isinstance(event_type, str) or not event_type:
        _reject("unreadable_body", "its body has no event_type")
    if event_type != READY_FOR_EXPORT:
        return UnknownEvent(webhook_id=webhook_id, event_type=event_type, payload=payload)
    # Brex publishes both spellings.
    record_ids = _first(payload, "accounting_record_ids", "accountingRecordIds")
    company_id = _first(payload, "company_id", "companyId")
    if not isinstance(record_ids, list) or not all(isinstance(each, str) and each.strip() for each in record_ids):
        _reject("unreadable_body", "its accounting_record_ids are not a list of ids")
    if not isinstance(company_id, str | None):
        _reject("unreadable_body", "its company_id is not text")
    return RecordsReadyForExport(webhook_id=webhook_id, record_ids=tuple(record_ids), company_id=company_id)


def _first(payload: dict[str, Any], *names: str) -> object:
    return next((payload[name] for name in names if payload.get(name) is not None), None)
