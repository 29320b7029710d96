"""From values to pixels, and the round values that are worth a tick."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

#: Smaller values are written by their power of ten.
_LEAST_PLAIN = 0.001


@dataclass(frozen=True)
class Scale:
    """Maps values between ``low`` and ``high`` to pixels between ``start`` and ``end``, linearly or by logarithm.

    Both bounds differ; on a logarithmic scale they are more than 0.
    """

    low: float
    high: float
    start: float
    end: float
    is_log: bool = False

    def __call__(self, value: float) -> float:
        """Return the pixel of a value; a value beyond the bounds gets the pixel of the bound."""
        value = min(max(value, self.low), self.high)
        if self.is_log:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self, count: int) -> list[float]:
        """Return about ``count`` round values between the bounds, rising."""
        return log_ticks(self.low, self.high, count) if self.is_log else linear_ticks(self.low, self.high, count)


def bounds(values: Iterable[float], is_log: bool = False, margin: float = 0.06) -> tuple[float, float]:
    """Return bounds that hold all finite values with a margin on both sides; around one value, room to see it.

    The margin is a fraction of the range, of the logarithms on a logarithmic scale; a linear one never leaves the
    non-negative numbers for its sake. Without any finite (on a logarithmic scale positive) value: 0 to 1, or 1 to 10.
    """
    finite = [value for value in values if math.isfinite(value) and (value > 0 or not is_log)]
    if not finite:
        return (1.0, 10.0) if is_log else (0.0, 1.0)
    low, high = min(finite), max(finite)
    if is_log:
        factor = (high / low) ** margin if high > low else 2.0
        return low / factor, high * factor
    room = margin * (high - low) if high > low else max(abs(high) * 0.1, 0.5)
    return (max(low - room, 0.0) if low >= 0 else low - room), high + room


def linear_ticks(low: float, high: float, count: int) -> list[float]:
    """Return multiples of 1, 2 or 5 times a power of ten between the bounds: at most ``count + 1``, at least one.

    Example:
        >>> linear_ticks(0, 3770, 4)
        [0.0, 1000.0, 2000.0, 3000.0]
    """
    least = (high - low) / max(count, 1)
    power = 10.0 ** math.floor(math.log10(least))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    # Rounded, because 3 * 0.1 is not 0.3.
    digits = max(0, 1 - math.floor(math.log10(step)))
    return [round(index * step, digits) + 0.0 for index in range(first, last + 1)] or [low]


def log_ticks(low: float, high: float, count: int) -> list[float]:
    """Return powers of ten between the bounds, also 2 and 5 times those where that few; thinned to about ``count``.

    Example:
        >>> log_ticks(3, 160, 5), log_ticks(0.5, 2e6, 4)
        ([5.0, 10.0, 20.0, 50.0, 100.0], [1.0, 100.0, 10000.0, 1000000.0])
    """
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1, 2, 5), (1, 3), (1,)):
        ticks = [float(f"{factor}e{exponent}") for exponent in exponents for factor in factors]
        ticks = [tick for tick in ticks if low * (1 - 1e-9) <= tick <= high * (1 + 1e-9)]
        if len(ticks) <= count + 1:
            break
    stride = math.ceil(len(ticks) / (count + 1)) if ticks else 1
    return ticks[::stride] if len(ticks) > 1 else linear_ticks(low, high, count)


def tick_labels(ticks: Sequence[float]) -> list[str]:
    """Return the ticks of one axis as :func:`tick_label` does; where all are small, all by their power of ten.

    Example:
        >>> tick_labels([0, 5e-4, 1e-3, 1.5e-3]), tick_labels([0, 0.005, 0.01])
        (['0', '5e-4', '1e-3', '1.5e-3'], ['0', '0.005', '0.01'])
    """
    sizes = [abs(tick) for tick in ticks if tick != 0]
    has_powers = bool(sizes) and min(sizes) < _LEAST_PLAIN and max(sizes) < 10 * _LEAST_PLAIN
    return [_power(tick) if has_powers and tick != 0 else tick_label(tick) for tick in ticks]


def tick_label(value: float) -> str:
    """Return a tick as short text: thousands as k, M, G, a small value by its power of ten.

    Example:
        >>> [tick_label(value) for value in (0, 0.25, 80, 1500, 2e6, 0.00002)]
        ['0', '0.25', '80', '1.5k', '2M', '2e-5']
    """
    size = abs(value)
    if size >= 1000:
        power = min(int(math.log10(size * (1 + 1e-9)) // 3), 4)
        return f"{_plain(value / 1000**power)}{' kMGT'[power]}"
    return _power(value) if 0 < size < _LEAST_PLAIN else _plain(value)


def _power(value: float) -> str:
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{_plain(float(mantissa))}e{int(exponent)}"


def _plain(value: float) -> str:
    text = f"{value:.4f}".rstrip("0").rstrip(".")
    return text.replace("-", "\N{MINUS SIGN}") if text != "-0" else "0"
