"""What providers post and what is pulled from them, for tests."""

from __future__ import annotations

import json
from typing import Any

from core.providers.registry import Provider

POINTER = json.dumps(
    {"webhook_type": "TRANSACTIONS", "webhook_code": "SYNC_UPDATES_AVAILABLE", "item_id": "item_1"}
).encode()
OWN_EVENT = {
    "specversion": "1.0",
    "id": "e1",
    "source": "s",
    "type": "milepost.transaction.recorded",
    "time": "2026-01-31T12:00:00Z",
    "data": {"account_id": "a", "transaction_id": "t", "amount": 1, "currency": "USD", "posted_at": "2026-01-31"},
}
OWN = json.dumps(OWN_EVENT).encode()
TELLER_HOOK = json.dumps(
    {
        "id": "wh_1",
        "type": "transactions.processed",
        "timestamp": "2026-01-31T12:00:00Z",
        "payload": {
            "enrollment_id": "enr_1",
            "transactions": [
                {
                    "id": "txn_1",
                    "account_id": "acc_1",
                    "amount": "86.46",
                    "date": "2026-01-30",
                    "status": "posted",
                    "description": "d",
                }
            ],
        },
    }
).encode()
MX_HOOK = json.dumps({"action": "aggregated", "type": "AGGREGATION", "member_guid": "MBR-1"}).encode()

BODIES = {Provider.PLAID: POINTER, Provider.TELLER: TELLER_HOOK, Provider.MX: MX_HOOK, Provider.STANDARD: OWN}
# What each of these becomes, of an unregistered account: how many events, and how many requests to pull.
BECOMES = {Provider.PLAID: (0, 1), Provider.TELLER: (0, 1), Provider.MX: (0, 1), Provider.STANDARD: (1, 0)}

SPENT = {
    "account_id": "acc_1",
    "transaction_id": "t1",
    "amount": 72.25,
    "iso_currency_code": "USD",
    "date": "2026-02-27",
    "pending": False,
    "name": "Groceries",
}
SYNC = {"added": [SPENT], "modified": [], "removed": [], "next_cursor": "c", "has_more": False}
BALANCES = {
    "accounts": [
        {
            "account_id": "acc_1",
            "type": "depository",
            "balances": {"current": 110.5, "available": None, "iso_currency_code": "USD"},
        }
    ]
}
TELLER = [
    {
        "id": "txn_1",
        "account_id": "acc_1",
        "amount": "86.46",
        "date": "2026-02-27",
        "status": "posted",
        "description": "d",
    }
]
GOCARDLESS = {
    "transactions": {
        "booked": [
            {
                "transactionId": "b1",
                "internalTransactionId": "i1",
                "bookingDate": "2026-02-27",
                "transactionAmount": {"amount": "-12.30", "currency": "EUR"},
            }
        ],
        "pending": [],
    }
}
MX = {
    "transactions": [
        {
            "guid": "TRN-1",
            "account_guid": "acc_1",
            "amount": 61.11,
            "type": "DEBIT",
            "status": "POSTED",
            "currency_code": "USD",
            "transacted_at": "2026-02-27T12:00:00Z",
            "posted_at": "2026-02-27T12:00:00Z",
            "updated_at": "2026-02-27T12:00:00Z",
        }
    ]
}
SIMPLEFIN = {
    "errors": [],
    "accounts": [
        {
            "org": {"domain": "bank.example", "sfin-url": "https://bank.example"},
            "id": "acc_1",
            "name": "Checking",
            "currency": "USD",
            "balance": "110.50",
            "available-balance": "100.50",
            "balance-date": 1772179200,
            "transactions": [
                {"id": "s1", "posted": 1772150400, "amount": "-12.30", "description": "d", "pending": False}
            ],
        }
    ],
}
ENABLE_BANKING = {
    "transactions": [
        {
            "entry_reference": "e1",
            "transaction_id": None,
            "transaction_amount": {"amount": "12.30", "currency": "EUR"},
            "credit_debit_indicator": "DBIT",
            "status": "BOOK",
            "booking_date": "2026-02-27",
            "remittance_information": ["d"],
        }
    ],
    "continuation_key": None,
}
FORMATS: dict[str, tuple[Any, dict[str, str]]] = {
    "plaid-sync": (SYNC, {}),
    "plaid-balances": (BALANCES, {}),
    "teller": (TELLER, {"currency": "USD", "kind": "asset"}),
    "gocardless": (GOCARDLESS, {"account_id": "acc_1"}),
    "mx": (MX, {}),
    "simplefin": (SIMPLEFIN, {"kind": "asset"}),
    "enablebanking": (ENABLE_BANKING, {"account_id": "acc_1"}),
}
