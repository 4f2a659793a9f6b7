# SPDX-License-Identifier: Apache-2.0
"""Write the evaluation of bags as one HTML page that works offline."""
