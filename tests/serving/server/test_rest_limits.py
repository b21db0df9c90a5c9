"""What REST takes, and from whom: sizes, encodings, names and origins."""

import gzip
import http.client
import json
import resource
import tracemalloc

import pytest
from servers import PATIENCE, of, require_embedded, running

from serving.server import json_parsing
from serving.server.errors import RequestError

LIMIT = 200_000  # bytes of a body
PATH = "/v1/models/letters"


@pytest.fixture(scope="module")
def server(base_path):
    require_embedded()
    flags = [f"--rest_api_max_request_bytes={LIMIT}", "--rest_api_allowed_origins=http://a.test"]
    with running(*of(base_path), *flags) as server:
        yield server


def ask(server, method="GET", path=PATH, body=None, port=None, **headers):
    """The status, the headers and the body of an answer."""
    connection = http.client.HTTPConnection(server.host, port or server.rest_port, PATIENCE)
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body, names)
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response.status, response.headers, content


def predict(server, content, path=f"{PATH}:predict", **headers):
    status, _, body = ask(server, "POST", path, content, **headers)
    return status, json.loads(body)


SCORE = {"signature_name": "score", "inputs": ["abc"]}


@pytest.mark.slow
def test_a_body_over_the_limit_is_refused(server):
    status, said = predict(server, b" " * (LIMIT + 1))
    assert status == 413 and "--rest_api_max_request_bytes" in said["error"]
    padded = json.dumps(SCORE).encode().ljust(LIMIT)
    assert predict(server, padded)[0] == 200


def test_packed_bodies_are_unpacked_within_the_limit(server):
    packed_text = json.dumps(SCORE).encode()
    packed = gzip.compress(packed_text)
    half = len(packed) // 2
    assert predict(server, packed, Content_Encoding="gzip")[0] == 200
    bomb = gzip.compress(b" " * (LIMIT + 1))
    status, said = predict(server, bomb, Content_Encoding="gzip")
    assert len(bomb) < 1000 and status == 413
    assert "--rest_api_max_request_bytes" in said["error"]
    for broken in (b"no gzip", packed[:half]):
        status, said = predict(server, broken, Content_Encoding="gzip")
        assert status == 400 and "gzip" in said["error"]
    status, said = predict(server, packed, Content_Encoding="br")
    assert status == 415 and "send gzip, or the body as it is" in said["error"]
    parts = [gzip.compress(part) for part in (packed_text[:9], packed_text[9:])]
    assert predict(server, b"".join(parts), Content_Encoding="gzip")[0] == 200
    status, said = predict(server, gzip.compress(b"") * 9000, Content_Encoding="gzip")
    assert status == 400 and "members of gzip; compress it at once" in said["error"]


def test_answers_are_packed_where_that_is_asked_for(server):
    for path in (f"{PATH}/metadata", "/playground/index.html"):
        _, plain_headers, plain = ask(server, path=path)
        _, headers, packed = ask(server, path=path, Accept_Encoding="gzip, deflate")
        assert headers["Content-Encoding"] == "gzip" and gzip.decompress(packed) == plain
        assert len(packed) == int(headers["Content-Length"]) < len(plain)
        _, refused, again = ask(server, path=path, Accept_Encoding="gzip;q=0")
        assert again == plain
        assert "Content-Encoding" not in plain_headers and "Content-Encoding" not in refused


@pytest.mark.parametrize("depth", [50, 330, 500, 900, 990, 100_000 - 30])
@pytest.mark.parametrize("method", ["predict", "classify"])
def test_deep_json_is_a_bad_request(server, depth, method):
    values = "[" * depth + "]" * depth
    body = f'{{"inputs": {values}, "examples": [{{"text": {values}}}]}}'
    status, said = predict(server, body, f"{PATH}:{method}")
    assert status in (400, 413) and said["error"]


def test_values_in_messages_take_no_more_memory_than_is_shown():
    value = [1] * 300_000
    for _ in range(300):
        value = [value]
    tracemalloc.start()
    try:
        shown = json_parsing.shown(value)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(shown) == json_parsing.MAX_SHOWN + 3 and peak < 10_000_000
    assert json_parsing.shown({"a": [1]}) == json.dumps({"a": [1]}, indent=4)


@pytest.mark.parametrize("version", ["9" * 5000, "9223372036854775808"])
def test_versions_that_cannot_be_are_a_bad_request(server, version):
    status, _, body = ask(server, path=f"{PATH}/versions/{version}")
    assert status == 400 and "Failed to convert version" in json.loads(body)["error"]


def test_more_values_than_the_memory_is_for_are_refused():
    body = b'{"inputs": [' + b"1," * json_parsing.MAX_VALUES + b"1]}"
    with pytest.raises(RequestError, match="more than 1000000 values"):
        json_parsing.parse(body)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    largest = b'{"inputs": [' + b'{"":0},' * (json_parsing.MAX_VALUES // 2 - 10) + b"1]}"
    with json_parsing.parsing(largest) as parsed:
        assert len(parsed["inputs"]) == json_parsing.MAX_VALUES // 2 - 9
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400_000  # KiB


@pytest.mark.parametrize(
    "host,status",
    [
        ("localhost:1", 200),
        ("LOCALHOST", 200),
        ("127.0.0.1", 200),
        ("[::1]:8501", 200),
        ("evil.test", 403),
        ("192.0.2.1", 403),
        ("localhost.evil.test", 403),
        ("[::1", 403),
    ],
)
def test_the_server_answers_to_its_own_names(server, host, status):
    found, headers, body = ask(server, Host=host)
    assert found == status and headers["X-Content-Type-Options"] == "nosniff"
    assert (b"--rest_api_allowed_hosts" in body) == (status == 403)


@pytest.mark.parametrize(
    "origin,status",
    [("http://localhost", 200), ("http://a.test", 200), ("http://b.test", 403), ("null", 403)],
)
def test_pages_of_others_may_not_ask(server, origin, status):
    content = json.dumps(SCORE)
    found, headers, _ = ask(
        server, "POST", f"{PATH}:predict", content, Host="localhost", Origin=origin
    )
    assert found == status
    assert "Access-Control-Allow-Origin" not in headers  # browsers keep the answer to themselves


@pytest.mark.slow
def test_browsers_may_ask_first(base_path):
    require_embedded()
    with running(*of(base_path), "--rest_api_enable_cors_support") as server:
        for method, status in (("OPTIONS", 204), ("GET", 200)):
            found, headers, _ = ask(server, method, Origin="http://any.test")
            assert found == status and headers["Access-Control-Allow-Origin"] == "*"
            assert "POST" in headers["Access-Control-Allow-Methods"]
        assert "Access-Control-Allow-Origin" not in ask(server)[1]


def test_refusals_of_what_is_no_request_are_json(server):
    status, headers, body = ask(server, "GET", Transfer_Encoding="nonsense")
    assert status == 501 and json.loads(body)["error"]
    assert headers["X-Content-Type-Options"] == "nosniff"
