"""Key presses in INFO: the bodies that gateways send, and what is answered to the others."""

import pytest

from shared.contracts import MediaInfoDigit
from sipfront.core.info import Press, press
from sipfront.core.message import BadMessage, parse
from tests.support.front_bench import FrontBench
from tests.support.sip_messages import Caller

pytestmark = pytest.mark.unit

RELAY, PLAIN = "application/dtmf-relay", "application/dtmf"


def info(body: str, kind: str, headers: str = ""):
    request = parse(Caller(to_tag="ours").request("INFO", body, kind=kind, headers=headers))
    return press(request)


@pytest.mark.parametrize(
    ("body", "kind", "wanted"),
    [
        ("Signal=5\r\nDuration=160\r\n", RELAY, Press("5", 160)),
        ("Signal=5\r\nDuration=160", RELAY, Press("5", 160)),
        ("Signal= *\r\nDuration= 250\r\n", RELAY, Press("*", 250)),
        ("signal=#\nduration=100\n", RELAY, Press("#", 100)),
        ("Signal=d\r\n", RELAY, Press("D", 0)),
        ("Signal=10\r\n", RELAY, Press("*", 0)),
        ("Signal=11\r\nDuration=x\r\n", RELAY, Press("#", 0)),
        ("Signal=16\r\n", RELAY, Press("!", 0)),
        ("Signal=hf\r\n", RELAY, Press("!", 0)),
        ("Signal=1\r\nDuration=99999999\r\n", RELAY, Press("1", 60_000)),
        ("Signal=7\r\nVolume=10\r\n", "Application/DTMF-Relay; charset=x", Press("7", 0)),
        ("7", PLAIN, Press("7", 0)),
        ("*\r\n", PLAIN, Press("*", 0)),
        ("12", PLAIN, Press("A", 0)),
        ("Signal=9\r\nDuration=80\r\n", PLAIN, Press("9", 80)),
        ("", PLAIN, None),
    ],
)
def test_bodies_as_they_come(body, kind, wanted):
    assert info(body, kind) == wanted


@pytest.mark.parametrize(
    ("body", "kind", "headers", "code"),
    [
        ("Signal=17\r\n", RELAY, "", 400),
        ("Signal=\r\n", RELAY, "", 400),
        ("Signal=55\r\n", RELAY, "", 400),
        ("hello", PLAIN, "", 400),
        ("\u0665", PLAIN, "", 400),
        ("5" + " " * 300, PLAIN, "", 400),
        ("<picture_fast_update/>", "application/media_control+xml", "", 415),
        ("Signal=5", RELAY, "Content-Encoding: gzip\r\n", 415),
        ("", RELAY, "Info-Package: foo\r\n", 469),
        ("Signal=5", RELAY, "Info-Package: foo\r\n", 469),
    ],
)
def test_what_is_no_key_press_is_refused(body, kind, headers, code):
    with pytest.raises(BadMessage) as caught:
        info(body, kind, headers)
    assert caught.value.code == code


def test_press_goes_to_the_media_worker_once_and_is_answered():
    bench = FrontBench()
    caller, _ = bench.confirmed()
    caller.cseq += 1
    request = caller.request("INFO", "Signal=3\r\nDuration=120\r\n", kind=RELAY)
    [answer] = bench.send(request)
    assert answer.code == 200
    [again] = bench.send(request)  # a retransmission
    assert again.code == 200
    [told] = bench.controls(MediaInfoDigit)
    assert (told.call_id, told.digit, told.duration_ms) == (bench.call.call_id, "3", 120)
    assert bench.media(message=told) == []


def test_refused_info_says_what_is_taken_and_the_call_goes_on():
    bench = FrontBench()
    caller, _ = bench.confirmed()
    caller.cseq += 1
    [answer] = bench.send(caller.request("INFO", "x", kind="text/plain"))
    assert (answer.code, answer.header("Accept")) == (415, f"{RELAY}, {PLAIN}")
    caller.cseq += 1
    [answer] = bench.send(caller.request("INFO", headers="Info-Package: conference\r\n"))
    assert (answer.code, answer.values("Recv-Info")) == (469, [""])
    caller.cseq += 1
    assert bench.send(caller.request("INFO"))[0].code == 200  # says nothing, asks whether the dialog is there
    assert not bench.controls(MediaInfoDigit)


def test_press_of_a_call_whose_leg_is_gone_is_answered_and_dropped():
    bench = FrontBench()
    caller, _ = bench.confirmed()
    bench.media_ended()
    caller.cseq += 1
    assert bench.send(caller.request("INFO", "5", kind=PLAIN))[0].code == 200
    assert not bench.controls(MediaInfoDigit)
