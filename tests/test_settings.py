"""Defaults < file < other servers' variables < our variables < flags; nothing unknown passes."""

from pathlib import Path

import pytest

from whisper_router.errors import ConfigurationError
from whisper_router.settings import Settings
from whisper_router.settings_sources import find_config, legacy_settings, load_settings

KNOWN_VARIABLES = (
    *("HOST", "PORT", "API_KEY", "HF_TOKEN", "HF_ENDPOINT", "HF_HUB_OFFLINE"),
    *("WHISPER_MODEL", "WHISPER_MODEL_SIZE", "WHISPER_MODEL_ALIAS", "WHISPER_PARALLELISM"),
    *("WHISPER_ACCELERATION", "WHISPER_AUTO_DOWNLOAD", "WHISPER_HF_REPO", "WHISPER_HF_FILENAME"),
    "WHISPER_CACHE_DIR",
)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch):
    for name in KNOWN_VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def config(tmp_path):
    def write(text: str) -> Path:
        path = tmp_path / "router.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_no_file_and_no_variable_give_the_defaults():
    """Everything has a default."""
    assert load_settings(None).model_dump() == Settings().model_dump()


def test_later_sources_win(config, monkeypatch):
    """File, then PORT, then WHISPER_ROUTER__SERVER__PORT, then the flag."""
    path = config('[server]\nport = 1\nhost = "127.0.0.2"')
    assert load_settings(path).server.port == 1
    monkeypatch.setenv("PORT", "2")
    assert load_settings(path).server.port == 2
    monkeypatch.setenv("WHISPER_ROUTER__SERVER__PORT", "3")
    assert load_settings(path).server.port == 3
    loaded = load_settings(path, {"server": {"port": 4}})
    assert (loaded.server.port, loaded.server.host) == (4, "127.0.0.2")


def test_the_settings_are_frozen():
    """Nobody changes them while the server runs."""
    with pytest.raises(ValueError, match="frozen"):
        load_settings(None).server.port = 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[server]\nprot = 1", "server.prot: unknown setting; did you mean 'port'?"),
        ("[sever]\nport = 1", "sever: unknown setting; did you mean 'server'?"),
        ("[server]\nport = 'x'", "server.port: Input should be a valid integer"),
        ("[server]\nmax_upload_bytes = '12 apples'", "server.max_upload_bytes"),
        ("[models.x]\nmodel = 'a'\npath = 'b'", "model and path cannot be given together"),
        ("[models.x]\nrepo = 'a'", "repo and file go together"),
        (
            "[tracing]\nendpoint = 'collector:4318'",
            "must begin with http:// or https:// and a host",
        ),
        ("[store]\nendpoint = ''", "store.endpoint: "),
        ("[server", "is not valid TOML"),
    ],
)
def test_what_is_wrong_is_named(config, text, message):
    """The message holds the dotted name and what to do."""
    with pytest.raises(ConfigurationError) as caught:
        load_settings(config(text))
    assert message in str(caught.value)


def test_an_unknown_variable_is_an_error(monkeypatch):
    """A renamed setting must not be ignored silently."""
    monkeypatch.setenv("WHISPER_ROUTER__SERVR__PORT", "1")
    with pytest.raises(ConfigurationError, match="did you mean 'SERVER'"):
        load_settings(None)


def test_an_unknown_key_in_a_variable_is_an_error(monkeypatch):
    """The section is known, the key is not."""
    monkeypatch.setenv("WHISPER_ROUTER__SERVER__PROT", "1")
    with pytest.raises(ConfigurationError, match="did you mean 'port'"):
        load_settings(None)


def test_lists_in_variables_are_comma_separated(monkeypatch):
    """As every container file writes them."""
    monkeypatch.setenv("WHISPER_ROUTER__SERVER__CORS_ORIGINS", "https://a, https://b")
    assert load_settings(None).server.cors_origins == ("https://a", "https://b")


def test_a_secret_is_never_printed(config):
    """Neither by repr nor in an error."""
    loaded = load_settings(config('[auth]\napi_key = "very-secret"'))
    assert "very-secret" not in repr(loaded)
    with pytest.raises(ConfigurationError) as caught:
        load_settings(config('[auth]\napi_key = ["very-secret"]'))
    assert "very-secret" not in str(caught.value)


def test_sizes_may_be_text(config):
    """As people write them."""
    loaded = load_settings(config('[server]\nmax_upload_bytes = "25MiB"'))
    assert loaded.server.max_upload_bytes == 25 * 1024 * 1024


def test_the_variables_of_whisper_openai_server_work():
    """Its users change the program and nothing else."""
    assert legacy_settings(
        {
            "HOST": "0.0.0.0",
            "PORT": "9000",
            "API_KEY": "k",
            "WHISPER_MODEL_SIZE": "large-v3-turbo",
            "WHISPER_MODEL_ALIAS": "mine",
            "WHISPER_PARALLELISM": "3",
            "WHISPER_ACCELERATION": "cuda",
            "WHISPER_AUTO_DOWNLOAD": "false",
            "WHISPER_CACHE_DIR": "/models",
            "HF_TOKEN": "hf_x",
        },
        {},
    ) == {
        "server": {"host": "0.0.0.0", "port": "9000"},
        "auth": {"api_key": "k"},
        "store": {"auto_download": "false", "directory": "/models", "token": "hf_x"},
        "models": {"mine": {"model": "large-v3-turbo", "workers": "3", "acceleration": "cuda"}},
        "default_model": "mine",
    }
    by_file = legacy_settings({"WHISPER_HF_FILENAME": "ggml-x.bin", "WHISPER_HF_REPO": "a/b"}, {})
    assert by_file["models"]["whisper-1"] == {"repo": "a/b", "file": "ggml-x.bin"}
    by_path = legacy_settings({"WHISPER_MODEL": "/m.bin"}, {})
    assert by_path["models"]["whisper-1"] == {"path": "/m.bin"}


@pytest.mark.parametrize(
    ("text", "variables", "default", "models"),
    [
        ("", {"WHISPER_MODEL_ALIAS": "mine"}, "mine", {"mine": {"model": "small"}}),
        ("", {"WHISPER_PARALLELISM": "2"}, "whisper-1", {"whisper-1": {"model": "small"}}),
        ('default_model = "demo"', {"WHISPER_PARALLELISM": "2"}, "demo", {"demo": {}}),
        (
            'default_model = "a"\n[models.a]\npath = "/a.bin"\n[models.b]\nmodel = "tiny"',
            {"WHISPER_PARALLELISM": "2"},
            "a",
            {"a": {"path": Path("/a.bin"), "workers": "2"}, "b": {"model": "tiny"}},
        ),
        (
            '[models.a]\npath = "/a.bin"',
            {"WHISPER_MODEL_ALIAS": "a"},
            "a",
            {"a": {"path": Path("/a.bin")}},
        ),
    ],
)
def test_the_variables_of_whisper_openai_server_speak_of_the_files_default_alias(
    config, monkeypatch, text, variables, default, models
):
    """Whatever weights the file gives it stay; with none it is `small`."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    loaded = load_settings(config(text))
    assert loaded.default_model == default
    for alias, wanted in models.items():
        found = loaded.models[alias].model_dump(exclude_none=True)
        assert wanted.items() <= found.items()


def test_the_configuration_file_is_found_in_its_order(tmp_path, monkeypatch):
    """Flag, variable, ./config/router.toml."""
    monkeypatch.chdir(tmp_path)
    assert find_config(None, {}) in {None, Path("/etc/whisper-router/router.toml")}
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "router.toml").touch()
    assert find_config(None, {}) == Path("config/router.toml")
    assert find_config(None, {"WHISPER_ROUTER_CONFIG": "/x"}) == Path("/x")
    assert find_config(Path("/y"), {"WHISPER_ROUTER_CONFIG": "/x"}) == Path("/y")
