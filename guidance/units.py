"""Units used everywhere, and the few conversions between them."""

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000
GAMMA_BAR_MHZ_PER_T = 42.577478518  # 1H gyromagnetic ratio / 2 pi, CODATA 2018


def ms(value_ms: float) -> int:
    """Milliseconds to integer nanoseconds."""
    return round(value_ms * NS_PER_MS)


def seconds(value_ns: int) -> float:
    """Integer nanoseconds to seconds."""
    return value_ns / NS_PER_S
