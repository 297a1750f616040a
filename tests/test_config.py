"""Settings: one name everywhere, who wins, and what is said when something is wrong."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st

from konnect_server.config import (
    Config,
    ConfigError,
    example_toml,
    groups,
    keys,
    load_config,
    load_with_sources,
    shown,
)

SAMPLES: dict[str, tuple[Any, str]] = {  # key -> a value that is not the default, and its text in the environment
    "host": ("::1", "::1"),
    "port": (9000, "9000"),
    "public_url": ("https://chat.example.com", "https://chat.example.com"),
    "trusted_proxies": (("10.0.0.0/8", "::1"), "10.0.0.0/8, ::1"),
    "allowed_origins": (("https://a.example.com", "http://b:3000"), "https://a.example.com, http://b:3000"),
    "accept_backlog": (10, "10"),
    "data": ("elsewhere", "elsewhere"),
    "database_url": ("postgresql://a@b/c", "postgresql://a@b/c"),
    "database_url_file": ("", ""),  # reads a file: below
    "query_timeout_s": (2.5, "2.5"),
    "read_connections": (9, "9"),
    "log_writers": (3, "3"),
    "unsafe_no_fsync": (True, "true"),
    "keys": ("keys-here", "keys-here"),
    "access_s": (60, "60"),
    "refresh_idle_days": (7, "7"),
    "password_hashes": (1, "1"),
    "sign_ins_per_s": (2.0, "2"),
    "sign_ins_burst": (3, "3"),
    "codes_per_s": (1.5, "1.5"),
    "codes_burst": (4, "4"),
    "codes_per_hour": (5, "5"),
    "mail_driver": ("smtp", "smtp"),
    "mail_from": ("Chat <chat@example.com>", "Chat <chat@example.com>"),
    "smtp_host": ("mail.example.com", "mail.example.com"),
    "smtp_port": (465, "465"),
    "smtp_tls": ("tls", "tls"),
    "smtp_ca": ("/etc/ca.pem", "/etc/ca.pem"),
    "smtp_user": ("konnect", "konnect"),
    "smtp_password": ("hush", "hush"),
    "smtp_password_file": ("", ""),  # reads a file, as above
    "brevo_key": ("xkeysib-1", "xkeysib-1"),
    "brevo_key_file": ("", ""),
    "brevo_endpoint": ("http://127.0.0.1:9098", "http://127.0.0.1:9098"),
    "media": ("pictures", "pictures"),
    "cdn_base": ("https://cdn.example.com/photos", "https://cdn.example.com/photos"),
    "s3_bucket": ("konnect-media", "konnect-media"),
    "s3_endpoint": ("http://127.0.0.1:9000", "http://127.0.0.1:9000"),
    "s3_region": ("eu-central-1", "eu-central-1"),
    "s3_access_key": ("konnect", "konnect"),
    "s3_secret_key": ("hush", "hush"),
    "s3_secret_key_file": ("", ""),  # reads a file, as above
    "upload_url_s": (60, "60"),
    "download_url_s": (10, "10"),
    "upload_pending_s": (8000, "8000"),
    "upload_unused_s": (4000, "4000"),
    "leaving_days": (3, "3"),
    "erased_texts": ("keep", "keep"),
    "export_days": (2, "2"),
    "photo_bytes": (2048, "2048"),
    "voice_bytes": (2049, "2049"),
    "video_bytes": (2050, "2050"),
    "file_bytes": (2051, "2051"),
    "media_quota_bytes": (0, "0"),
    "frame_bytes": (2048, "2048"),
    "outbox_bytes": (700_000, "700000"),
    "messages_per_s": (1.5, "1.5"),
    "messages_burst": (2, "2"),
    "commands_per_s": (3.0, "3"),
    "commands_burst": (4, "4"),
    "sockets_per_user": (5, "5"),
    "group_members": (6, "6"),
    "room_members": (7, "7"),
    "preset": ("dating", "dating"),
    "may_write": ("contacts", "contacts"),
    "openers_per_day": (8, "8"),
    "opener_release": ("random", "random"),
    "opener_hour": (0, "0"),
    "opener_within_h": (48, "48"),
    "suggest_seed": ("a seed", "a seed"),
    "suggest_training_hour": (-1, "-1"),
    "minimum_age": (21, "21"),
    "reserved_handles": (("konnect.team", "boss"), "konnect.team,boss"),
    "search_languages": (("german", "dutch"), "german,dutch"),
    "search_index": (False, "false"),
    "edit_within_s": (-1, "-1"),
    "retention_s": (5, "5"),
    "contact_requests_a_day": (8, "8"),
    "contact_requests_waiting": (9, "9"),
    "push_driver": ("firebase", "firebase"),
    "firebase_credentials": ("/etc/firebase.json", "/etc/firebase.json"),
    "firebase_endpoint": ("http://127.0.0.1:9099", "http://127.0.0.1:9099"),
    "operator_token": ("0123456789abcdef", "0123456789abcdef"),
    "operator_token_file": ("", ""),
    "hello_timeout_s": (7.0, "7"),
    "ping_interval_s": (8.0, "8"),
    "ping_timeout_s": (9.0, "9"),
    "presence_grace_s": (0.0, "0"),
    "drain_s": (1.0, "1"),
    "log_level": ("debug", "debug"),
    "log_format": ("json", "json"),
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "konnect.toml"


def _toml(values: dict[str, Any]) -> str:
    return "\n".join(f"{name} = {msgspec.json.encode(value).decode()}" for name, value in values.items())


class TestSources:
    def test_every_key_can_be_given_in_each_way(self, file: Path) -> None:
        assert set(SAMPLES) == {key.name for key in keys()}, "a new key wants a sample here"
        for key in keys():
            value, text = SAMPLES[key.name]
            file.write_text(_toml({key.name: value}))
            assert getattr(load_config(path=file), key.name) == value
            assert getattr(load_config(environ={key.variable: text}), key.name) == value
            assert getattr(load_config({key.name: text}), key.name) == value
            assert getattr(load_config({key.name: value}), key.name) == value

    def test_flags_win_over_the_environment_and_that_over_the_file(self, file: Path) -> None:
        file.write_text("port = 1\nhost = 'a'\ndata = 'b'\n")
        loaded = load_with_sources({"port": "3", "host": None}, {"KONNECT_PORT": "2", "KONNECT_HOST": "c"}, file)
        assert (loaded.config.port, loaded.config.host, loaded.config.data) == (3, "c", "b")
        assert loaded.sources["port"] == "--port"
        assert loaded.sources["host"] == "KONNECT_HOST"
        assert loaded.sources["data"] == f"data in {file}"
        assert loaded.sources["log_level"] == "default"

    def test_the_environment_may_name_the_file_and_a_flag_another(self, file: Path, tmp_path: Path) -> None:
        file.write_text("port = 1")
        other = tmp_path / "other.toml"
        other.write_text("port = 2")
        assert load_config(environ={"KONNECT_CONFIG": str(file)}).port == 1
        assert load_config({}, {"KONNECT_CONFIG": str(file)}, other).port == 2

    def test_empty_variables_and_those_of_others_are_passed_over(self) -> None:
        environ = {"KONNECT_PORT": "", "PORT": "1", "PATH": "x", "KONNECT_PASSWORD": "s", "KONNECT_URL": "u"}
        assert load_config(environ=environ) == Config()

    def test_defaults_lead_to_folders(self) -> None:
        config = Config()
        assert config.embedded
        assert config.keys_folder == Path(".konnect/keys")
        assert msgspec.structs.replace(config, data="x").keys_folder == Path("x/keys")
        assert msgspec.structs.replace(config, keys="y").keys_folder == Path("y")
        assert msgspec.structs.replace(config, data="x").media_folder == Path("x/media")
        assert msgspec.structs.replace(config, media="y").media_folder == Path("y")
        assert not msgspec.structs.replace(config, database_url="dbname=x").embedded


class TestSecrets:
    def test_a_secret_may_come_from_a_file(self, tmp_path: Path) -> None:
        secret = tmp_path / "secret"
        secret.write_text("postgresql://konnect:s3cret@db/konnect\n")
        loaded = load_with_sources(environ={"KONNECT_DATABASE_URL_FILE": str(secret)})
        assert loaded.config.database_url == "postgresql://konnect:s3cret@db/konnect"
        assert loaded.sources["database_url"] == f"the file {secret}"
        assert shown(loaded.config, "database_url") == "(hidden)"
        assert shown(Config(), "database_url") == '""'

    def test_each_secret_has_its_file(self, tmp_path: Path) -> None:
        secret = tmp_path / "secret"
        secret.write_text("hush\n")
        loaded = load_with_sources({"s3_secret_key_file": str(secret)})
        assert (loaded.config.s3_secret_key, loaded.sources["s3_secret_key"]) == ("hush", f"the file {secret}")
        assert shown(loaded.config, "s3_secret_key") == "(hidden)"
        with pytest.raises(ConfigError, match="--s3-secret-key and --s3-secret-key-file are both set"):
            load_config({"s3_secret_key_file": str(secret), "s3_secret_key": "x"})

    def test_both_at_once_is_refused(self) -> None:
        environ = {"KONNECT_DATABASE_URL_FILE": "x"}
        with pytest.raises(ConfigError, match="--database-url and KONNECT_DATABASE_URL_FILE are both set"):
            load_config({"database_url": "dbname=x"}, environ)

    def test_a_file_that_is_not_there_is_told(self) -> None:
        with pytest.raises(ConfigError, match="_URL_FILE names no/such/file, which cannot be read: No such"):
            load_config(environ={"KONNECT_DATABASE_URL_FILE": "no/such/file"})

    def test_what_is_in_the_file_must_be_right_too(self, tmp_path: Path) -> None:
        secret = tmp_path / "secret"
        secret.write_text("hunter2")
        with pytest.raises(ConfigError, match=r"the file .*secret is \(hidden\), but must be an address"):
            load_config(environ={"KONNECT_DATABASE_URL_FILE": str(secret)})

    def test_a_wrong_secret_is_not_repeated(self) -> None:
        with pytest.raises(ConfigError) as caught:
            load_config(environ={"KONNECT_DATABASE_URL": "hunter2"})
        assert str(caught.value).startswith("KONNECT_DATABASE_URL is (hidden), but must be an address like postgresql://")


class TestRefusals:
    """Each is one sentence that names the key and its source."""

    @pytest.mark.parametrize(
        ("flags", "environ", "said"),
        [
            ({"port": "x"}, {}, '--port is "x", but must be a whole number from 0 to 65535'),
            ({}, {"KONNECT_PORT": "65536"}, 'KONNECT_PORT is "65536", but must be a whole number from 0 to 65535'),
            ({}, {"KONNECT_PORT": "1.5"}, 'KONNECT_PORT is "1.5", but must be a whole number'),
            ({}, {"KONNECT_DRAIN_S": "nan"}, 'KONNECT_DRAIN_S is "nan", but must be a number from 0 to 300'),
            ({}, {"KONNECT_DRAIN_S": "inf"}, 'KONNECT_DRAIN_S is "inf"'),
            ({}, {"KONNECT_QUERY_TIMEOUT_S": "0"}, "but must be a number above 0 to 600"),
            ({}, {"KONNECT_LOG_LEVEL": "loud"}, 'is "loud", but must be one of debug, info, warning, error'),
            ({}, {"KONNECT_UNSAFE_NO_FSYNC": "maybe"}, 'is "maybe", but must be true or false'),
            ({}, {"KONNECT_TRUSTED_PROXIES": "10.0.0.0/8,proxy"}, "but must be addresses or networks"),
            ({}, {"KONNECT_PUBLIC_URL": "chat.example.com"}, "but must be an address that starts with http"),
            ({}, {"KONNECT_CDN_BASE": "https://cdn.example.com/"}, "and has no slash at its end"),
            ({}, {"KONNECT_S3_ENDPOINT": "s3.example.com"}, "must be an address that starts with http"),
            ({}, {"KONNECT_S3_BUCKET": "My_Bucket"}, 'is "My_Bucket", but must be 3 to 63 lower-case letters'),
            ({"host": ""}, {}, '--host is "", but must be a text that is not empty'),
            ({}, {"KONNECT_PROT": "1"}, "unknown variable KONNECT_PROT: did you mean KONNECT_PORT?"),
            ({}, {"KONNECT_DATABASE__URL": "1"}, "did you mean KONNECT_DATABASE_URL?"),
            ({}, {"KONNECT_XYZZY": "1"}, "unknown variable KONNECT_XYZZY; konnect check-config lists what there is"),
        ],
    )
    def test_flags_and_environment(self, flags: dict[str, str], environ: dict[str, str], said: str) -> None:
        with pytest.raises(ConfigError) as caught:
            load_config(flags, environ)
        assert said in str(caught.value)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("prot = 1", "has the unknown key prot: did you mean port?"),
            ("[server]\nport = 1", "has the unknown key server"),
            ("port = '80'", 'port in {file} is "80", but must be a whole number from 0 to 65535'),
            ("port = true", "port in {file} is true, but must be a whole number"),
            ("port = -1", "port in {file} is -1, but must be"),
            ("unsafe_no_fsync = 1", "but must be true or false"),
            ("trusted_proxies = ['proxy']", "but must be addresses or networks"),
            ("trusted_proxies = [1]", "but must be addresses or networks"),
            ("allowed_origins = ['https://a.example.com/']", "but must be origins such as https://app.example.com"),
            ("allowed_origins = ['a.example.com']", "but must be origins"),
            ("allowed_origins = ['ftp://a.example.com']", "but must be origins"),
            ("port = 2026-11-21", "port in {file} is "),
            ("port = ", "{file} is not TOML"),
            ("port = 1\nport = 2", "{file} is not TOML"),
        ],
    )
    def test_files(self, file: Path, text: str, said: str) -> None:
        file.write_text(text)
        with pytest.raises(ConfigError) as caught:
            load_config(path=file)
        assert said.replace("{file}", str(file)) in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_a_file_that_cannot_be_read(self, file: Path, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="cannot be read: No such file"):
            load_config(path=file)
        with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
            load_config(path=tmp_path)
        file.write_bytes(b"\xff\xfe")
        with pytest.raises(ConfigError, match="is not UTF-8"):
            load_config(path=file)

    @given(environ=st.dictionaries(st.sampled_from([key.variable for key in keys()]), st.text(max_size=20)))
    def test_whatever_is_given_ends_in_a_configuration_or_one_sentence(self, environ: dict[str, str]) -> None:
        with suppress(ConfigError):
            msgspec.convert(msgspec.to_builtins(load_config(environ=environ)), Config)

    @given(text=st.text(max_size=60))
    def test_whatever_is_in_the_file_too(self, tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
        file = tmp_path_factory.mktemp("any") / "any.toml"
        file.write_text(text, "utf-8", errors="surrogatepass")
        with suppress(ConfigError):
            load_config(path=file)


class TestWriteRule:
    def test_a_preset_is_what_nobody_else_said(self) -> None:
        rules = {
            (preset, may_write): load_config({"preset": preset, "may_write": may_write}).write_rule
            for preset in ("open", "dating") for may_write in ("preset", "anyone", "contacts", "matches")
        }  # fmt: skip
        assert rules == {
            (preset, may_write): {"open": "anyone", "dating": "matches"}[preset] if may_write == "preset" else may_write
            for preset, may_write in rules
        }


class TestUse:
    def test_every_key_is_read_somewhere(self) -> None:
        """A setting that nobody reads would be a promise that nobody keeps."""
        here = Path(__file__).parent.parent / "konnect_server"
        code = "".join(path.read_text("utf-8") for path in here.rglob("*.py") if path.name != "config.py")
        by_property = {
            "data": "data_folder", "keys": "keys_folder", "media": "media_folder",
            "database_url_file": "database_url", "s3_secret_key_file": "s3_secret_key",
            "operator_token_file": "operator_token", "smtp_password_file": "smtp_password",
            "brevo_key_file": "brevo_key", "preset": "write_rule", "may_write": "write_rule",
        }  # fmt: skip
        unread = [key.name for key in keys() if f"config.{by_property.get(key.name, key.name)}" not in code]
        assert not unread


class TestDocuments:
    def test_every_key_has_a_meaning_and_a_place(self) -> None:
        placed = [key.name for _, group in groups() for key in group]
        assert placed == [key.name for key in keys()]
        for key in keys():
            assert key.meaning.endswith("."), key.name
            assert key.wanted, key.name

    def test_the_example_with_every_line_taken_in_is_all_defaults(self, file: Path) -> None:
        lines = example_toml().splitlines()
        names = {key.name for key in keys()}
        taken = [line[2:] for line in lines if line.startswith("# ") and line[2:].split(" =")[0] in names]
        assert len(taken) == len(names)
        file.write_text("\n".join(taken))
        assert load_config(path=file) == Config()
        file.write_text(example_toml())
        assert load_config(path=file) == Config()
