"""Another program that wants a model: `fetch_once.py DIRECTORY ENDPOINT REPO FILE`.

Prints `waiting` or the number of bytes whenever it hears of them, and at the end the path.
"""

import asyncio
import sys
from pathlib import Path

from whisper_router.models.download import DownloadProgress
from whisper_router.models.source import HubFile
from whisper_router.models.store import ModelStore, StoreConfig
from whisper_router.tasks import Tasks


def show(progress: DownloadProgress) -> None:
    print("waiting" if progress.waiting else progress.done_bytes, flush=True)


async def main(directory: str, endpoint: str, repo: str, file: str) -> None:
    tasks = Tasks()
    store = ModelStore(
        config=StoreConfig(directory=Path(directory), endpoint=endpoint), tasks=tasks
    )
    print(await store.fetch(HubFile(repo=repo, file=file), on_progress=show), flush=True)
    await tasks.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
