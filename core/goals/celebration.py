"""What to tell a person whose goal has reached a milestone."""

from __future__ import annotations

from core.goals.money import to_decimal


def celebration(direction: int, amount_minor: int, currency: str, description: str | None) -> str:
    """A sentence with the milestone's amount, exact, and its description, if it has one, on one line.

    500000 USD, "Halfway": "Milestone reached: 5,000.00 USD (Halfway)." A debt's says what is left to pay: "Milestone
    reached: down to 6,000.00 USD."
    """
    amount = f"{to_decimal(amount_minor, currency):,f} {currency}"
    reached = amount if direction > 0 else f"down to {amount}"
    words = " ".join((description or "").split())
    return f"Milestone reached: {reached} ({words})." if words else f"Milestone reached: {reached}."
