"""One run per folder; a dead one blocks nobody."""

import signal
import subprocess
import sys

import pytest

from mrcli.errors import LockedError, OutputError
from mrcli.io.lock import output_lock

HOLD = """
import sys, time
from pathlib import Path
from mrcli.io.lock import output_lock
with output_lock(Path(sys.argv[1])):
    print("locked", flush=True)
    time.sleep(60)
"""


def test_a_second_run_is_refused_until_the_first_has_ended(tmp_path):
    out, refused = tmp_path / "out", pytest.raises(LockedError, match=r"^out: another run")
    with output_lock(out), refused, output_lock(out):
        pass
    with output_lock(tmp_path / "out"):
        pass


def test_a_failure_frees_the_folder(tmp_path):
    with pytest.raises(KeyboardInterrupt), output_lock(tmp_path):
        raise KeyboardInterrupt
    with output_lock(tmp_path):
        pass


def test_parts_of_the_work_do_not_exclude_each_other(tmp_path):
    with output_lock(tmp_path, "1-of-2"), output_lock(tmp_path, "2-of-2"):
        pass


@pytest.mark.parametrize(
    ("first", "second"),
    [("1-of-2", "1-of-2"), ("", "1-of-2"), ("1-of-2", ""), ("1-of-2", "1-of-3")],
)
def test_runs_that_may_do_the_same_scan_exclude_each_other(tmp_path, first, second):
    refused = pytest.raises(LockedError)
    with output_lock(tmp_path, first), refused, output_lock(tmp_path, second):
        pass
    with output_lock(tmp_path, second):
        pass


def test_the_lock_of_a_killed_process_does_not_block(tmp_path):
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE)
    with holder:
        assert holder.stdout.readline() == b"locked\n"
        with pytest.raises(LockedError), output_lock(tmp_path):
            pass
        holder.send_signal(signal.SIGKILL)
    with output_lock(tmp_path):
        pass


def test_a_folder_that_cannot_be_made_is_an_output_error(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="cannot be locked"), output_lock(tmp_path / "file"):
        pass
