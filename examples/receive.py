"""Receives Milepost's messages and verifies that they come from it (pip install standardwebhooks).

SECRET=whsec_... python examples/receive.py 9000    # docs/messages.md says where the secret comes from
"""

import json
import os
import sys
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, HTTPServer

from standardwebhooks import Webhook, WebhookVerificationError

webhook = Webhook(os.environ["SECRET"])
seen = set()  # better a table with a unique id, written in the transaction that acts on the message


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        try:
            webhook.verify(body, dict(self.headers))  # the bytes as they came, not JSON that was made of them
        except (WebhookVerificationError, ValueError):
            self.answer(401)
            return
        if self.headers["webhook-id"] not in seen:  # a message may come more than once
            seen.add(self.headers["webhook-id"])
            message = json.loads(body, parse_float=Decimal)
            print(message["type"], message["data"].get("user_id", ""), message["data"].get("name", ""), flush=True)
        self.answer(204)

    def answer(self, status):
        self.send_response(status)
        self.end_headers()


HTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver).serve_forever()
