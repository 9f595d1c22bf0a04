"""Dashboards, alerts and Prometheus' configuration: every metric and label that they name exists."""

import json
import re
import shutil
import subprocess

import promql_parser
import pytest

from conftest import DEPLOY, ROOT, load

ALERTS = [rule for group in load(DEPLOY / "prometheus/alerts.yaml")["groups"] for rule in group["rules"]]
DASHBOARDS = {path.stem: json.loads(path.read_text()) for path in sorted((DEPLOY / "grafana/dashboards").glob("*.json"))}
CONFIG = load(DEPLOY / "prometheus/prometheus.yaml")

# What Prometheus itself adds, and what RabbitMQ shows at /metrics/detailed for the families that prometheus.yaml asks for
# (looked at with RabbitMQ 3.10.8).
SCRAPED = {"job", "instance"}
FOREIGN = {
    "up": set(),
    "rabbitmq_detailed_queue_messages_ready": {"vhost", "queue"},
    "rabbitmq_detailed_queue_consumers": {"vhost", "queue"},
}
# Made by label_replace.
MADE_LABELS = {"MillraceLaneWithoutConsumer": {"lane"}}


def documented() -> dict[str, dict[str, set[str] | None]]:
    """Name, and labels with their values where these are fixed, of every series that common/METRICS.md lists."""
    series = {}
    for name, kind, labels in re.findall(r"^\| `(millrace_\w+)` \| ([^|]*) \| ([^|]*) \|", (ROOT / "common/METRICS.md").read_text(), re.M):
        known = {}
        for part in filter(None, (part.strip() for part in labels.split(";"))):
            label, values = re.fullmatch(r"`(\w+)`: (.*)", part).groups()
            fixed = re.fullmatch(r"(?:`[^`]+`(?:, )?)+", values)
            known[label] = set(re.findall(r"`([^`]+)`", values)) if fixed else None
        if kind.startswith("histogram"):
            series[f"{name}_bucket"] = known | {"le": None}
            series[f"{name}_sum"] = series[f"{name}_count"] = known
        else:
            series[name] = known
    return series


METRICS = documented()


def expressions() -> list[tuple[str, str]]:
    found = [(f"alert {rule['alert']}", rule["expr"]) for rule in ALERTS]
    for name, dashboard in DASHBOARDS.items():
        for panel in dashboard["panels"]:
            for target in panel.get("targets", []):
                # What Grafana puts in.
                text = target["expr"].replace("$__rate_interval", "5m").replace("$tenant", ".*")
                assert "$" not in text, f"{name}, {panel['title']}: an unknown variable"
                found.append((f"{name}, {panel['title']}", text))
    return found


def parts(text: str) -> list:
    nodes = []
    promql_parser.walk(promql_parser.parse(text), lambda node: nodes.append(node) or True)
    return nodes


def test_the_list_of_metrics_can_be_read():
    assert len(METRICS) > 60
    assert METRICS["millrace_reaper_rounds_total"] == {"outcome": {"well", "failed"}}
    assert "le" in METRICS["millrace_commit_seconds_bucket"] and "millrace_commit_seconds" not in METRICS


@pytest.mark.parametrize(("place", "text"), expressions(), ids=lambda value: value if "millrace_" not in value else "")
def test_metrics_and_labels_exist(place, text):
    nodes = parts(text)
    selectors = [node for node in nodes if isinstance(node, promql_parser.VectorSelector)]
    assert selectors, "no metric at all"
    labels = set(SCRAPED) | MADE_LABELS.get(place.removeprefix("alert "), set())
    for selector in selectors:
        known = METRICS.get(selector.name)
        if known is None:
            assert selector.name in FOREIGN, f"{selector.name} is not in common/METRICS.md"
            known = dict.fromkeys(FOREIGN[selector.name])
        labels |= set(known)
        for matcher in selector.matchers.matchers:
            assert matcher.name in set(known) | SCRAPED, f"{selector.name} has no label {matcher.name}"
            values = known.get(matcher.name)
            if values and matcher.op == promql_parser.MatchOp.Equal:
                assert matcher.value in values, f"{selector.name} has no {matcher.name} {matcher.value}"
            if values and matcher.op == promql_parser.MatchOp.Re and re.fullmatch(r"[\w|]+", matcher.value):
                assert set(matcher.value.split("|")) <= values, f"{selector.name}: {matcher.value}"
    for node in nodes:
        if isinstance(node, promql_parser.AggregateExpr) and node.modifier is not None:
            assert set(node.modifier.labels) <= labels, f"{set(node.modifier.labels) - labels} are no labels here"


def test_counters_are_read_by_what_they_grow():
    for place, text in expressions():
        nodes = parts(text)
        ranged = {node.vector_selector.name for node in nodes if isinstance(node, promql_parser.MatrixSelector)}
        absent = set(re.findall(r"absent\((\w+)\)", text))
        for node in nodes:
            if isinstance(node, promql_parser.VectorSelector) and re.search(r"_(total|sum|count|bucket)$", node.name):
                assert node.name in ranged | absent, f"{place}: {node.name} is a counter"


def test_what_is_read_of_the_whole_installation_is_not_added_over_replicas():
    page = (ROOT / "common/METRICS.md").read_text()
    whole = set(re.findall(r"^\| `(millrace_\w+)`", page[page.index("## The whole installation"):], re.M))
    for place, text in expressions():
        for name in whole & set(re.findall(r"millrace_\w+", text)):
            reduced = rf"(max|topk|count)[^()]*(by \([^)]*\) )?\((\d+, max by \([^)]*\) \()?{name}"
            compared = rf"{name}(\{{[^}}]*\}})? == 1"
            assert re.search(reduced, text) or re.search(compared, text), f"{place}: every replica shows {name}"


def test_alerts_say_what_is_wrong():
    names = [rule["alert"] for rule in ALERTS]
    assert len(set(names)) == len(names)
    for rule in ALERTS:
        assert rule["labels"]["severity"] in ("page", "warning")
        assert rule["annotations"]["summary"]
        for label in re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]):
            kept = {name for node in parts(rule["expr"]) if isinstance(node, promql_parser.AggregateExpr) and node.modifier for name in node.modifier.labels}
            assert label in kept | SCRAPED | FOREIGN["rabbitmq_detailed_queue_consumers"], f"{rule['alert']}: {label}"


@pytest.mark.parametrize("arguments", [["check", "rules", "alerts.yaml"], ["test", "rules", "alerts_test.yaml"], ["check", "config", "--syntax-only", "prometheus.yaml"]], ids=" ".join)
def test_prometheus_s_own_tool_agrees(arguments):
    tool = shutil.which("promtool")
    if tool is None:
        pytest.skip("promtool is not installed")
    done = subprocess.run([tool, *arguments], cwd=DEPLOY / "prometheus", capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_asks_the_services_of_compose(defaults):
    services = load(DEPLOY / "compose.yaml")["services"]
    jobs = {job["job_name"]: job for job in CONFIG["scrape_configs"]}
    port = {"api": defaults["http"]["listen"].rsplit(":", 1)[1], "worker": defaults["worker"]["listen"].rsplit(":", 1)[1]}
    port["broker"] = re.search(r"^prometheus.tcp.port = (\d+)$", (DEPLOY / "rabbitmq/rabbitmq.conf").read_text(), re.M).group(1)
    targets = {target for job in jobs.values() for item in job.get("static_configs", []) for target in item["targets"]}
    targets |= {f"{name}:{item['port']}" for job in jobs.values() for item in job.get("dns_sd_configs", []) for name in item["names"]}
    assert targets == {f"{name}:{number}" for name, number in port.items()}
    reachable = set(services["prometheus"]["networks"])
    for name in port:
        assert reachable & set(services[name]["networks"]), f"Prometheus cannot reach {name}"
    for name in ("millrace-api", "millrace-worker"):
        secret = jobs[name]["authorization"]["credentials_file"].removeprefix("/run/secrets/")
        assert secret in services["prometheus"]["secrets"]
    families = jobs["rabbitmq-queues"]["params"]["family"]
    assert families == ["queue_coarse_metrics", "queue_consumer_count"]


def test_grafana_finds_its_dashboards_and_its_data():
    services = load(DEPLOY / "compose.yaml")["services"]
    mounts = dict(volume.split(":")[:2] for volume in services["grafana"]["volumes"])
    (provider,) = load(DEPLOY / "grafana/provisioning/dashboards/millrace.yaml")["providers"]
    assert mounts["./grafana/dashboards"] == provider["options"]["path"]
    assert mounts["./grafana/provisioning"] == "/etc/grafana/provisioning"
    (source,) = load(DEPLOY / "grafana/provisioning/datasources/prometheus.yaml")["datasources"]
    assert source["url"] == "http://prometheus:9090" and "prometheus" in services


@pytest.mark.parametrize("name", DASHBOARDS)
def test_a_dashboard_is_well_formed(name):
    dashboard = DASHBOARDS[name]
    assert dashboard["uid"] == f"millrace-{name}"
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)
    taken = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert not cells & taken, f"{panel['title']} lies on another panel"
        assert max(x for x, _ in cells) < 24
        taken |= cells
        if panel["type"] != "row":
            assert panel["datasource"]["uid"] == "${datasource}", panel["title"]
            assert panel["targets"], panel["title"]
    linked = {link["url"].removeprefix("/d/") for link in dashboard["links"]}
    assert linked <= {other["uid"] for other in DASHBOARDS.values()}


def test_every_metric_of_operation_is_on_a_dashboard():
    shown = {re.sub(r"_(bucket|sum|count)$", "", name) for _, text in expressions() for name in re.findall(r"millrace_\w+", text)}
    listed = set(re.findall(r"^\| `(millrace_\w+)`", (ROOT / "common/METRICS.md").read_text(), re.M))
    assert listed <= shown, f"on no dashboard and in no alert: {sorted(listed - shown)}"
