"""List the reasons why recipes cannot be used, in one line."""

from __future__ import annotations

from collections.abc import Mapping

MAX_REASON = 200
"""Maximum length of a reason in characters. Shortened reasons end with `...`."""

MAX_NAMED = 4
"""Maximum number of recipes with the same reason whose names are listed."""


def all_reasons(reasons: Mapping[str, str]) -> str:
    """Return each reason once, with the recipes that it applies to, as in `litert_fp32 and onnx_fp32: REASON; ...`.

    Args:
        reasons: The reason for each recipe, by the name of the recipe.
    """
    names: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        names.setdefault(_short(reason), []).append(name)
    return "; ".join(f"{_listed(own)}: {reason}" for reason, own in names.items())


def _short(reason: str) -> str:
    text = " ".join(reason.split())
    return text if len(text) <= MAX_REASON else f"{text[: MAX_REASON - 4]} ..."


def _listed(names: list[str]) -> str:
    if len(names) > MAX_NAMED:
        return f"{', '.join(names[:MAX_NAMED])} and {len(names) - MAX_NAMED} more"
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]
