"""What waits runs in a thread beside the loop, which hears through its inbox what came of it."""

import threading
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from plancton.inbox import Inbox, guarded

T = TypeVar("T")


def beside(inbox: Inbox, work: Callable[[], T], done: Callable[[T], None]) -> None:
    """Do this work in a thread; the loop calls ``done`` with its result."""

    def whole() -> None:
        inbox.put(partial(done, work()))

    threading.Thread(target=guarded, args=(inbox, whole), name="beside", daemon=True).start()
