# SPDX-License-Identifier: Apache-2.0
"""Studies of the network: cost of the fusion operators, ablations, and what a trained model has learned."""
