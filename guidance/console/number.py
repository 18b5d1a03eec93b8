"""One number as a page shows it."""

from typing import Any


def number(
    key: str,
    name: str,
    value: Any,
    unit: str,
    digits: int,
    age_ms: float,
    *,
    limit: float | None = None,
    graph: bool = True,
) -> dict[str, Any]:
    """Its name, value (None: not known now), unit, limit and age; `graph`: its history is drawn."""
    return {
        "id": key,
        "name": name,
        "value": value,
        "unit": unit,
        "digits": digits,
        "age_ms": age_ms,
        "limit": limit,
        "sigma": None,
        "graph": graph,
    }
