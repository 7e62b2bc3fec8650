"""Times and sizes as a person reads them."""


def duration(seconds: float) -> str:
    """A time in the unit that suits it.

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
    """A size in the unit that suits it.

    >>> n_bytes(1500), n_bytes(2.5e9)
    ('2 kB', '2.5 GB')
    """
    for size, unit, digits in ((1e12, "TB", 1), (1e9, "GB", 1), (1e6, "MB", 0)):
        if count >= size:
            return f"{count / size:,.{digits}f} {unit}"
    return f"{count / 1e3:,.0f} kB"
