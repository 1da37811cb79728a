"""One check: a statement that compares what is stored with what is expected, and how its rows are read."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import TextClause, text


@dataclass(frozen=True, slots=True)
class Check:
    """A named check of rows in a range of keys.

    `statement` yields the columns of `key`, `what`, and as text `stored` and `expected`: a row for every value that it
    compared, whether right or wrong.
    """

    name: str
    meaning: str
    key: tuple[str, ...]
    statement: str

    @property
    def question(self) -> TextClause:
        """The statement that counts what was compared and what was wrong, beside the first :most wrong values.

        Its rows are (checked, wrong, *key, what, stored, expected); one row with nulls where nothing was wrong.
        """
        key = ", ".join(f"CAST({column} AS text) AS {column}" for column in self.key)
        return text(
            f"""WITH compared AS MATERIALIZED ({self.statement})
            SELECT totals.checked, totals.wrong, shown.* FROM (
                SELECT count(*) AS checked, count(*) FILTER (WHERE stored IS DISTINCT FROM expected) AS wrong
                FROM compared) AS totals
            LEFT JOIN LATERAL (
                SELECT {key}, what, stored, expected FROM compared WHERE stored IS DISTINCT FROM expected
                ORDER BY {", ".join(f"compared.{column}" for column in self.key)}, what LIMIT :most) AS shown ON true"""
        )
