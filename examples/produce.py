"""Puts one transaction on Milepost's stream, with redis-py alone (pip install redis).

MILEPOST_REDIS_URL=redis://... python examples/produce.py savings_001 250.00 USD
"""

import json
import os
import sys
import uuid
from datetime import UTC, datetime

from redis import Redis

if len(sys.argv) != 4:
    sys.exit("usage: MILEPOST_REDIS_URL=redis://... python examples/produce.py ACCOUNT_ID AMOUNT CURRENCY")
account_id, amount, currency = sys.argv[1:]
now = datetime.now(UTC).isoformat()
event = {
    "specversion": "1.0",
    "id": str(uuid.uuid4()),
    "source": "examples/produce.py",
    "type": "milepost.transaction.recorded",
    "time": now,
    "data": {
        "account_id": account_id,
        "transaction_id": str(uuid.uuid4()),  # better the bank's own id: the same id sent again counts once
        "amount": amount,  # as text, so that it is never a float
        "currency": currency,
        "posted_at": now,
    },
}
# Use any shard, from 0 to MILEPOST_SHARDS - 1.
entry = {"tenant": "default", "event": json.dumps(event)}
print(Redis.from_url(os.environ["MILEPOST_REDIS_URL"]).xadd("milepost:events:0", entry).decode())

# The same over HTTP; 202 means that it is on disk:
#   httpx.post("http://127.0.0.1:8000/events", json=event, headers={"Authorization": f"Bearer {key}"})
