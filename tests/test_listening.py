"""How the API is listened for. Attacks on a whole server: tests/whole/test_hostile_clients.py."""

import socket

import pytest

from support.certificates import make_certificate
from whisper_router.errors import ConfigurationError
from whisper_router.listening import (
    MAX_WYOMING_CLIENTS,
    certificates_of,
    connection_limits,
    crowd_limits,
    host_policy,
    trusted_proxies,
    wyoming_clients,
)
from whisper_router.sections import ServerSettings, WyomingSettings
from whisper_router.settings import Settings


def test_there_are_no_more_connections_than_files_can_be_open():
    wanted = crowd_limits(Settings(server=ServerSettings(max_connections=10**9)))
    possible = crowd_limits(Settings())
    assert wanted.most == possible.most
    assert crowd_limits(Settings(server=ServerSettings(max_connections=7))).most == 7


def test_wyoming_has_its_own_part_of_the_connections():
    with_it = crowd_limits(Settings(wyoming=WyomingSettings(uri="tcp://127.0.0.1:0")))
    assert 1 <= wyoming_clients() <= MAX_WYOMING_CLIENTS
    assert with_it.most == crowd_limits(Settings()).most - wyoming_clients()


def test_clients_of_a_trusted_proxy_are_not_counted_as_one():
    crowd = crowd_limits(Settings(server=ServerSettings(trusted_proxies=("10.0.0.0/8",))))
    assert crowd.is_exempt("10.1.2.3")
    assert not crowd.is_exempt("192.0.2.1")


def test_nobody_is_trusted_by_default():
    assert not trusted_proxies(Settings()).networks


def test_a_connection_may_do_what_the_settings_say():
    assert connection_limits(Settings(server=ServerSettings(max_headers=17))).max_headers == 17


def test_this_machines_name_is_its_own():
    """Whatever the network has made of it."""
    policy = host_policy(Settings(server=ServerSettings(allowed_hosts=("*.example.org",))))
    assert policy.allows(f"{socket.gethostname()}:8000")
    assert policy.allows("stt.example.org")
    assert not policy.allows("stt.example.com")


def test_a_certificate_is_read_at_the_start(tmp_path):
    assert certificates_of(Settings()) is None
    made = make_certificate(tmp_path)
    server = ServerSettings(tls_cert=made.certificate, tls_key=made.key)
    assert certificates_of(Settings(server=server)) is not None
    made.key.unlink()
    with pytest.raises(ConfigurationError, match=r"server\.tls_key"):
        certificates_of(Settings(server=server))
