# SPDX-License-Identifier: Apache-2.0
"""Solve the linear assignment problem with a cost limit."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.intp]


def assign(cost: npt.NDArray[np.float64], limit: float) -> tuple[Indices, Indices]:
    """Return the rows and the columns of the pairs that minimise the total cost.

    ``cost`` is (n, m) and finite. Only pairs with a cost below ``limit`` are made; a row or column that stays alone
    costs ``limit / 2``. The method is that of shortest augmenting paths (Jonker and Volgenant 1987; Crouse 2016).
    """
    possible = cost < limit
    rows, columns = np.flatnonzero(possible.any(axis=1)), np.flatnonzero(possible.any(axis=0))
    capped = np.minimum(cost[np.ix_(rows, columns)], limit)
    if len(rows) > len(columns):
        matched = _columns_of_rows(np.ascontiguousarray(capped.T))
        rows, columns = rows[matched], columns
    else:
        matched = _columns_of_rows(capped)
        columns = columns[matched]
    kept = possible[rows, columns]
    return rows[kept], columns[kept]


def _columns_of_rows(cost: npt.NDArray[np.float64]) -> Indices:
    """Return the column of each row. ``cost`` has at least as many columns as rows."""
    row_of = np.full(cost.shape[1], -1, np.intp)
    column_of = np.full(len(cost), -1, np.intp)
    if not len(cost):
        return column_of
    row_price, column_price = cost.min(axis=1), np.zeros(cost.shape[1])
    # Start with the nearest column of each row: most rows keep it, and only the others need a path.
    for row, column in enumerate(cost.argmin(axis=1).tolist()):
        if row_of[column] < 0:
            row_of[column], column_of[row] = row, column
    for start in np.flatnonzero(column_of < 0).tolist():
        distance, previous = np.full(cost.shape[1], np.inf), np.full(cost.shape[1], -1, np.intp)
        visited = np.zeros(cost.shape[1], bool)
        row, column, length = start, -1, 0.0
        while column < 0 or row_of[column] >= 0:
            if column >= 0:
                row = int(row_of[column])
            reached = length + cost[row] - row_price[row] - column_price
            shorter = ~visited & (reached < distance)
            distance[shorter], previous[shorter] = reached[shorter], row
            column = int(np.where(visited, np.inf, distance).argmin())
            length = float(distance[column])
            visited[column] = True
        inner = visited & (row_of >= 0)
        row_price[row_of[inner]] += length - distance[inner]
        row_price[start] += length
        column_price[visited] -= length - distance[visited]
        while True:
            row = int(previous[column])
            row_of[column] = row
            column_of[row], column = column, column_of[row]
            if row == start:
                break
    return column_of
