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


def check_seed(seed: int | None) -> None:
    """Refuse what is no seed; None stands for one that is chosen elsewhere.

    Raises:
        ValueError: naming what came.
    """
    if seed is not None and seed < 0:
        raise ValueError(f"seed must be a whole number from 0 on, got {seed}")
