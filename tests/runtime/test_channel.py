import threading

import pytest

from orilla.runtime.channel import Channel, Closed


def test_items_come_in_order_and_the_rest_after_closing():
    channel = Channel(3)
    for item in range(3):
        channel.put(item)
    channel.close()
    assert [channel.get() for _ in range(3)] == [0, 1, 2]
    with pytest.raises(Closed):
        channel.get()
    with pytest.raises(Closed):
        channel.put(3)


def test_newest_drops_the_oldest_and_counts_it():
    channel = Channel(1, newest=True)
    for item in "abc":
        channel.put(item)
    assert (channel.get(), channel.dropped_before) == ("c", 2)
    channel.put("d")
    channel.put("e")
    # The count belongs to the item that was taken, not to what came since.
    assert channel.dropped_before == 2
    assert (channel.get(), channel.dropped_before) == ("e", 3)


def test_an_error_comes_after_the_items_before_it():
    channel = Channel(1, newest=True)
    channel.put("last")
    channel.close(ValueError("broken"))
    assert channel.get() == "last"
    with pytest.raises(ValueError, match="broken"):
        channel.get()


def test_a_full_channel_makes_the_giver_wait_until_there_is_room():
    channel, given = Channel(1), []

    def give():
        for item in range(50):
            channel.put(item)
            given.append(item)

    thread = threading.Thread(target=give)
    thread.start()
    taken = []
    for _ in range(50):
        taken.append(channel.get())
        # One item may wait in the channel, and one may have been put but not yet noted.
        assert len(given) <= len(taken) + 2
    thread.join()
    assert taken == list(range(50))
    assert channel.dropped_before == 0


def test_closing_wakes_who_waits():
    full, empty, woken = Channel(1), Channel(1), []
    full.put(0)

    def wait(call):
        with pytest.raises(Closed):
            call()
        woken.append(call)

    threads = [threading.Thread(target=wait, args=(call,)) for call in (lambda: full.put(1), empty.get)]
    for thread in threads:
        thread.start()
    full.close()
    empty.close()
    for thread in threads:
        thread.join(timeout=10)
    assert len(woken) == 2
