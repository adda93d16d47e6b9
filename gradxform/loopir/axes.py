"""How the axes of two shapes of one size correspond."""

from __future__ import annotations

from collections.abc import Sequence


def axis_groups(old: Sequence[int], new: Sequence[int]) -> list[tuple[list[int], list[int]]]:
    """Pairs of runs of axes with equal products, as short as possible; axes of extent 1 are in none of them.

    Both shapes have the same size, which is not zero.

    >>> axis_groups((2, 3, 4), (6, 1, 4))
    [([0, 1], [0]), ([2], [2])]
    """
    left = [a for a, n in enumerate(old) if n != 1]
    right = [a for a, n in enumerate(new) if n != 1]
    groups: list[tuple[list[int], list[int]]] = []
    i = j = 0
    while i < len(left):
        olds, news = [left[i]], [right[j]]
        old_size, new_size = old[left[i]], new[right[j]]
        i, j = i + 1, j + 1
        while old_size != new_size:
            if old_size < new_size:
                olds.append(left[i])
                old_size *= old[left[i]]
                i += 1
            else:
                news.append(right[j])
                new_size *= new[right[j]]
                j += 1
        groups.append((olds, news))
    return groups
