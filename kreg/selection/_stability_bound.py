"""How many features stability selection takes by mistake at most."""

from kreg._arguments import positive_integer, positive_number, real_number


def stability_bound(
    num_selected: float,
    num_features: int,
    threshold: float,
    *,
    pairs: int = 50,
    unimodal: bool = False,
) -> float:
    """The largest expected number of features that are selected by mistake.

    With q features selected on a half of the rows on average, of p, and those
    taken that at least the fraction `threshold` of the halves select:

        q ** 2 / (p * (2 * threshold - 1))

    A mistake is a feature that one half selects no more often than one drawn
    at random would be, with probability q / p or less. Under exchangeability
    of the noise features, these are the noise features. Nothing else is
    assumed.

    With `unimodal=True` the bound is about half of that. It then assumes that
    the fraction of the pairs in which both halves select such a feature has a
    unimodal distribution, which is usual but cannot be checked.

    Args:
        num_selected: float > 0, q. At most `num_features`.
        num_features: int >= 1, p.
        threshold: float in (0.5, 1].
        pairs: int >= 1, the number of complementary pairs of halves; only the
            unimodal bound depends on it. Defaults to `50`.
        unimodal: bool. Defaults to `False`.

    Returns:
        The bound, a float; it says nothing where it is above `num_features`.

    Raises:
        ValueError: if an argument is out of its range, or `threshold` is so
            near 0.5 that the unimodal bound does not hold.

    Example:

    >>> import kreg
    >>> round(kreg.selection.stability_bound(2, 9, 0.75), 3)
    0.889
    >>> round(kreg.selection.stability_bound(2, 9, 0.75, unimodal=True), 3)
    0.454

    References:

    - Meinshausen and Buehlmann, "Stability selection", Journal of the Royal
      Statistical Society B 72 (2010), theorem 1.
    - Shah and Samworth, "Variable selection with error control: another look
      at stability selection", Journal of the Royal Statistical Society B 75
      (2013), theorems 1 and 2.
    """
    num_features = positive_integer("num_features", num_features)
    pairs = positive_integer("pairs", pairs)
    threshold = checked_threshold(threshold)
    num_selected = positive_number("num_selected", num_selected)
    if num_selected > num_features:
        raise ValueError(
            "`num_selected` must be at most `num_features`. Received: "
            f"num_selected={num_selected}, num_features={num_features}"
        )
    factor = 1.0 / (2.0 * threshold - 1.0)
    if unimodal:
        factor = _unimodal_factor(threshold, pairs, num_selected / num_features)
    return factor * num_selected**2 / num_features


def largest_number(
    expected_false: float, num_features: int, threshold: float
) -> int:
    """The most features a half may select to keep the bound; perhaps 0."""
    allowed = expected_false * num_features * (2.0 * threshold - 1.0)
    number = int(allowed**0.5)
    if (number + 1) ** 2 <= allowed:
        number += 1  # where the root was rounded down
    return min(number, num_features)


def checked_threshold(value: float) -> float:
    """Return `value` as a float in (0.5, 1], or raise."""
    threshold = real_number("threshold", value)
    if not 0.5 < threshold <= 1.0:
        raise ValueError(
            "`threshold` must be a fraction in (0.5, 1]. "
            f"Received: threshold={value!r}"
        )
    return threshold


def _unimodal_factor(threshold: float, pairs: int, share: float) -> float:
    """`C(threshold, pairs)` of theorem 2 of Shah and Samworth."""
    lowest = 0.5 + min(share**2, 0.5 / pairs + 0.75 * share**2)
    if share > 3**-0.5 or threshold <= max(lowest, 0.5 + 0.5 / pairs):
        raise ValueError(
            "`threshold` must be larger, or `num_selected` smaller, for the "
            f"unimodal bound. Received: threshold={threshold}, with "
            f"{share:.3g} of the features selected and {pairs} pairs"
        )
    if threshold <= 0.75:
        return 1.0 / (2.0 * (2.0 * threshold - 1.0 - 0.5 / pairs))
    return 4.0 * (1.0 - threshold + 0.5 / pairs) / (1.0 + 1.0 / pairs)
