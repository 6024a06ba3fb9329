"""A site leaves a node that brings nothing back, patiently."""

from sites.edge.link.silence import SilenceWatch


def due_at(watch: SilenceWatch, until_s: int, *, is_connected: bool = True) -> list[int]:
    return [now_s for now_s in range(until_s) if watch.is_due(float(now_s), is_connected=is_connected)]


def test_three_missed_answers_are_enough_and_patience_grows():
    assert due_at(SilenceWatch(interval_s=60.0), 1500) == [180, 541, 1262]


def test_short_intervals_do_not_make_it_hasty():
    assert due_at(SilenceWatch(interval_s=1.0), 100) == [30, 91]


def test_an_answer_begins_anew():
    watch = SilenceWatch(interval_s=1.0)
    assert due_at(watch, 31) == [30]
    watch.hear()
    assert due_at(watch, 32) == [30]


def test_who_is_not_connected_expects_no_answer():
    watch = SilenceWatch(interval_s=1.0)
    assert due_at(watch, 1000, is_connected=False) == []
    assert not watch.is_due(1000.0, is_connected=True)


def test_each_site_has_its_own_patience():
    assert due_at(SilenceWatch(interval_s=1.0, spread=0.5), 100) == [45]
