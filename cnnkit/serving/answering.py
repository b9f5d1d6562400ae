"""What a request needs on its way to a model, in whichever form it came."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cnnkit.serving.receiving import Receiver
from cnnkit.serving.waiting import WaitingRoom

if TYPE_CHECKING:
    from cnnkit.serving.repository import Repository
    from cnnkit.serving.settings import Settings


@dataclass(frozen=True)
class Answering:
    """Answers requests of one form.

    Attributes:
        repository: of the models.
        receiver: of bodies.
        waiting: where requests wait for their batch.
        settings: of the server.
    """

    repository: "Repository"
    receiver: Receiver
    waiting: WaitingRoom
    settings: "Settings"
