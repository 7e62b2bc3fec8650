"""Formatting numbers, shares, times and sizes."""

from math import isfinite, isinf, isnan


def number(value: float) -> str:
    """Format a number with three digits, or from 100 on as a whole number with commas.

    >>> number(12200.0), number(0.9512), number(48.83), number(float("inf"))
    ('12,200', '0.951', '48.8', '∞')
    """
    if isinf(value):
        return "∞" if value > 0 else "−∞"
    text = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return text.replace("-", "−")


def norm(value: float, digits: int = 1) -> str:
    """Format a norm with ``digits`` decimals, or from 10⁷ on with three significant digits.

    >>> norm(1234.56), norm(12.345, 2), norm(1.5e9), norm(float("nan"))
    ('1,234.6', '12.35', '1.5e+09', 'not finite')
    """
    if not isfinite(value):
        return "not finite"
    return f"{value:,.{digits}f}" if value < 1e7 else f"{value:.3g}"


def percent(share: float) -> str:
    """Format a share in percent with one decimal.

    >>> percent(0.9512), percent(float("nan"))
    ('95.1%', '—')
    """
    return "—" if isnan(share) else f"{share:.1%}"


def duration(seconds: float) -> str:
    """Format a time in a suitable unit.

    >>> duration(0.4), duration(75), duration(7200), duration(200_000)
    ('1 s', '1 min', '2 h 0 min', '2 days 7 h')
    """
    if seconds < 60:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} days {hours % 24} h"


def n_bytes(count: float) -> str:
    """Format a size in a suitable unit.

    >>> n_bytes(1500), n_bytes(2.5e9)
    ('2 kB', '2.5 GB')
    """
    for size, unit, digits in ((1e12, "TB", 1), (1e9, "GB", 1), (1e6, "MB", 0)):
        if count >= size:
            return f"{count / size:,.{digits}f} {unit}"
    return f"{count / 1e3:,.0f} kB"
