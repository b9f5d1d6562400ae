"""`cnnkit verify`."""

from typing import Annotated

import typer

from cnnkit.cli.common import Data, DataDir, Device, Json, SkipDamaged, Split, TrustCode, complete_model, emit
from cnnkit.errors import ParityError


def command(
    context: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="ONNX file or zoo entry.", autocompletion=complete_model)],
    *,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Run, checkpoint or zoo entry to compare with. Default: the one whose weights the file names.",
            autocompletion=complete_model,
        ),
    ] = None,
    data: Data = None,
    split: Split = None,
    data_dir: DataDir = None,
    skip_damaged: SkipDamaged = False,
    device: Device = "auto",
    trust_code: TrustCode = False,
    json: Json = False,
) -> None:
    """Prove that an ONNX file is its PyTorch network, on a whole data set.

    Both run every image, in batches of 1, 2, 7 and 256. Where they differ, the first layer that does is named with the
    likely cause, and the exit code is 3. Where they agree, the certificate is stored in the file's model card.
    """
    from cnnkit.exporting.verify import verify
    from cnnkit.render import progress, verification

    steps = verify.steps(
        file,
        against=against,
        data=data,
        split=split,
        data_dir=data_dir,
        skip_damaged=skip_damaged,
        device=device,
        trust_code=trust_code,
    )
    result = progress.follow(steps, f"verifying {file}")
    if not result.passed:
        if not context.obj["json"]:
            verification.show(result)
        raise ParityError(verification.failure(result), result=result)
    emit(context, result, verification.show)
