"""Protocols as named objects: which are equal, how they differ, how they are printed."""

from __future__ import annotations

from rlkit.report.protocols import Protocol, legend, mark_of, sentences

PONG = {"environment": "Pong", "sticky actions": "0.25", "parameters": "final, at 400 steps"}


def test_the_step_at_which_a_run_ended_is_no_part_of_its_protocol() -> None:
    assert Protocol.of(PONG).key() == Protocol.of({**PONG, "parameters": "final, at 500 steps"}).key()
    assert Protocol.of(PONG).key() != Protocol.of({**PONG, "parameters": "best, at 400 steps"}).key()


def test_differences_name_each_entry_with_both_values() -> None:
    other = Protocol.of({"environment": "Pong", "parameters": "final", "no-ops": "30", "protocol": "dopamine"})
    assert Protocol.of(PONG).differences(other) == ["sticky actions 0.25 / unstated", "no-ops unstated / 30"]
    assert other.differences(other) == []


def test_a_protocol_is_printed_once_under_a_mark_of_its_own() -> None:
    """Two protocols of one environment and a published one of another."""
    pong, sticky = Protocol.of(PONG), Protocol.of({**PONG, "sticky actions": "0"})
    published = Protocol.of({"environment": "Breakout", "protocol": "dopamine"})
    marks = legend([pong, sticky, pong, published])
    assert list(marks) == ["Pong", "Pong (2)", "dopamine"]
    assert [mark_of(each, marks) for each in (pong, sticky, published)] == list(marks)
    assert sentences(marks)[1:] == [
        "Protocol Pong (2): environment: Pong; sticky actions: 0; parameters: final.",
        "Protocol dopamine: environment: Breakout.",
    ]
    assert sentences(legend([pong])) == ["Protocol: environment: Pong; sticky actions: 0.25; parameters: final."]
    assert sentences(legend([published])) == ["Protocol dopamine: environment: Breakout."]
