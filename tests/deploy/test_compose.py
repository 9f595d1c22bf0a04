"""deploy/compose.yaml against its schema, and against what it must agree with."""

import base64
import pathlib
import re
import stat
import subprocess
import sys
import tomllib

import pytest

from conftest import DEPLOY, GRACE_MARGIN_SECONDS, PROCESS_MB, ROOT, check_variables, in_force, load, megabytes, seconds, setting

TOOLS = pathlib.Path(sys.executable).parent
COMPOSE = load(DEPLOY / "compose.yaml")
SERVICES = COMPOSE["services"]
MILLRACE = [name for name, service in SERVICES.items() if service["image"].startswith("millrace:")]


@pytest.fixture(scope="module")
def secrets(tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("secrets")
    subprocess.run([DEPLOY / "compose-secrets", folder], check=True, capture_output=True)
    return folder


def test_it_fits_the_schema_of_the_compose_specification():
    done = subprocess.run([TOOLS / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", DEPLOY / "compose.yaml"],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_has_every_part():
    assert set(SERVICES) == {"database", "broker", "migrate", "api", "worker", "prometheus", "grafana", "millrace"}


def test_millrace_s_services_share_one_image(image):
    assert {SERVICES[name]["image"] for name in MILLRACE} == {image}
    for name in MILLRACE:
        build = SERVICES[name]["build"]
        context = (DEPLOY / build["context"]).resolve()
        assert (context / build["dockerfile"]).is_file()


def test_other_images_are_pinned_to_exact_versions():
    for name, service in SERVICES.items():
        assert re.search(r":v?\d+\.\d+(\.\d+)?", service["image"]), f"{name}: {service['image']}"


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_no_more_rights_than_it_needs(name):
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert not service.get("privileged")
    limits = service["deploy"]["resources"]["limits"]
    assert float(limits["cpus"]) > 0 and megabytes(limits["memory"]) > 0


def test_ports_are_on_loopback():
    for name, service in SERVICES.items():
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), f"{name}: {port}"


def test_ports_are_those_that_the_programs_listen_on(defaults):
    assert SERVICES["api"]["ports"][0].rsplit(":", 1)[1] == defaults["http"]["listen"].rsplit(":", 1)[1]
    broker = (DEPLOY / "rabbitmq/rabbitmq.conf").read_text()
    assert f"management.tcp.port = {SERVICES['broker']['ports'][0].rsplit(':', 1)[1]}\n" in broker


@pytest.mark.parametrize("name", MILLRACE)
def test_variables_are_settings(name, defaults, own_variables):
    check_variables(SERVICES[name]["environment"], defaults, own_variables)


def test_nobody_waits_for_what_is_not_there():
    for name, service in SERVICES.items():
        for other, how in service.get("depends_on", {}).items():
            match how["condition"]:
                case "service_healthy":
                    assert "healthcheck" in SERVICES[other], f"{name} waits for {other}, which has no health check"
                case "service_completed_successfully":
                    assert SERVICES[other]["restart"] == "no", f"{name} waits for the end of {other}, which is started again"
                case condition:
                    pytest.fail(f"{name} waits for {other}: {condition} says nothing of its state")


@pytest.mark.parametrize(("name", "section"), [("api", "http"), ("worker", "worker")])
def test_a_health_check_asks_where_the_program_listens(name, section, defaults):
    command = SERVICES[name]["healthcheck"]["test"]
    assert command[:2] == ["CMD", "millrace"] and command[-1] == "health", "the image has no shell, and no other program"
    source = (ROOT / "api/cli/src/health.rs").read_text()
    asked = command[command.index("--url") + 1] if "--url" in command else re.search(r'DEFAULT_URL: &str = "([^"]+)"', source).group(1)
    assert asked == "http://127.0.0.1:" + defaults[section]["listen"].rsplit(":", 1)[1]
    patience = int(re.search(r"DEADLINE: Duration = Duration::from_secs\((\d+)\)", source).group(1))
    assert seconds(SERVICES[name]["healthcheck"]["timeout"]) > patience


def test_nothing_of_millrace_starts_before_the_schema_is_there():
    for name in set(MILLRACE) - {"migrate"}:
        assert SERVICES[name]["depends_on"]["migrate"]["condition"] == "service_completed_successfully"


@pytest.mark.parametrize(("name", "drain"), [("api", "MILLRACE_HTTP__DRAIN_TIMEOUT_MS"), ("worker", "MILLRACE_WORKER__DRAIN_TIMEOUT_MS")])
def test_a_drain_has_its_time(name, drain, defaults):
    service = SERVICES[name]
    needed = in_force(service["environment"], defaults, drain) / 1000 + GRACE_MARGIN_SECONDS
    assert seconds(service["stop_grace_period"]) >= needed


@pytest.mark.parametrize("name", ["api", "worker"])
def test_memory_is_enough_for_the_fallback_engine(name, defaults):
    environment = SERVICES[name]["environment"]
    children = in_force(environment, defaults, "MILLRACE_FALLBACK__CHILDREN")
    assert children > 0, "one per core is more than the limit was made for"
    needed = PROCESS_MB + children * in_force(environment, defaults, "MILLRACE_FALLBACK__MEMORY_MB")
    assert megabytes(SERVICES[name]["deploy"]["resources"]["limits"]["memory"]) >= needed


def test_secrets_are_files_that_are_made_before_the_start(secrets):
    for name, secret in COMPOSE["secrets"].items():
        path = pathlib.PurePath(secret["file"])
        assert path.parent.as_posix() == "../.millrace/compose"
        assert (secrets / path.name).read_text().strip(), name
    used = {item["source"] if isinstance(item, dict) else item for service in SERVICES.values() for item in service.get("secrets", [])}
    assert used == set(COMPOSE["secrets"])
    assert subprocess.run(["git", "check-ignore", "-q", ".millrace/compose/millrace.toml"], cwd=ROOT).returncode == 0


def test_no_secret_is_written_into_the_file(secrets):
    text = (DEPLOY / "compose.yaml").read_text()
    for name, service in SERVICES.items():
        for variable, value in service.get("environment", {}).items():
            if re.search(r"PASSWORD|TOKEN|SECRET_KEY|__URL", variable):
                assert value.startswith("/run/secrets/"), f"{name}: {variable}"
    for path in secrets.iterdir():
        assert path.read_text().strip() not in text


def test_passwords_are_made_once_and_for_their_owner(secrets):
    before = {path.name: path.read_text() for path in secrets.iterdir()}
    subprocess.run([DEPLOY / "compose-secrets", secrets], check=True, capture_output=True)
    assert {path.name: path.read_text() for path in secrets.iterdir()} == before
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o700
    passwords = [text for name, text in before.items() if name.endswith("-password")]
    assert len(set(passwords)) == len(passwords) and all(re.fullmatch(r"[0-9a-f]{48}\n", text) for text in passwords)


def test_the_secret_settings_lead_to_the_services(secrets, defaults):
    settings = tomllib.loads((secrets / "millrace.toml").read_text())
    for section, keys in settings.items():
        for key in keys:
            setting(f"MILLRACE_{section}__{key}".upper(), defaults)
    database = re.fullmatch(r"postgres://(\w+):(\w+)@(\w+):5432/(\w+)", settings["database"]["url"]).groups()
    environment = SERVICES["database"]["environment"]
    assert database == (environment["POSTGRES_USER"], (secrets / "database-password").read_text().strip(), "database", environment["POSTGRES_DB"])
    user, password, host = re.fullmatch(r"amqp://(\w+):(\w+)@(\w+):5672/%2f", settings["broker"]["url"]).groups()
    assert host == "broker"
    assert settings["telemetry"]["metrics_token"] == (secrets / "metrics-token").read_text().strip()
    assert (secrets / "broker-user.conf").read_text() == f"default_user = {user}\ndefault_pass = {password}\n"


def test_only_workers_reach_out_and_webhooks_have_a_key(secrets):
    assert COMPOSE["networks"]["buffers"] == {"internal": True}
    assert [name for name, service in SERVICES.items() if "receivers" in service["networks"]] == ["worker"]
    key = tomllib.loads((secrets / "millrace.toml").read_text())["webhooks"]["secret_key"]
    assert len(base64.b64decode(key)) == 32


def test_files_that_are_mounted_exist():
    for name, service in SERVICES.items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source in COMPOSE["volumes"] or (DEPLOY / source).exists(), f"{name}: {volume}"


def rabbitmq_setting(name: str) -> int:
    text = (DEPLOY / "rabbitmq/rabbitmq.conf").read_text()
    return int(re.search(rf"^{re.escape(name)} = (\d+)$", text, re.M).group(1))


def test_the_broker_takes_every_chunk_and_gives_it_its_time(defaults):
    assert rabbitmq_setting("max_message_size") > defaults["limits"]["chunk_bytes"] * 1.1
    # Five minutes for what waits in the prefetch.
    assert rabbitmq_setting("consumer_timeout") >= defaults["worker"]["chunk_timeout_ms"] + 300_000


def test_the_database_has_connections_for_twelve_processes(defaults):
    text = (DEPLOY / "postgres/postgresql.conf").read_text()
    connections = int(re.search(r"^max_connections = (\d+)$", text, re.M).group(1))
    each = defaults["database"]["control_connections"] + defaults["database"]["data_connections"]
    assert connections >= 12 * each
    for dangerous in ("fsync", "full_page_writes", "synchronous_commit"):
        assert not re.search(rf"^{dangerous}\b", text, re.M), f"{dangerous} stays as it is"
    for silent in ("log_parameter_max_length", "log_parameter_max_length_on_error"):
        assert re.search(rf"^{silent} = 0$", text, re.M), f"{silent}: record values must not reach the log"
