"""Checks of configurations."""


def check_fields(config: object, *checks: tuple[str, str, bool]) -> None:
    """Refuse a configuration of which a field does not hold.

    Args:
        config: whose fields they are.
        checks: of each field its name, what is legal, in words that follow "must be", and whether
            that holds.

    Raises:
        ValueError: naming the first field that does not hold, what is legal and what came.
    """
    for name, legal, holds in checks:
        if not holds:
            raise ValueError(f"{name} must be {legal}, got {getattr(config, name)!r}")
