"""`archive` copies the images of one job at the same time, and what is large by itself."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Barrier, BrokenBarrierError

import pytest

from shared.copying import SHARED_BYTES
from shared.errors import Code
from shared.job import Status
from shared.services import COPIES_AT_ONCE
from tests.functions.test_archive import IMAGES, check_finished, order, running
from tests.support.loopback import Answer, Call, serving
from tests.support.world import World, image

pytestmark = pytest.mark.sockets

FOUR = {"prompt": "a fox", "num_outputs": 4}
LARGE = IMAGES[0] + bytes(SHARED_BYTES)


@contextmanager
def serving_outputs(world: World, respond: Callable[[Call], Answer], count: int) -> Iterator[list[str]]:
    """Serve so many outputs, from where the world may fetch them, and give their URLs."""
    with serving(respond) as origin:
        world.parameters["OutputHosts"] = origin
        yield [f"{origin}/{n}" for n in range(count)]


def test_four_images_are_fetched_at_the_same_time(world: World) -> None:
    together = Barrier(COPIES_AT_ONCE, timeout=60)
    alone: list[str] = []

    def respond(call: Call) -> Answer:
        try:
            together.wait()
        except BrokenBarrierError:
            alone.append(call.path)
        return Answer(body=IMAGES[int(call.path[1:])])

    one = running(world, images=4, input=FOUR)
    with serving_outputs(world, respond, 4) as urls:
        assert world.deliver(order(one, output=urls))
    assert alone == []
    ended = check_finished(world, one, Status.SUCCEEDED, cost=12_000, files=4)
    assert [world.object(file.key) for file in ended.files] == IMAGES


def test_what_is_large_is_copied_by_itself_after_the_others(world: World) -> None:
    bodies = [LARGE, IMAGES[1], LARGE, IMAGES[3]]
    asked: list[str] = []

    def respond(call: Call) -> Answer:
        asked.append(call.path)
        return Answer(body=bodies[int(call.path[1:])])

    one = running(world, images=4, input=FOUR)
    with serving_outputs(world, respond, 4) as urls:
        assert world.deliver(order(one, output=urls))
    # The first look tells the length, and takes no more.
    assert Counter(asked) == {"/0": 2, "/1": 1, "/2": 2, "/3": 1}
    assert asked[-2:] == ["/0", "/2"]
    ended = check_finished(world, one, Status.SUCCEEDED, cost=12_000, files=4)
    assert [file.bytes for file in ended.files] == [len(body) for body in bodies]


def test_one_that_does_not_tell_its_length_may_be_large(world: World) -> None:
    asked: list[str] = []

    def respond(call: Call) -> Answer:
        asked.append(call.path)
        return Answer(body=IMAGES[int(call.path[1:])], length=call.path != "/0")

    one = running(world, images=2, input={**FOUR, "num_outputs": 2})
    with serving_outputs(world, respond, 2) as urls:
        assert world.deliver(order(one, output=urls))
    assert Counter(asked) == {"/0": 2, "/1": 1}
    check_finished(world, one, Status.SUCCEEDED, cost=6_000, files=2)


def test_one_that_fails_keeps_none_of_the_others_from_being_stored(world: World) -> None:
    def respond(call: Call) -> Answer:
        return Answer(403 if call.path == "/1" else 200, body=image())

    one = running(world, images=4, input=FOUR)
    with serving_outputs(world, respond, 4) as urls:
        urls[2] = "https://elsewhere.example/2.webp"
        assert world.deliver(order(one, output=urls, completed_at="2026-11-01T09:00:00.000Z"))
    ended = world.read(one.id)
    assert ended.status is Status.FAILED
    assert ended.problem is not None
    assert ended.problem.code in {Code.OUTPUT_EXPIRED, Code.OUTPUT_REJECTED}
    assert [file.n for file in ended.files] == [0, 3]
