"""uvicorn's HTTP protocol with a limit on a request's head, which httptools itself does not have."""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from slonik.serving.errors import ApiError

MOST_HEAD_BYTES = 65_536  # request line and headers


class LimitedProtocol(HttpToolsProtocol):
    """Answers 431 and hangs up when the request line and headers are longer than MOST_HEAD_BYTES."""

    _head_bytes: int | None = None  # of a head that is not complete; None outside one

    def on_message_begin(self) -> None:
        """A request begins."""
        self._head_bytes = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Its head is complete."""
        self._head_bytes = None
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Parse what arrived, unless the head has grown too long."""
        super().data_received(data)
        if self._head_bytes is None or self.transport.is_closing():
            return
        self._head_bytes += len(data)
        if self._head_bytes > MOST_HEAD_BYTES:
            self.transport.write(_refusal())
            self.transport.close()


def _refusal() -> bytes:
    message = f"the request line and headers are longer than {MOST_HEAD_BYTES} bytes: put texts into the body"
    answer = ApiError(431, message, code="headers_too_large", headers={"Connection": "close"}).response()
    head = b"".join(name + b": " + value + b"\r\n" for name, value in answer.raw_headers)
    return b"HTTP/1.1 431 Request Header Fields Too Large\r\n" + head + b"\r\n" + bytes(answer.body)
