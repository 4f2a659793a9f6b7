# SPDX-License-Identifier: Apache-2.0
"""Commands of the `fusion-mamba` command line. Each file holds one command."""
