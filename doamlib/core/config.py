"""Frozen, validated records and configurations, and the identity of what they describe."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """Base of what is validated and never changed: frozen, strictly typed, unknown keys refused.

    Strict typing means that ``"1e-4"`` (what YAML makes of an unquoted ``1e-4``) is not a number.

    Raises:
        pydantic.ValidationError: a field is unknown, missing, of the wrong type or out of range.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, validate_default=True
    )


class Config(Record):
    """Base of every configuration: a record of choices, which names what follows from them."""

    def as_json(self) -> str:
        """Every field, defaults included, as JSON with sorted keys."""
        return canonical_json(self.model_dump(mode="json"))

    def digest(self) -> str:
        """Sixteen hex digits that name this configuration.

        Fields at their default are left out, so a new switch whose default keeps the old behaviour
        does not orphan stored results. Readers compare the stored configuration field by field as
        well, so a default that has changed since can never pass for the old one.
        """
        return digest_of(self.model_dump(mode="json", exclude_defaults=True))


def canonical_json(value: Any) -> str:
    """JSON with sorted keys, no spaces and no NaN: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest_of(value: Any) -> str:
    """Sixteen hex digits of the SHA-256 of a JSON value."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:16]
