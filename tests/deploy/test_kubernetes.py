"""deploy/kubernetes: the overlays as kustomize builds them, against the schemas, and against what they must agree with."""

import base64
import ipaddress
import math
import re
import shutil
import subprocess

import jsonschema
import kubernetes_validate
import pytest
import yaml
from cloudcoil.models.keda import v1alpha1 as keda

from conftest import DEPLOY, GRACE_MARGIN_SECONDS, PROCESS_MB, ROOT, check_variables, in_force, load, megabytes

# The oldest version with all that is used (the pause before SIGTERM), and the newest whose schemas are known.
KUBERNETES = ("1.30", "1.37")
FOLDER = DEPLOY / "kubernetes"
OVERLAYS = sorted(path.name for path in (FOLDER / "overlays").iterdir())
WORKLOADS = ("Deployment", "Job")


def build_command() -> list[str] | None:
    if shutil.which("kustomize"):
        return ["kustomize", "build"]
    if shutil.which("kubectl"):
        return ["kubectl", "kustomize"]
    return None


def build(folder) -> list[dict]:
    command = build_command()
    if command is None:
        pytest.skip("neither kustomize nor kubectl is installed")
    done = subprocess.run([*command, folder], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "deprecated" not in done.stderr, done.stderr
    return list(yaml.safe_load_all(done.stdout))


@pytest.fixture(scope="module", params=OVERLAYS)
def overlay(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def resources(overlay) -> list[dict]:
    return build(FOLDER / "overlays" / overlay)


def of_kind(resources: list[dict], *kinds: str) -> list[dict]:
    return [resource for resource in resources if resource["kind"] in kinds]


def named(resources: list[dict], kind: str, name: str) -> dict:
    return next(resource for resource in of_kind(resources, kind) if resource["metadata"]["name"] == name)


def pod(workload: dict) -> dict:
    return workload["spec"]["template"]["spec"]


def container(workload: dict) -> dict:
    (only,) = pod(workload)["containers"]
    return only


def environment(workload: dict, resources: list[dict]) -> dict[str, str]:
    """What is set by value; secrets are not."""
    variables = {}
    for source in container(workload).get("envFrom", []):
        variables |= named(resources, "ConfigMap", source["configMapRef"]["name"])["data"]
    variables |= {item["name"]: item["value"] for item in container(workload).get("env", []) if "value" in item}
    return variables


def selected(resources: list[dict], selector: dict) -> list[dict]:
    """The workloads whose pods a selector means."""
    def fits(labels: dict) -> bool:
        for key, value in selector.get("matchLabels", {}).items():
            if labels.get(key) != value:
                return False
        for expression in selector.get("matchExpressions", []):
            assert expression["operator"] == "In", "this test reads no other operator"
            if labels.get(expression["key"]) not in expression["values"]:
                return False
        return True
    return [workload for workload in of_kind(resources, *WORKLOADS) if fits(workload["spec"]["template"]["metadata"]["labels"])]


@pytest.mark.parametrize("version", KUBERNETES)
def test_every_resource_fits_its_schema(resources, version):
    for resource in resources:
        if "." not in resource["apiVersion"].split("/")[0] or resource["apiVersion"].split("/")[0].endswith(".k8s.io"):
            kubernetes_validate.validate(resource, version, strict=True)


def keda_schema(kind: str) -> dict:
    """The schema of a resource of KEDA, made from models that are generated from its definition; unknown fields are refused."""
    schema = getattr(keda, kind).model_json_schema(by_alias=True)
    for part in [schema, *schema["$defs"].values()]:
        if part.get("type") == "object" and "properties" in part:
            part.setdefault("additionalProperties", False)
    return schema


def test_keda_s_resources_fit_their_schemas(overlay, resources):
    kinds = {resource["kind"]: resource for resource in resources if resource["apiVersion"] == "keda.sh/v1alpha1"}
    assert set(kinds) == ({"ScaledObject", "TriggerAuthentication"} if overlay == "production" else set())
    for kind, resource in kinds.items():
        jsonschema.validate(resource, keda_schema(kind))
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(resource | {"spec": resource["spec"] | {"trigers": []}}, keda_schema(kind))


def test_workers_are_scaled_by_their_slots(overlay, resources, defaults):
    if overlay != "production":
        assert named(resources, "Deployment", "millrace-worker")["spec"]["replicas"] > 0
        return
    scaled = named(resources, "ScaledObject", "millrace-worker")
    worker = named(resources, "Deployment", scaled["spec"]["scaleTargetRef"]["name"])
    assert "replicas" not in worker["spec"], "KEDA says how many there are"
    # The reaper is in the workers: there is always one.
    assert 1 <= scaled["spec"]["minReplicaCount"] <= scaled["spec"]["fallback"]["replicas"] <= scaled["spec"]["maxReplicaCount"]
    (trigger,) = scaled["spec"]["triggers"]
    slots = in_force(environment(worker, resources), defaults, "MILLRACE_WORKER__SLOTS")
    assert float(trigger["metadata"]["targetQueryValue"]) == slots
    authentication = named(resources, "TriggerAuthentication", trigger["authenticationRef"]["name"])
    (reference,) = authentication["spec"]["secretTargetRef"]
    assert f"| `{reference['name']}` | `{reference['key']}` |" in (DEPLOY / "README.md").read_text()


def test_the_query_of_the_scaler_names_what_the_schema_has(overlay, resources):
    schema = "\n".join(path.read_text() for path in sorted((ROOT / "migrations").glob("*.sql")))
    for scaled in of_kind(resources, "ScaledObject"):
        query = scaled["spec"]["triggers"][0]["metadata"]["query"]
        tables = set(re.findall(r"(?:FROM|JOIN) (\w+)", query))
        assert tables == {"tenants", "batches", "batch_sums", "workloads", "job_bundles"}
        granted = re.search(r"GRANT SELECT ON ([\w, ]+) TO scaler;", (DEPLOY / "README.md").read_text()).group(1)
        assert set(granted.split(", ")) == tables, "the role of the scaler may read what its query reads"
        for name in set(re.findall(r"\b[bstwj]\.(\w+)", query)):
            assert re.search(rf"\b{name}\b", schema), f"no column {name}"
        states = set(re.findall(r"'(\w+)'", query)) - {"infinity"}
        model = (ROOT / "common/src/model/batch.rs").read_text()
        for state in states:
            assert re.search(rf"\b{''.join(word.title() for word in state.split('_'))}\b", model), f"no state {state}"


def test_the_database_has_connections_for_all_of_them(overlay, resources, defaults):
    most = {item["metadata"]["name"]: item["spec"].get("replicas") for item in of_kind(resources, "Deployment")}
    for scaled in of_kind(resources, "ScaledObject"):
        most[scaled["spec"]["scaleTargetRef"]["name"]] = scaled["spec"]["maxReplicaCount"]
    each = sum(in_force({}, defaults, f"MILLRACE_DATABASE__{pool}_CONNECTIONS") for pool in ("CONTROL", "DATA"))
    text = (DEPLOY / "postgres/postgresql.conf").read_text()
    # One more of each during a rollout, which is a quarter for workers.
    processes = most["millrace-api"] + 1 + math.ceil(most["millrace-worker"] * 1.25)
    allowed = int(re.search(r"^max_connections = (\d+)$", text, re.M).group(1))
    assert processes * each <= allowed - 3, f"{overlay}: {processes} processes want {processes * each} connections"


def test_the_schemas_bite(resources):
    deployment = named(resources, "Deployment", "millrace-api")
    for change in ({"replicas": "two"}, {"replica": 2}):
        wrong = deployment | {"spec": deployment["spec"] | change}
        with pytest.raises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(wrong, KUBERNETES[-1], strict=True)


def test_all_is_there(resources):
    assert {item["metadata"]["name"] for item in of_kind(resources, "Deployment")} == {"millrace-api", "millrace-worker"}
    assert {item["metadata"]["name"] for item in of_kind(resources, "PodDisruptionBudget")} == {"millrace-api", "millrace-worker"}
    assert len(of_kind(resources, "Job")) == 1
    assert len(of_kind(resources, "NetworkPolicy")) >= 3


def test_everything_is_in_the_overlay_s_namespace(resources):
    (namespace,) = of_kind(resources, "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for resource in resources:
        if resource is not namespace:
            assert resource["metadata"]["namespace"] == namespace["metadata"]["name"]


def test_pods_keep_to_the_restricted_profile(resources):
    for workload in of_kind(resources, *WORKLOADS):
        spec, only = pod(workload), container(workload)
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert only["securityContext"] == {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
        assert not any(spec.get(key) for key in ("hostNetwork", "hostPID", "hostIPC"))
        assert all({"emptyDir", "configMap", "secret"} & set(volume) for volume in spec.get("volumes", []))
        assert spec["automountServiceAccountToken"] is False
        assert {mount["name"] for mount in only["volumeMounts"]} == {volume["name"] for volume in spec["volumes"]}
        assert only["resources"]["requests"] and only["resources"]["limits"]["memory"]


def test_pods_run_as_the_user_of_the_image(resources):
    user, group = re.search(r"^USER (\d+):(\d+)$", (DEPLOY / "Dockerfile").read_text(), re.M).groups()
    for workload in of_kind(resources, *WORKLOADS):
        context = pod(workload)["securityContext"]
        assert (context["runAsUser"], context["runAsGroup"]) == (int(user), int(group))


def test_no_service_is_taken_for_a_setting(resources):
    # Kubernetes would set MILLRACE_API_PORT and the like, and the programs refuse variables that they do not know.
    for workload in of_kind(resources, *WORKLOADS):
        assert pod(workload)["enableServiceLinks"] is False


def test_variables_are_settings(resources, defaults, own_variables):
    for workload in of_kind(resources, *WORKLOADS):
        check_variables(environment(workload, resources), defaults, own_variables)
        secret = {item["name"]: "" for item in container(workload).get("env", []) if "valueFrom" in item}
        check_variables(secret, defaults, own_variables)


def test_all_run_one_image_of_this_version(resources, version):
    images = {container(workload)["image"] for workload in of_kind(resources, *WORKLOADS)}
    assert len(images) == 1
    assert re.fullmatch(rf"(.*/)?millrace:{re.escape(version)}", images.pop())


def test_each_version_has_a_migration_of_its_own(resources, version):
    (job,) = of_kind(resources, "Job")
    assert job["metadata"]["name"] == f"millrace-migrate-{version.replace('.', '-')}"
    assert container(job)["command"] == ["millrace-api", "migrate"]


def served_paths(source: str) -> set[str]:
    return set(re.findall(r'(?:\.route\(\s*|path = )"(/[^"]*)"', (ROOT / source).read_text()))


@pytest.mark.parametrize(("name", "source", "port"), [("millrace-api", "api/src/health.rs", "http.listen"), ("millrace-worker", "worker/src/health.rs", "worker.listen")])
def test_probes_ask_what_is_served(resources, defaults, name, source, port):
    only = container(named(resources, "Deployment", name))
    section, key = port.split(".")
    ports = {item["name"]: item["containerPort"] for item in only["ports"]}
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        asked = only[probe]["httpGet"]
        assert asked["path"] in served_paths(source), probe
        assert ports[asked["port"]] == int(defaults[section][key].rsplit(":", 1)[1])
    # A worker or an API that waits for its buffers is alive: killing it mends nothing.
    assert only["livenessProbe"]["httpGet"]["path"] == "/livez"


def test_services_lead_to_ports_that_exist(resources):
    for service in of_kind(resources, "Service"):
        workloads = selected(resources, {"matchLabels": service["spec"]["selector"]})
        assert len(workloads) == 1
        ports = {item["name"] for item in container(workloads[0])["ports"]}
        assert {item["targetPort"] for item in service["spec"]["ports"]} <= ports


def test_budgets_and_spread_mean_the_pods_beside_them(resources):
    for budget in of_kind(resources, "PodDisruptionBudget"):
        (workload,) = selected(resources, budget["spec"]["selector"])
        assert workload["metadata"]["name"] == budget["metadata"]["name"]
    for deployment in of_kind(resources, "Deployment"):
        for spread in pod(deployment)["topologySpreadConstraints"]:
            assert selected(resources, spread["labelSelector"]) == [deployment]


def test_a_drain_has_its_time(resources, defaults):
    for name, drain in (("millrace-api", "MILLRACE_HTTP__DRAIN_TIMEOUT_MS"), ("millrace-worker", "MILLRACE_WORKER__DRAIN_TIMEOUT_MS")):
        workload = named(resources, "Deployment", name)
        pause = container(workload).get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        needed = pause + in_force(environment(workload, resources), defaults, drain) / 1000 + GRACE_MARGIN_SECONDS
        assert pod(workload)["terminationGracePeriodSeconds"] >= needed, name


def test_memory_is_enough_for_the_fallback_engine(resources, defaults):
    for workload in of_kind(resources, "Deployment"):
        variables = environment(workload, resources)
        children = in_force(variables, defaults, "MILLRACE_FALLBACK__CHILDREN")
        assert children > 0, "one per core of the node is more than the limit was made for"
        needed = PROCESS_MB + children * in_force(variables, defaults, "MILLRACE_FALLBACK__MEMORY_MB")
        assert megabytes(container(workload)["resources"]["limits"]["memory"]) >= needed


def test_a_worker_has_the_processors_of_its_slots(resources, defaults):
    workload = named(resources, "Deployment", "millrace-worker")
    slots = in_force(environment(workload, resources), defaults, "MILLRACE_WORKER__SLOTS")
    assert slots > 0, "without a limit a worker would count the processors of the node"
    assert float(container(workload)["resources"]["requests"]["cpu"]) == slots


def reached(resources: list[dict], workload: dict, direction: str) -> set[int]:
    """The ports that all policies together allow to or from the pods of a workload."""
    ports = set()
    for policy in of_kind(resources, "NetworkPolicy"):
        if workload in selected(resources, policy["spec"]["podSelector"]):
            for rule in policy["spec"].get(direction, []):
                assert rule.get("ports"), "a rule without ports allows all of them"
                ports |= {item["port"] for item in rule["ports"]}
    return ports


def test_only_what_is_needed_passes_the_network_policies(resources):
    everything = next(policy for policy in of_kind(resources, "NetworkPolicy") if policy["metadata"]["name"] == "millrace")
    assert set(everything["spec"]["policyTypes"]) == {"Ingress", "Egress"} and "ingress" not in everything["spec"]
    assert selected(resources, everything["spec"]["podSelector"]) == of_kind(resources, *WORKLOADS)
    api, worker = (named(resources, "Deployment", f"millrace-{name}") for name in ("api", "worker"))
    (job,) = of_kind(resources, "Job")
    assert reached(resources, api, "ingress") == {8080}
    assert reached(resources, worker, "ingress") <= {8081}
    assert reached(resources, job, "ingress") == set()
    assert reached(resources, job, "egress") == {53, 5432}
    assert reached(resources, worker, "egress") == {53, 80, 443, 4318, 5432, 5671, 5672}
    assert reached(resources, api, "egress") == {53, 443, 4318, 5432, 5671, 5672}


def test_webhooks_reach_no_private_address(resources):
    policy = named(resources, "NetworkPolicy", "millrace-webhooks")
    assert selected(resources, policy["spec"]["podSelector"]) == [named(resources, "Deployment", "millrace-worker")]
    (rule,) = policy["spec"]["egress"]
    blocks = [(ipaddress.ip_network(to["ipBlock"]["cidr"]), [ipaddress.ip_network(hole) for hole in to["ipBlock"].get("except", [])])
              for to in rule["to"]]

    def reaches(address: str) -> bool:
        ip = ipaddress.ip_address(address)
        return any(ip in block and not any(ip in hole for hole in holes) for block, holes in blocks)

    for closed in ("10.0.0.1", "100.64.0.1", "127.0.0.1", "169.254.169.254", "172.31.0.1", "192.168.1.1", "::1", "fe80::1", "fd00::1", "::ffff:10.0.0.1"):
        assert not reaches(closed), closed
    assert reaches("1.1.1.1") and reaches("2606:4700::1111")


def test_the_example_s_key_of_webhooks_is_one(resources, overlay):
    if overlay == "small":
        (secret,) = [item for item in of_kind(resources, "Secret") if item["metadata"]["name"].startswith("millrace-webhooks")]
        assert len(base64.b64decode(base64.b64decode(secret["data"]["secret-key"]))) == 32


def test_secrets_are_made_in_the_example_only(overlay, resources):
    made = {secret["metadata"]["name"] for secret in of_kind(resources, "Secret")}
    wanted = {item["valueFrom"]["secretKeyRef"]["name"] for workload in of_kind(resources, *WORKLOADS)
              for item in container(workload).get("env", []) if "valueFrom" in item}
    if overlay == "small":
        assert wanted <= made
    else:
        assert not made
        for name in wanted:
            assert f"`{name}`" in (DEPLOY / "README.md").read_text(), f"who makes the Secret {name}?"


def test_the_base_has_no_secret():
    base = load(FOLDER / "base/kustomization.yaml")
    assert "secretGenerator" not in base
    for name in base["resources"]:
        for resource in yaml.safe_load_all((FOLDER / "base" / name).read_text()):
            assert resource["kind"] != "Secret"


def test_example_addresses_name_the_default_virtual_host():
    generated = load(FOLDER / "overlays/small/kustomization.yaml")["secretGenerator"]
    urls = dict(literal.split("=", 1) for item in generated for literal in item["literals"] if item["name"] == "millrace-broker")
    assert urls["url"].endswith(":5672/%2f"), "without %2f the virtual host is the one with an empty name"
