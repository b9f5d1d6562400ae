"""`cnnkit serve`."""

from typing import Annotated, Literal

import typer

from cnnkit.cli.common import Device, Labels, Mean, Preprocess, Std, complete_model, numbers, require_preprocess


def command(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL...",
            help="ONNX files or zoo entries; NAME=FILE names one.",
            autocompletion=complete_model,
            show_default=False,
        ),
    ],
    *,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all of the network.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 for a free one.", min=0, max=65535)] = 8000,
    workers: Annotated[int, typer.Option(help="Processes behind the port.", min=1, max=256)] = 1,
    device: Device = "auto",
    threads: Annotated[
        int | None,
        typer.Option(help="Of a network on the CPU. Default: what suits it and the machine.", min=1, max=1024),
    ] = None,
    max_batch: Annotated[int, typer.Option(help="Images that go through a network together.", min=1, max=4096)] = 32,
    max_delay_ms: Annotated[
        float, typer.Option(help="How long the first image of a batch waits for others.", min=0, max=10_000)
    ] = 0.0,
    queue_size: Annotated[
        int, typer.Option(help="Unanswered requests for a model; more are refused.", min=1, max=100_000)
    ] = 256,
    receive_seconds: Annotated[
        float, typer.Option(help="For a request's headers, and then for its body.", min=0.1, max=3600)
    ] = 10.0,
    answer_seconds: Annotated[float, typer.Option(help="For the answer.", min=0.1, max=3600)] = 30.0,
    max_body_mb: Annotated[float, typer.Option(help="Of a body, also once decompressed.", min=0.001, max=1024)] = 16.0,
    max_pixels: Annotated[int, typer.Option(help="Of an image.", min=1, max=500_000_000)] = 50_000_000,
    drain_seconds: Annotated[
        float, typer.Option(help="For the requests that are there when SIGTERM comes.", min=0, max=3600)
    ] = 30.0,
    watch: Annotated[bool, typer.Option(help="Load a model file again when it changes.")] = True,
    admin: Annotated[bool, typer.Option("--admin", help="Offer POST /admin/reload to this machine.")] = False,
    access_log: Annotated[bool, typer.Option("--access-log", help="A line for each request.")] = False,
    log_format: Annotated[Literal["text", "json"], typer.Option(help="Of the lines on standard error.")] = "text",
    labels: Labels = None,
    mean: Mean = None,
    std: Std = None,
    preprocess: Preprocess = None,
) -> None:
    """Serve ONNX files over HTTP, with a page to draw on at / and the Open Inference Protocol at /v2."""
    from cnnkit import api
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
        watch=watch,
        admin=admin,
        access_log=access_log,
        log_format=log_format,
    )
    api.serve(
        models,
        settings,
        labels=labels,
        mean=numbers(mean, "--mean"),
        std=numbers(std, "--std"),
        preprocess=require_preprocess(preprocess),
    )
