"""The pipeline of a preparation on this machine, as a program of its own.

    python -m unmask.data.local STORE WORKERS

It is a fresh process, so that it can fork its workers: they share the loaded models, and nothing of
the program that started it. On standard output it gives its news, a JSON object a line; it ends
when its standard input does, so that no worker outlives the command that wants its work.
"""

import gc
import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from datatrove.executor import LocalPipelineExecutor

from unmask.data.pipeline import steps, warm
from unmask.data.plan import WORK
from unmask.errors import UserError


class Local(LocalPipelineExecutor):  # type: ignore[misc]
    """Does the tasks in processes of this machine.

    Unlike datatrove's own pool, this one does not wait for ever for a process that was killed.
    """

    def run(self) -> None:
        """Do the tasks that are not completed.

        Raises what a task raised, or BrokenProcessPool when a process was killed; other tasks may
        then be running still.
        """
        missing = self.get_incomplete_ranks()
        pool = ProcessPoolExecutor(
            min(self.workers, len(missing)),
            get_context("fork"),
            # Nothing here makes cycles, and looking for them among all remembered words takes long.
            initializer=gc.disable,
        )
        for done in as_completed([pool.submit(self._run_for_rank, r, r) for r in missing]):
            done.result()
        pool.shutdown()


def main(folder: str, workers: int) -> None:
    """Do the tasks of a store's plan that are not completed; the last news may be of an error."""
    threading.Thread(target=_end_with_input, daemon=True).start()
    try:
        Local(
            pipeline=steps(folder, tell),
            tasks=len(warm(folder).tasks),
            workers=workers,
            logging_dir=str(Path(folder, WORK)),
        ).run()
    except UserError as error:
        _give_up({"error": str(error)})
    except BrokenProcessPool:
        _give_up(
            {
                "error": "a worker was killed, perhaps for want of memory. "
                "Run the command again, with fewer --workers: it goes on where it was."
            }
        )
    except OSError as error:
        _give_up({"errno": error.errno, "strerror": error.strerror, "filename": error.filename})
    except Exception:
        _give_up({"failure": traceback.format_exc()[-1500:]})  # a line is whole up to 4096 bytes


def tell(news: Mapping[str, Any]) -> None:
    """Write a line to standard output, whole even when several processes write to it."""
    os.write(1, json.dumps(news).encode() + b"\n")


def _give_up(news: Mapping[str, Any]) -> None:
    tell(news)
    os.killpg(0, signal.SIGKILL)


def _end_with_input() -> None:
    while os.read(0, 1):
        pass
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
