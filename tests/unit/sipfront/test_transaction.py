"""Transaction records: which table belongs to which request, and which requests are one that came on two paths."""

import pytest

from sipfront.core.message import parse
from sipfront.core.timers import TIMERS_NS
from sipfront.core.transaction import (
    INVITE_CLIENT,
    INVITE_SERVER,
    OTHER_CLIENT,
    OTHER_SERVER,
    Act,
    ClientTransaction,
    Event,
    ServerTransaction,
    State,
)
from tests.support.sip_messages import Caller

pytestmark = pytest.mark.unit

TABLES = (INVITE_SERVER, OTHER_SERVER, INVITE_CLIENT, OTHER_CLIENT)


def server(method="OPTIONS", **changes):
    request = parse(Caller().request(method, **changes))
    return ServerTransaction(
        key=request.transaction_key(), request=request, source=("127.0.0.1", 5070), state=State.TRYING
    )


def client(method):
    return ClientTransaction(
        key=("z9hG4bKx", method), owner="c", to=("127.0.0.1", 5070), state=State.TRYING, last=b""
    )


@pytest.mark.parametrize(("method", "table"), [("INVITE", INVITE_SERVER), ("BYE", OTHER_SERVER), ("OPTIONS", OTHER_SERVER)])  # fmt: skip
def test_server_table_is_chosen_by_method(method, table):
    assert server(method).table is table


@pytest.mark.parametrize(("method", "table"), [("INVITE", INVITE_CLIENT), ("BYE", OTHER_CLIENT)])
def test_client_table_is_chosen_by_method(method, table):
    assert client(method).method == method
    assert client(method).table is table


def test_request_on_another_path_has_the_same_merge_key_and_another_key():
    one, other = server(branch="z9hG4bKone"), server(branch="z9hG4bKother")
    assert one.merge_key == other.merge_key
    assert one.key != other.key


@pytest.mark.parametrize("change", [{"cseq": 9}, {"from_tag": "else"}])
def test_other_requests_have_other_merge_keys(change):
    assert server().merge_key != server(**change).merge_key


def test_method_is_part_of_both_keys():
    assert server("OPTIONS", branch="z9hG4bKx").key != server("INFO", branch="z9hG4bKx").key
    assert server("OPTIONS").merge_key != server("INFO").merge_key


def test_every_timer_that_a_table_starts_is_one_it_hears_and_has_a_duration():
    for table in TABLES:
        heard = {event.value for row in table.values() for event in row if len(event.value) == 1}
        started = {
            act.value[-1]
            for row in table.values()
            for _, acts in row.values()
            for act in acts
            if act.value.startswith("start ")
        }
        begun = {"A", "B"} if table is INVITE_CLIENT else {"E", "F"} if table is OTHER_CLIENT else set()
        assert started | begun == heard
        assert heard <= set(TIMERS_NS)


def test_invite_failure_is_acknowledged_every_time_and_delivered_once():
    """RFC 3261 section 17.1.1.2: retransmitted failures are acknowledged and not passed up."""
    assert set(INVITE_CLIENT[State.CALLING][Event.GOT_FAILURE][1]) >= {Act.ACK, Act.DELIVER}
    assert INVITE_CLIENT[State.COMPLETED][Event.GOT_FAILURE] == (State.COMPLETED, (Act.ACK,))


def test_only_unreliable_repetition_happens_after_a_final_answer():
    assert Act.REPEAT in OTHER_SERVER[State.COMPLETED][Event.REQUEST][1]
    assert Act.REPEAT not in INVITE_SERVER[State.ACCEPTED][Event.REQUEST][1], "a 2xx is the call's business"
    assert Act.DELIVER in INVITE_SERVER[State.ACCEPTED][Event.ACK][1]
