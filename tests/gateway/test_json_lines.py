"""Reading messages: what passes, what is refused, and what the refusal tells."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mooring.gateway.errors import ErrorCode, ProtocolError
from mooring.gateway.json_lines import JSON_LINES, decode, encode
from mooring.gateway.messages import LARGEST_SEQ, Ack, Bye, Done, Error, Hello, Item, Ping, Pong, Push, Upload


def refusal(line: bytes) -> ProtocolError:
    with pytest.raises(ProtocolError) as caught:
        decode(line)
    return caught.value


def test_hello_speaks_version_1_unless_it_says_otherwise() -> None:
    assert decode(b'{"op":"hello","device":"meter-7"}') == Hello("meter-7", 1)
    assert decode(b'{"op":"hello","device":"meter-7","v":3,"token":"secret"}') == Hello("meter-7", 3, "secret")


def test_the_data_of_a_push_is_kept_byte_for_byte() -> None:
    data = '{"b" : 1.50,  "a":"é\\u00e9", "a":1}'.encode()
    push = decode(b'{"seq":9007199254740991, "at":1.5,"data":%b,"op":"push"}' % data)
    assert isinstance(push, Push)
    assert (push.seq, push.at, bytes(push.data)) == (LARGEST_SEQ, 1.5, data)


@pytest.mark.parametrize("at", [b"0", b"1763879997", b"253402300799.999"])
def test_a_time_may_be_anything_that_the_tables_hold(at: bytes) -> None:
    push = decode(b'{"op":"push","seq":1,"data":null,"at":%b}' % at)
    assert isinstance(push, Push)
    assert push.at == float(at)


def test_data_may_be_nested_64_deep_and_no_deeper() -> None:
    line = b'{"op":"push","seq":7,"data":%b%b}'
    assert isinstance(decode(line % (b"[" * 64, b"]" * 64)), Push)
    exc = refusal(line % (b"[" * 65, b"]" * 65))
    assert (exc.code, exc.of, exc.seq) == (ErrorCode.BAD_JSON, "push", 7)


@pytest.mark.parametrize("op", [Ping(), Pong(), Bye()])
def test_the_small_messages_need_nothing_but_their_op(op: Ping | Pong | Bye) -> None:
    assert decode(encode(op)) == op


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"hello",
        b"{",
        b'{"op":"ping"} {}',
        b"\xef\xbb\xbf{}",
        b"\x00\xff\xfe\x16\x03\x01",
        b"GET / HTTP/1.1",
        b'{"op":"push","seq":1,"data":NaN}',
        b'{"op":"push","seq":1,"data":Infinity}',
        b'{"op":"push","seq":1,"data":01}',
        b'{"op":"push","seq":1,"data":"\x01"}',
        b'{"op":"push","seq":1,"data":"\\ud800"}',
        b'{"op":"hello","device":"\xff"}',
        b'{"op":"push","seq":1,"data":' + b"[" * 10_000 + b"]" * 10_000 + b"}",
        b'{"op":"ping","ignored":' + b'{"a":' * 10_000 + b"1" + b"}" * 10_000 + b"}",
        b"[" * 60_000,
        b"[1,",
        b'{"op":"nonsense",',
        b'{"op":"nonsense","x":"\xff"}',
    ],
)
def test_what_is_no_json_is_bad_json(line: bytes) -> None:
    assert refusal(line).code is ErrorCode.BAD_JSON


@pytest.mark.parametrize(
    "data", [b"1e999", b'"\xff"', b'{"a":"\xed\xa0\x80"}', b"[" * 65 + b"]" * 65, b'"a","x":"\xff"']
)
def test_data_that_cannot_be_kept_is_refused_with_its_seq(data: bytes) -> None:
    exc = refusal(b'{"op":"push","seq":7,"data":%b}' % data)
    assert (exc.code, exc.of, exc.seq) == (ErrorCode.BAD_JSON, "push", 7)


@pytest.mark.parametrize(
    "fields",
    [
        b'"seq":0,"data":1',
        b'"seq":-1,"data":1',
        b'"seq":9007199254740992,"data":1',
        b'"seq":18446744073709551616,"data":1',
        b'"seq":1.0,"data":1',
        b'"seq":1e3,"data":1',
        b'"seq":true,"data":1',
        b'"seq":"1","data":1',
        b'"seq":null,"data":1',
        b'"data":1',
        b'"seq":1',
        b'"seq":1,"batch":[]',
        b'"seq":1,"data":1,"at":"now"',
        b'"seq":1,"data":1,"at":true',
        b'"seq":1,"data":1,"at":-1',
        b'"seq":1,"data":1,"at":1e999',
        b'"seq":1,"data":1,"at":253402300800',
    ],
)
def test_a_push_with_a_wrong_field_is_a_bad_message(fields: bytes) -> None:
    exc = refusal(b'{"op":"push",%b}' % fields)
    assert (exc.code, exc.of) == (ErrorCode.BAD_MESSAGE, "push")


@pytest.mark.parametrize(
    "name", ['""', '" a"', '"a "', '"a\\n"', '"a\\u0000b"', '"a\\u0085b"', '"a\\u2028b"', '"\\u00a0a"', f'"{"x" * 65}"']
)
def test_a_name_that_is_none_is_a_bad_message(name: str) -> None:
    exc = refusal(f'{{"op":"hello","device":{name}}}'.encode())
    assert (exc.code, exc.of) == (ErrorCode.BAD_MESSAGE, "hello")


def test_the_error_for_a_name_of_ten_thousand_characters_is_short() -> None:
    exc = refusal(b'{"op":"hello","device":"%b"}' % (b"x" * 10_000))
    assert exc.code is ErrorCode.BAD_MESSAGE
    assert len(exc.detail) < 200


@pytest.mark.parametrize("name", ["a", "x" * 64, "Zähler 7", "设备", "\N{ELECTRIC PLUG}" * 64])
def test_a_name_may_be_of_any_script(name: str) -> None:
    assert decode(json.dumps({"op": "hello", "device": name}, ensure_ascii=False).encode()) == Hello(name)


@pytest.mark.parametrize("line", [b"[]", b"1", b'"push"', b"null", b"{}", b'{"op":1}', b'{"op":null}', b'{"seq":1}'])
def test_json_that_is_no_object_with_an_op_is_a_bad_message(line: bytes) -> None:
    assert refusal(line).code is ErrorCode.BAD_MESSAGE


def test_an_unknown_op_is_repeated_but_not_at_any_length() -> None:
    exc = refusal(b'{"op":"%b","seq":3}' % (b"x" * 10_000))
    assert (exc.code, exc.of, exc.seq) == (ErrorCode.UNKNOWN_OP, "x" * 64, 3)


@given(st.binary(max_size=200))
def test_any_bytes_give_a_message_or_a_refusal(line: bytes) -> None:
    try:
        decode(line)
    except ProtocolError as exc:
        encode(Error(of=exc.of, seq=exc.seq, code=exc.code.code, retry=exc.code.retry, detail=exc.detail))


@settings(max_examples=50, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_any_json_gives_a_message_or_a_refusal(value: object) -> None:
    for line in (json.dumps(value), json.dumps({"op": "push", "seq": value, "data": value})):
        try:
            decode(line.encode())
        except ProtocolError:
            pass


def test_answers_leave_out_what_they_do_not_say() -> None:
    assert encode(Ack(42)) == b'{"op":"ack","seq":42}'
    assert encode(Ping()) == b'{"op":"ping"}'
    assert encode(Bye(reason="restart", retry_after=1.5)) == b'{"op":"bye","reason":"restart","retry_after":1.5}'
    error = Error(of="push", seq=42, code="unavailable", retry=True, detail="why")
    expected = b'{"op":"error","of":"push","seq":42,"code":"unavailable","retry":true,"detail":"why"}'
    assert encode(error) == expected


def test_the_table_in_the_documentation_is_the_enum() -> None:
    text = (Path(__file__).parents[2] / "docs" / "gateway.md").read_text(encoding="utf-8")
    for code in ErrorCode:
        retry, closes = ("yes" if flag else "no" for flag in (code.retry, code.closes))
        assert f"| `{code.code}` | {retry} | {closes} | {code.meaning} |" in text
    assert text.count("| yes |") + text.count("| no |") >= len(ErrorCode)


def test_messages_that_wait_are_told_from_others() -> None:
    route = JSON_LINES.route
    assert route(b'{"op":"push","seq":1,"data":1}') == "push"
    assert route(b'{"op" : "hello","device":"a"}') == route(b'{"op":"done","id":1}') == "database"
    assert route(b'{"op":"ping"}') == route(b'{"op":"pong"}') == "answer"


def test_a_batch_counts_on_from_its_seq() -> None:
    push = decode(b'{"op":"push","seq":43,"batch":[{"at":5,"data":{"a" : 1}},{"data":[2]}]}')
    assert isinstance(push, Push)
    assert push.last_seq == 44
    assert [(bytes(item.data), item.at) for item in push.items] == [(b'{"a" : 1}', 5.0), (b"[2]", None)]


def test_an_item_of_a_batch_may_be_nested_64_deep_and_no_deeper() -> None:
    line = b'{"op":"push","seq":7,"batch":[{"data":%b%b}]}'
    assert isinstance(decode(line % (b"[" * 64, b"]" * 64)), Push)
    assert refusal(line % (b"[" * 65, b"]" * 65)).code is ErrorCode.BAD_JSON


@pytest.mark.parametrize(
    "fields",
    [
        b'"seq":1,"batch":{}',
        b'"seq":1,"batch":[1]',
        b'"seq":1,"batch":[{}]',
        b'"seq":1,"batch":[{"data":1,"at":-1}]',
        b'"seq":1,"batch":[{"data":1}],"data":1',
        b'"seq":1,"batch":[{"data":1}],"at":1',
        b'"seq":9007199254740991,"batch":[{"data":1},{"data":1}]',
        b'"seq":1,"batch":[' + b",".join([b'{"data":1}'] * 1001) + b"]",
    ],
)
def test_a_batch_that_is_none_is_a_bad_message(fields: bytes) -> None:
    exc = refusal(b'{"op":"push",%b}' % fields)
    assert (exc.code, exc.of, exc.seq) == (ErrorCode.BAD_MESSAGE, "push", exc.seq)


@pytest.mark.parametrize("data", [b"1e999", b"-1e999", b"1" * 400])
def test_a_number_that_no_double_holds_is_refused_wherever_json_is_kept(data: bytes) -> None:
    assert refusal(b'{"op":"push","seq":7,"batch":[{"data":1},{"data":%b}]}' % data).seq == 7
    exc = refusal(b'{"op":"done","id":7,"result":%b}' % data)
    assert (exc.code, exc.of, exc.id) == (ErrorCode.BAD_JSON, "done", 7)


@pytest.mark.parametrize("data", ["!!!!", "YWJ", "YW\\nJj", "", "YWJj" * 10_923 + "YQ=="])
def test_a_block_that_is_no_base64_or_of_no_right_size_is_a_bad_message(data: str) -> None:
    line = f'{{"op":"upload","name":"raw","sha256":"{"a" * 64}","total":9,"data":"{data}"}}'
    exc = refusal(line.encode())
    assert (exc.code, exc.of, exc.name) == (ErrorCode.BAD_MESSAGE, "upload", "raw")


def test_an_upload_and_an_answer_are_read() -> None:
    line = f'{{"op":"upload","name":"raw","sha256":"{"a" * 64}","total":6,"offset":3,"data":"YWJj"}}'
    assert decode(line.encode()) == Upload("raw", "a" * 64, 6, 3, b"abc")
    done = decode(b'{"op":"done","id":7,"result":{"a" : 1}}')
    assert isinstance(done, Done)
    assert bytes(done.result) == b'{"a" : 1}'
    assert decode(b'{"op":"done","id":7,"error":"no"}') == Done(7, error="no")
    assert refusal(b'{"op":"done","id":7,"error":"no","result":1}').code is ErrorCode.BAD_MESSAGE


def test_items_of_a_batch_are_written_as_they_are_read() -> None:
    push = decode(b'{"op":"push","seq":1,"batch":[{"data":1},{"data":2,"at":3}]}')
    assert isinstance(push, Push)
    assert push.batch is not None
    assert all(isinstance(item, Item) for item in push.batch)
    assert encode(push) == b'{"op":"push","seq":1,"batch":[{"data":1},{"data":2,"at":3.0}]}'
