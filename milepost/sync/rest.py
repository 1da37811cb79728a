# Generated from milepost/client by `make sync-client`; change it there.
"""Requests as one transport for a server and for this process: one idempotency key a call, and the same retries."""

from uuid import uuid4

from tenacity import Retrying, retry_if_exception

from milepost.client.errors import MilepostError, with_id, with_key
from milepost.client.transport import (
    ApiRequest,
    ApiResponse,
    Message,
    Patience,
    SyncSender,
    may_try_again,
    response_of,
    target_of,
)


class Transport:
    """Sends requests, again until they are answered or patience ends.

    A request that changes something has an Idempotency-Key, so that it is carried out once however often it is sent;
    but for a PUT, which sets the same again.
    """

    def __init__(self, sender: SyncSender, patience: Patience) -> None:
        self.sender = sender
        self._patience = patience

    def send(self, request: ApiRequest) -> ApiResponse:
        """The answer; raises the errors of milepost.client.errors."""
        key = request.idempotency_key or str(uuid4()) if request.takes_key else None
        headers = {"Content-Type": request.content_type} if request.body is not None else {}
        if key is not None:
            headers["Idempotency-Key"] = key
        message = Message(request.method, target_of(request), headers, request.raw_body)
        try:
            return self._send_with_retries(message)
        except MilepostError as error:
            with_key(with_id(error, request.ids), key)
            raise

    def close(self) -> None:
        """Close what is open; the next request opens it again."""
        self.sender.close()

    def _send_with_retries(self, message: Message) -> ApiResponse:
        retry = retry_if_exception(may_try_again)
        attempts = Retrying(retry=retry, wait=self._patience.pause_s, stop=self._patience.stop, reraise=True)
        for attempt in attempts:
            with attempt:
                return response_of(self.sender.send(message))
        raise AssertionError("the last try returns or raises")
