import asyncio
import gc
import io
import json
import struct
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image

from cnnkit.decoding import children
from cnnkit.images import Preprocessing, prepare
from cnnkit.serving.app import App
from cnnkit.serving.batching.job import Job
from cnnkit.serving.http.request import Request
from cnnkit.serving.settings import ModelSource, Settings


@pytest.fixture
def within():
    """Run a coroutine function with an application that serves models, in this process."""

    def run(scenario, models=("digits",), **settings):
        async def live():
            app = App([ModelSource(name, name) for name in models], Settings(**settings), "127.0.0.1")
            app.open()
            chores = app.start()
            try:
                return await asyncio.wait_for(scenario(app), 20)
            finally:
                for chore in chores:
                    chore.cancel()
                app.close()

        return asyncio.run(live())

    return run


async def post(app, body):
    """Return status and document of the answer to an image."""
    request = Request("POST", b"/predict/digits", {b"host": b"localhost"}, "127.0.0.1", "1.1", keep_alive=True)
    assert app.accept(request) is None
    request.body, request.complete = body, True
    response = await app.answer(request)
    app.answered(request, response, 0.1)
    return response.status, json.loads(response.body)


def photo(side):
    file = io.BytesIO()
    Image.new("L", (side, side), 255).save(file, "PNG")
    return file.getvalue()


def job_of(app, image, model="digits"):
    output = app.repository.batchers[model].model.network.output
    return Job(asyncio.get_running_loop().create_future(), (output,), image=image)


def test_nothing_of_a_request_outlives_its_answer(within, seven):
    async def ask(app):
        bodies = [seven, b"no image", seven[:300], photo(1000)]
        expected = [200, 415, 422, 200]
        assert [(await post(app, body))[0] for body in bodies] == expected
        gc.collect()
        gc.disable()  # whatever is left is held by itself
        try:
            assert [(await post(app, body))[0] for body in bodies] == expected
            # The deadlines' timer may still know the last one that it saw; and a thread, for a moment, its last batch.
            while sum(type(each) is Job for each in gc.get_objects()) > 1:
                await asyncio.sleep(0.01)
        finally:
            gc.enable()

    within(ask)


def test_a_large_image_whose_client_left_is_not_kept_for_a_decoder(within):
    async def leave(app):
        batcher, free = app.repository.batchers["digits"], threading.Event()
        threads, app.repository.decoders.threads = app.repository.decoders.threads, ThreadPoolExecutor(1)
        app.repository.decoders.threads.submit(free.wait)
        job = job_of(app, photo(1000))
        batcher.submit(job)
        while not job.decoding:
            await asyncio.sleep(0.01)
        job.done.cancel()
        await asyncio.sleep(0)
        assert (job.image, batcher.in_flight) == (None, 0)
        free.set()
        while job.decoding:
            await asyncio.sleep(0.01)
        assert job.form is None
        app.repository.decoders.threads.shutdown()
        app.repository.decoders.threads = threads

    within(leave)


@pytest.mark.parametrize("model", ["digits", "lenet"])
@pytest.mark.parametrize("kind", ["many bytes", "many pixels"])
def test_what_takes_long_to_decode_holds_up_no_batch(within, seven, model, kind):
    slow = seven[:33] + chunk(b"abCd", bytes(2**16)) + seven[33:] if kind == "many bytes" else photo(1000)

    async def overtaken(app):
        decoders, free = app.repository.decoders, threading.Event()
        threads, decoders.threads = decoders.threads, ThreadPoolExecutor(1)
        decoders.threads.submit(free.wait)
        large, small = job_of(app, slow, model), job_of(app, photo(28), model)
        for job in (large, small):
            app.repository.batchers[model].submit(job)
        try:
            await asyncio.wait_for(small.done, 5)
            assert not large.done.done()
        finally:
            free.set()
        assert await large.done is await small.done
        decoders.threads.shutdown()
        decoders.threads = threads

    within(overtaken, models=(model,))


@pytest.mark.parametrize("quick", [True, False])
def test_batches_of_a_quick_network_run_on_the_event_loop_and_answers_come_before_the_next_batch(within, quick):
    async def several(app):
        batcher, ran = app.repository.batchers["lenet"], []
        batcher.model.is_quick = quick
        run = batcher.model.run
        batcher.model.run = lambda jobs: ran.append(threading.current_thread()) or run(jobs)
        jobs = [job_of(app, photo(28), "lenet") for _ in range(4)]
        for number, job in enumerate(jobs):
            job.done.add_done_callback(lambda _, number=number: ran.append(number))
            batcher.submit(job)
        await asyncio.gather(*(job.done for job in jobs))
        loop = threading.current_thread()
        assert [each for each in ran if isinstance(each, int)] == [0, 1, 2, 3]
        assert all((each is loop) == quick for each in ran if not isinstance(each, int))
        if quick:
            assert ran == [loop, 0, loop, 1, loop, 2, loop, 3]

    within(several, models=("lenet",), max_batch=1)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def test_an_image_that_was_prepared_for_another_version_is_prepared_again(within, seven):
    async def replaced(app):
        job = job_of(app, seven)
        other = Preprocessing(1, 28, 28, (0.0,), (1.0,), "contain", "dark-on-light")
        job.prepared, job.form = prepare(seven, other), other
        app.repository.batchers["digits"].submit(job)
        await job.done
        assert job.form == app.repository.batchers["digits"].model.form
        assert (job.prepared.pixels == prepare(seven, job.form).pixels).all()
        assert job.probabilities.argmax() == 7

    within(replaced)


def test_only_so_many_images_are_decoded_in_processes_with_limits_at_a_time(within, monkeypatch):
    running, most = [0], [0]

    async def decode(app):
        model = app.repository.batchers["digits"].model
        decode = model.decode

        def counted(job, *, apart=False):
            running[0] += apart
            most.append(running[0])
            try:
                decode(job, apart=apart)
            finally:
                running[0] -= apart

        monkeypatch.setattr(model, "decode", counted)
        giant = photo(4200)
        answers = await asyncio.gather(post(app, said_to_be(giant, 7500)), *(post(app, giant) for _ in range(3)))
        assert [status for status, _ in answers] == [413, 200, 200, 200]
        assert 1 <= max(most) <= children.count()

    within(decode)


def said_to_be(png, side):
    """Return a PNG file whose header says that it is so many pixels wide and high."""
    header = b"IHDR" + side.to_bytes(4, "big") * 2 + png[24:29]
    return png[:12] + header + zlib.crc32(header).to_bytes(4, "big") + png[33:]


@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2)])
def test_a_new_version_is_given_as_many_batches_at_a_time_as_it_takes(within, monkeypatch, seven, before, after):
    async def replace(app):
        batcher, running, most = app.repository.batchers["digits"], [0], []
        model = batcher.model
        run = model.run

        def slowly(jobs):
            running[0] += 1
            most.append(running[0])
            time.sleep(0.03)
            running[0] -= 1
            return run(jobs)

        monkeypatch.setattr(model, "run", slowly)
        monkeypatch.setattr(model, "instances", before)
        batcher._idle = before
        new = type(model)(ModelSource("digits", "digits"), Settings())
        monkeypatch.setattr(new, "run", slowly)
        monkeypatch.setattr(new, "instances", after)
        first = [job_of(app, seven) for _ in range(6)]
        for job in first:
            batcher.submit(job)
        await asyncio.sleep(0.01)
        batcher.replace(new)
        await asyncio.gather(*(job.done for job in first))
        most.clear()
        second = [job_of(app, seven) for _ in range(6)]
        for job in second:
            batcher.submit(job)
        await asyncio.gather(*(job.done for job in second))
        assert max(most) == after

    within(replace, max_batch=1)
