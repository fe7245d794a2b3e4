"""Against a real Redis on localhost."""

import os
import uuid

import pytest
import redis

from visits.counter import Counter


@pytest.fixture
def counter():
    client = redis.Redis(host="localhost", port=int(os.environ["REDIS_PORT"]))
    return Counter(client, prefix=uuid.uuid4().hex)


def test_a_new_page_was_never_visited(counter):
    assert counter.visits("home") == 0


def test_visits_are_counted(counter):
    assert [counter.visit("home") for _ in range(3)] == [1, 2, 3]


def test_pages_are_counted_apart(counter):
    counter.visit("home")
    assert counter.visits("about") == 0


def test_the_most_visited_page_is_first(counter):
    for page in ["b", "b", "a", "c", "c", "c"]:
        counter.visit(page)
    assert counter.top(["a", "b", "c"]) == ["c", "b", "a"]


def test_a_forgotten_page_begins_again(counter):
    counter.visit("home")
    counter.forget("home")
    assert counter.visit("home") == 1


def test_a_page_has_a_name(counter):
    with pytest.raises(ValueError):
        counter.visit("")
