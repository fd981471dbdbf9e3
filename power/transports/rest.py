"""A JSON document fetched over HTTP, again and again.

Redirections are not followed, because they would carry a token to wherever they lead; proxies of the environment are not used,
because instruments are on the lab's own network.

Source: RFC 9110, 15 (status codes); RFC 8259 (JSON).
"""

from __future__ import annotations

import http.client
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any, Protocol

from power.errors import InstrumentError, LinkLost, MeterUnavailable, NoReading, ReplyInvalid

MOST_BYTES = 1 << 20
TIMEOUT_S = 5.0
UNAUTHORIZED, FORBIDDEN, NOT_FOUND = 401, 403, 404


class JsonSource(Protocol):
    """What the driver asks of its line."""

    @property
    def server(self) -> str | None:
        """What the server called itself in its last answer."""
        ...

    def get(self) -> object:
        """Fetch the document."""
        ...


class RestLine:
    """A URL that answers with JSON.

    headers   sent with each request
    ca_file   certificates to trust instead of the system's

    Raises MeterUnavailable from `__init__` if ca_file cannot be used.
    """

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = TIMEOUT_S,
        ca_file: str | None = None,
    ) -> None:
        self.url, self._timeout_s = url, timeout_s
        self.server: str | None = None
        self._headers = {"Accept": "application/json", **(headers or {})}
        handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({}), _NoRedirection()]
        if url.lower().startswith("https:"):
            handlers.append(urllib.request.HTTPSHandler(context=_context(url, ca_file)))
        self._opener = urllib.request.build_opener(*handlers)

    def get(self) -> object:
        """Fetch and read the document; numbers are as Python reads them, NaN included.

        Raises MeterUnavailable (no permission, nothing at that address), LinkLost (nobody answers), NoReading (not in time),
        InstrumentError (the server reports an error), ReplyInvalid (no JSON).
        """
        body = self._fetch()
        if len(body) > MOST_BYTES:
            raise ReplyInvalid(
                f"'{self.url}' answers with more than {MOST_BYTES >> 20} MiB; correct url in farm.toml."
            )
        try:
            return json.loads(body)
        except ValueError:
            start = " ".join(body[:40].decode("utf-8", "replace").split())
            raise ReplyInvalid(
                f"'{self.url}' answers '{start}', which is no JSON; correct url in farm.toml."
            ) from None

    def _fetch(self) -> bytes:
        request = urllib.request.Request(self.url, headers=self._headers)  # noqa: S310 - the driver lets http and https in
        try:
            with self._opener.open(request, timeout=self._timeout_s) as answer:
                self.server = answer.headers.get("Server")
                body: bytes = answer.read(MOST_BYTES + 1)
                if len(body) <= MOST_BYTES and answer.length:
                    raise http.client.IncompleteRead(body, answer.length)
                return body
        except urllib.error.HTTPError as error:
            with error:
                raise self._refused(error) from None
        except TimeoutError:
            raise self._late() from None
        except urllib.error.URLError as error:
            if isinstance(error.reason, TimeoutError):
                raise self._late() from None
            raise self._lost(error.reason) from None
        except (OSError, http.client.HTTPException) as error:
            raise self._lost(error) from None

    def _refused(self, error: urllib.error.HTTPError) -> Exception:
        status, where = f"{error.code} {error.reason}".strip(), f"'{self.url}'"
        if error.code in (UNAUTHORIZED, FORBIDDEN):
            return MeterUnavailable(
                f"{where} does not permit reading ({status}); correct token_env or headers in farm.toml."
            )
        if error.code == NOT_FOUND:
            return MeterUnavailable(f"There is nothing at {where} ({status}); correct url in farm.toml.")
        if 300 <= error.code < 400:
            to = error.headers.get("Location") or "another address"
            return MeterUnavailable(f"{where} redirects to '{to}'; write that into url in farm.toml.")
        return InstrumentError(f"The server of {where} reports an error ({status}); see its log.")

    def _late(self) -> NoReading:
        return NoReading(
            f"'{self.url}' did not answer within {self._timeout_s:g} s; check the server, or raise timeout_s."
        )

    def _lost(self, why: object) -> LinkLost:
        text = " ".join(str(why).split()) or type(why).__name__
        return LinkLost(
            f"'{self.url}' cannot be reached ({text}); check that the server runs, and url in farm.toml."
        )


class _NoRedirection(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any, **settings: Any) -> None:
        """Follow none: urllib makes an HTTPError of it."""


def _context(url: str, ca_file: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise MeterUnavailable(
            f"The certificates in '{ca_file}' for '{url}' cannot be used ({error}); check ca_file in farm.toml."
        ) from None
