"""TLS over gRPC, and what is refused of it."""

import datetime
import json

import grpc
import pytest
from commands import run_module
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from gateways import running_gateway
from servers import of, rest, running, status, wait_until


def make_keys():
    """A private key and a certificate that it has signed itself, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), False)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
        .decode()
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
    return private, certificate


@pytest.fixture(scope="module")
def keys():
    return make_keys()


def write_config(path, **fields):
    path.write_text("".join(f"{name}: {json.dumps(value)}\n" for name, value in fields.items()))
    return f"--ssl_config_file={path}"


@pytest.mark.slow
def test_grpc_is_encrypted_and_rest_stays_on_this_machine(base_path, tmp_path, keys):
    private, certificate = keys
    flag = write_config(tmp_path / "ssl.config", server_key=private, server_cert=certificate)
    authority = tmp_path / "ca.pem"
    authority.write_text(certificate)
    with running(*of(base_path), flag, wait=False) as server:
        credentials = grpc.ssl_channel_credentials(certificate.encode())
        address = f"localhost:{server.port}"
        channel = grpc.secure_channel(address, credentials)
        wait_until(lambda: status(channel).model_version_status)
        assert rest(server, "/v1/models/letters")[0] == 200
        finished = run_module(
            "serving", "score", "--server", address, "--model_name", "letters",
            "--ssl_ca_file", authority, "--text", "abc",
        )  # fmt: skip
        assert finished.stdout.endswith(" bits per character\n")


def refused(*flags):
    finished = run_module("serving", "serve", *flags)
    assert finished.returncode == 2 and finished.stderr.count("\n") == 1
    assert finished.stderr.startswith("error: ")
    return finished.stderr


def test_rest_without_tls_is_not_open_to_others(base_path, tmp_path, keys):
    private, certificate = keys
    flag = write_config(tmp_path / "ssl.config", server_key=private, server_cert=certificate)
    said = refused(*of(base_path), flag, "--host=0.0.0.0", "--port=any", "--rest_api_port=any")
    assert "--ssl_config_file protects gRPC alone" in said and "--rest_api_host=127.0.0.1" in said


@pytest.mark.parametrize("broken", ["server_key", "server_cert", "another key"])
def test_keys_that_are_none_are_named(base_path, tmp_path, keys, broken):
    fields = dict(zip(("server_key", "server_cert"), keys, strict=True))
    if broken == "another key":
        fields["server_key"], _ = make_keys()
    else:
        fields[broken] = "garbage"
    flag = write_config(tmp_path / "ssl.config", **fields)
    assert "the keys of --ssl_config_file" in refused(*of(base_path), flag, "--port=any")


def test_clients_cannot_be_verified_without_an_authority(base_path, tmp_path, keys):
    private, certificate = keys
    path = tmp_path / "ssl.config"
    write_config(path, server_key=private, server_cert=certificate)
    with path.open("a") as file:
        file.write("client_verify: true\n")
    said = refused(*of(base_path), f"--ssl_config_file={path}", "--port=any")
    assert "client_verify without custom_ca" in said


@pytest.mark.slow
def test_a_gateway_asks_over_tls(base_path, tmp_path, keys):
    private, certificate = keys
    flag = write_config(tmp_path / "ssl.config", server_key=private, server_cert=certificate)
    authority = tmp_path / "ca.pem"
    authority.write_text(certificate)
    with running(*of(base_path), flag, wait=False) as server:
        address = f"localhost:{server.port}"
        with running_gateway(address, f"--backend_ca_file={authority}") as gateway:
            body = {"model": "letters", "prompt": "a", "max_tokens": 4}
            status_code, _, answer = gateway.request("POST", "/v1/completions", body)
            assert status_code == 200 and answer["usage"]["completion_tokens"] == 4
        with running_gateway(address, wait=False) as without:
            wait_until(lambda: without.request("GET", "/health")[0] == 503)
