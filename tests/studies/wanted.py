"""What a study must show: bounds printed beside what was found. `python -m tests.studies` fails if one is broken."""

BROKEN: list[str] = []
"""Lines of all bounds that did not hold."""


def wanted(what: str, found: float, low: float = float("-inf"), high: float = float("inf")) -> bool:
    """Print whether `low <= found <= high`, and remember it if not (nan: not)."""
    holds = bool(low <= found <= high)
    line = f"{what}: {found:.4g}, wanted {low:g} to {high:g}"
    print(f"{'  holds' if holds else '  FALLS SHORT'}: {line}", flush=True)
    if not holds:
        BROKEN.append(line)
    return holds
