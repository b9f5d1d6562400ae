"""`cnnkit verify`."""

from functools import partial
from typing import Annotated

import typer

from cnnkit.cli.common import Json, emit
from cnnkit.cli.completion import complete_model
from cnnkit.cli.fields import OptionsOf
from cnnkit.errors import ParityError
from cnnkit.exporting.results import Verification
from cnnkit.exporting.verify import verify
from cnnkit.progress import Steps


def command(
    context: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="ONNX file or zoo entry.", autocompletion=complete_model)],
    *,
    verified: Annotated[partial[Steps[Verification]], OptionsOf(verify.steps)],
    json: Json = False,
) -> None:
    """Prove that an ONNX file is its PyTorch network, on a whole data set.

    Both run every image, in batches of 1, 2, 7 and 256. Where they differ, the first layer that does is named with the
    likely cause, and the exit code is 3. Where they agree, the certificate is stored in the file's model card.
    """
    from cnnkit.render import progress, verification

    result = progress.follow(verified(file), f"verifying {file}")
    if not result.passed:
        if not context.obj["json"]:
            verification.show(result)
        raise ParityError(verification.failure(result), result=result)
    emit(context, result, verification.show)
