# SPDX-License-Identifier: Apache-2.0
"""The processes of the node benchmark."""

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))

import node


def test_process_that_ended_is_named_with_the_end_of_its_log() -> None:
    with tempfile.TemporaryFile() as log:
        last_words = "print('x' * 9000, flush=True); raise SystemExit('no camera today')"
        ended = subprocess.Popen([sys.executable, "-c", last_words], stdout=log, stderr=log)
        running = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        try:
            node.require_running({"peer": running}, log)
            ended.wait(timeout=60)
            with pytest.raises(ChildProcessError, match=r"the node ended with code 1; .*\sx+\sno camera") as caught:
                node.require_running({"peer": running, "node": ended}, log)
            assert len(str(caught.value)) < 3000
        finally:
            running.communicate(b"\n", timeout=60)
