# SPDX-License-Identifier: Apache-2.0
"""The names of topics and diagnostics of one camera pair."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PairNames:
    """Names with the name of the pair in front. Without a name, they are those of a node with one pair.

    >>> PairNames("front").topic("rgb/image_raw"), PairNames("front").topic("~/status"), PairNames().topic("detections")
    ('front/rgb/image_raw', '~/front/status', 'detections')
    """

    pair: str = ""

    @property
    def prefix(self) -> str:
        """Text in front of a relative topic."""
        return f"{self.pair}/" if self.pair else ""

    def topic(self, name: str) -> str:
        """Return the name of a topic, relative or private, for this pair."""
        return f"~/{self.prefix}{name[2:]}" if name.startswith("~/") else f"{self.prefix}{name}"

    def sentence(self, text: str) -> str:
        """Return a sentence for the log that says which pair it is about."""
        return f"{self.pair}: {text}" if self.pair else text

    def subject(self, node: str) -> str:
        """Return the name under which the diagnostics of ``node`` report on this pair."""
        return f"{node} {self.pair}" if self.pair else node


ONE_PAIR = PairNames()
