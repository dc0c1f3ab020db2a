"""Student's t distribution."""

import math

_TINY = 1e-300


def t_tail(t: float, freedom: float) -> float:
    """The probability that |T| exceeds |t|.

    Args:
        t: the value of the statistic; may be infinite.
        freedom: float > 0, the degrees of freedom.
    """
    if math.isinf(t):
        return 0.0
    x = freedom / (freedom + t * t)
    return _beta_ratio(x, freedom / 2, 0.5)


def t_quantile(level: float, freedom: float) -> float:
    """The t that |T| stays below with probability `level`.

    Args:
        level: float in (0, 1), such as 0.95.
        freedom: float > 0, the degrees of freedom.
    """
    low, high = 0.0, 1.0
    while t_tail(high, freedom) > 1 - level:
        high *= 2
    for _ in range(200):
        middle = (low + high) / 2
        if t_tail(middle, freedom) > 1 - level:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _beta_ratio(x: float, a: float, b: float) -> float:
    """The regularized incomplete beta function I_x(a, b)."""
    if x <= 0 or x >= 1:
        return min(max(x, 0.0), 1.0)
    if x > (a + 1) / (a + b + 2):  # the fraction converges on the other side
        return 1 - _beta_ratio(1 - x, b, a)
    logarithm = (
        math.lgamma(a + b)
        - math.lgamma(a)
        - math.lgamma(b)
        + a * math.log(x)
        + b * math.log1p(-x)
    )
    return math.exp(logarithm) / (a * _fraction(x, a, b))


def _fraction(x: float, a: float, b: float) -> float:
    """Its continued fraction, by Lentz's method."""
    value = numerator = 1.0
    denominator = 0.0
    for i in range(1, 10_000):
        m = i // 2
        if i % 2:
            term = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            term = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        denominator = 1 / _away_from_zero(1 + term * denominator)
        numerator = _away_from_zero(1 + term / numerator)
        factor = numerator * denominator
        value *= factor
        if abs(factor - 1) < 1e-15:
            break
    return value


def _away_from_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
