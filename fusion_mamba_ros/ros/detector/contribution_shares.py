# SPDX-License-Identifier: Apache-2.0
"""Compute the share of each modality in the detections of an array, for the status of the node."""

from __future__ import annotations

from fusion_mamba_ros.msg import ModalityContribution
from fusion_mamba_ros.perception.detections import Detections
from fusion_mamba_ros.perception.mode import modalities_of
from fusion_mamba_ros.perception.occlusion import Occlusion, frame_shares
from fusion_mamba_ros.perception.predictor import Predictor


class ContributionShares:
    """Shares by occlusion, in the inference thread, for the last prediction of ``predictor``."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self._occlusion = Occlusion(predictor.engine, predictor.calibration)

    def messages(self, detections: Detections) -> list[ModalityContribution]:
        """Return the shares of the modalities in ``detections``, empty without detections.

        A modality that was missing from the array has no entry. Raises ``ValueError`` if the output of the network is
        not finite.
        """
        (prepared,) = self._predictor.prepared[0]  # one tile: the parameters refuse contributions of tiles
        names = modalities_of(prepared.mode, self._predictor.modalities)
        shares = frame_shares(self._occlusion.contributions(prepared, detections, names))
        if shares is None:
            return []
        return [ModalityContribution(name=name, share=float(share)) for name, share in zip(names, shares, strict=True)]
