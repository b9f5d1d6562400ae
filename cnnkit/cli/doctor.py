"""`cnnkit doctor`."""

import typer

from cnnkit.cli.common import Json, emit
from cnnkit.errors import InstallationError


def command(context: typer.Context, *, json: Json = False) -> None:
    """Look at this installation: PyTorch, onnxruntime, the GPU's driver and libraries, and a session on each provider.

    It explains what is wrong and how to mend it, and installs nothing. The exit code is 1 where a command would fail.
    """
    from cnnkit.render import installation, progress
    from cnnkit.runtime.doctor import doctor

    with progress.working("looking at this installation"):
        result = doctor()
    if result.problems:
        if not context.obj["json"]:
            installation.doctor(result)
        listed = ", ".join(check.what for check in result.problems)
        raise InstallationError(f"this installation has a problem: {listed}.", result=result)
    emit(context, result, installation.doctor)
