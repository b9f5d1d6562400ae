"""`cnnkit serve`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from cnnkit.cli.common import (
    ChannelOrder,
    Device,
    ForeignShape,
    Labels,
    Mean,
    Pixels,
    Preprocess,
    Scores,
    Std,
    complete_model,
    foreign_options,
    in_panel,
)

_LISTENING, _BATCHING, _LIMITS, _RUNNING = "Listening", "Batching", "Limits", "Reloading and log"
_ACCESS = "Access"


def command(
    context: typer.Context,
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MODEL]...",
            help="ONNX files or zoo entries; NAME=FILE names one. Default: digits.",
            autocompletion=complete_model,
            show_default=False,
        ),
    ] = None,
    *,
    device: Device = "auto",
    host: Annotated[str, in_panel("Address to listen on; 0.0.0.0 takes requests from the network.", _LISTENING)] = (
        "127.0.0.1"
    ),
    port: Annotated[int, in_panel("Port to listen on; 0 takes a free one.", _LISTENING, min=0, max=65535)] = 8000,
    workers: Annotated[int, in_panel("Processes that share the port.", _LISTENING, min=1, max=256)] = 1,
    max_batch: Annotated[
        int, in_panel("Most images of a batch, and of one /v2 request.", _BATCHING, min=1, max=4096)
    ] = 32,
    max_delay_ms: Annotated[
        float, in_panel("Milliseconds that the first image of a batch waits for others.", _BATCHING, min=0, max=10_000)
    ] = 0.0,
    threads: Annotated[
        int | None,
        in_panel(
            "Threads of a network on the CPU. Default: what suits it and the machine.", _BATCHING, min=1, max=1024
        ),
    ] = None,
    queue_size: Annotated[
        int, in_panel("Most unanswered requests for a model; more are refused.", _LIMITS, min=1, max=100_000)
    ] = 256,
    receive_seconds: Annotated[
        float, in_panel("Time for a request's headers to come, and again for its body.", _LIMITS, min=0.1, max=3600)
    ] = 10.0,
    answer_seconds: Annotated[float, in_panel("Time for an answer to be ready.", _LIMITS, min=0.1, max=3600)] = 30.0,
    max_body_mb: Annotated[
        float, in_panel("Largest body in MiB, also once decompressed.", _LIMITS, min=0.001, max=1024)
    ] = 16.0,
    max_pixels: Annotated[int, in_panel("Most pixels of an image.", _LIMITS, min=1, max=500_000_000)] = 50_000_000,
    drain_seconds: Annotated[
        float, in_panel("Time to answer what was accepted, once SIGTERM comes.", _LIMITS, min=0, max=3600)
    ] = 30.0,
    cors: Annotated[
        list[str] | None,
        in_panel("Origin of web pages that may use the server, such as https://example.org. Repeatable.", _ACCESS),
    ] = None,
    api_key: Annotated[
        list[str] | None, in_panel("Key that every request must have. Repeatable; a file is safer.", _ACCESS)
    ] = None,
    api_key_file: Annotated[Path | None, in_panel("File of such keys, one a line.", _ACCESS)] = None,
    watch: Annotated[bool, in_panel("Load a model file again when it changes.", _RUNNING, "--watch/--no-watch")] = True,
    admin: Annotated[bool, in_panel("Offer POST /admin/reload to this machine.", _RUNNING, "--admin")] = False,
    access_log: Annotated[bool, in_panel("Log each request in a line.", _RUNNING, "--access-log")] = False,
    log_format: Annotated[Literal["text", "json"], in_panel("Form of the log on standard error.", _RUNNING)] = "text",
    labels: Labels = None,
    input: ForeignShape = None,
    pixels: Pixels = None,
    mean: Mean = None,
    std: Std = None,
    channel_order: ChannelOrder = None,
    preprocess: Preprocess = None,
    scores: Scores = None,
) -> None:
    """Serve ONNX files over HTTP, with a page to draw on at / and the Open Inference Protocol at /v2."""
    from cnnkit.serving.serve import read_api_keys, serve
    from cnnkit.serving.settings import Settings

    settings = Settings(
        host=host,
        port=port,
        workers=workers,
        device=device,
        threads=threads,
        max_batch=max_batch,
        max_delay_ms=max_delay_ms,
        queue_size=queue_size,
        receive_seconds=receive_seconds,
        answer_seconds=answer_seconds,
        max_body=round(max_body_mb * 2**20),
        max_pixels=max_pixels,
        drain_seconds=drain_seconds,
        cors=tuple(cors or ()),
        api_keys=(*(api_key or ()), *(read_api_keys(api_key_file) if api_key_file else ())),
        watch=watch,
        admin=admin,
        access_log=access_log,
        log_format=log_format,
    )
    serve(
        models or (),
        settings,
        **foreign_options(context),
    )
