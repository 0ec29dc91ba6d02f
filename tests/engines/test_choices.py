"""Which tokens may follow when a reply is restricted to a few texts."""

from veridistill.engines.choices import next_ids

END = 9


def test_tokens_are_drawn_only_where_the_replies_part() -> None:
    allowed = ((1, 2, 3, END), (1, 5, END), (1, 5, 6, END))
    assert next_ids(allowed, ()) == [1]
    assert next_ids(allowed, (1,)) == [2, 5]
    assert next_ids(allowed, (1, 5)) == [6, END]
    assert next_ids(allowed, (1, 2, 3)) == [END]
    assert next_ids(allowed, (1, 5, END)) == []
    assert next_ids(allowed, (4,)) == []
