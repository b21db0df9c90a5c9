"""What is deployed with, each file held against its own schema or parsed by what reads it."""

import json
import re
import shutil
import subprocess

import kubernetes_validate
import pytest
import servers
import yaml
from commands import run_module
from conftest import PROJECT, inputs
from grafana_foundation_sdk.models.dashboard import Dashboard

from serving import serve_flags
from serving.__main__ import serve
from serving.server import config_files

DEPLOY = PROJECT / "serving" / "deploy"
CONFIG = DEPLOY / "config"
OF_THE_STOCK_SERVER = {  # measured by TensorFlow's own batching, which only C++ can ask
    f":tensorflow:serving:batching:{name}_{part}"
    for name in ("processed_batch_size_v2", "batch_delay_us_v2")
    for part in ("sum", "count")
}


MANIFESTS = sorted(
    path.stem
    for path in (DEPLOY / "kubernetes").glob("*.yaml")
    if path.stem != "prometheus-adapter"  # values of a chart
)


def read(name):
    return yaml.safe_load((DEPLOY / name).read_text())


def queries():
    """Every PromQL expression."""
    panels = json.loads((DEPLOY / "grafana" / "dashboard.json").read_text())["panels"]
    found = [target["expr"] for panel in panels for target in panel["targets"]]
    for rule in read("kubernetes/prometheus-adapter.yaml")["rules"]["custom"]:
        found.append(re.sub("<<.LabelMatchers>>", "", rule["metricsQuery"]))
    for group in read("prometheus/rules.yaml")["groups"]:
        found += [rule["expr"] for rule in group["rules"]]
    return [query.replace("<<.GroupBy>>", "pod") for query in found]


def test_the_configurations_of_the_server_are_read():
    (model,) = config_files.read_models(str(CONFIG / "models.config")).model_config_list.config
    assert model.base_path == f"/models/{model.name}"
    assert config_files.read_batching(str(CONFIG / "batching.config")).max_batch_size.value == 64
    path = config_files.read_monitoring_path(str(CONFIG / "monitoring.config"))
    assert path == config_files.METRICS_PATH
    (scraped,) = read("prometheus/prometheus.yaml")["scrape_configs"]
    assert scraped["metrics_path"] == path


def test_compose_follows_its_schema_and_mounts_what_is_there():
    path = DEPLOY / "docker-compose.yaml"
    checked = run_module("check_jsonschema", "--builtin-schema", "vendor.compose-spec", path)
    assert checked.returncode == 0, checked.stdout
    for service in read("docker-compose.yaml")["services"].values():
        for volume in service["volumes"]:
            source = re.sub(r"\$\{\w+:-(.*?)\}", r"\1", volume).split(":")[0]
            assert "runs/serving" in source or (DEPLOY / source).exists()
    grafana = read("docker-compose.yaml")["services"]["grafana"]["environment"]
    assert "GF_SECURITY_ADMIN_PASSWORD" in grafana and "GF_AUTH_ANONYMOUS_ENABLED" not in grafana


@pytest.mark.parametrize("name", MANIFESTS)
def test_manifests_follow_the_schemas_of_kubernetes(name):
    assert f"kubernetes/{name}.yaml" in read("kustomization.yaml")["resources"]
    version = kubernetes_validate.latest_version()
    kubernetes_validate.validate(read(f"kubernetes/{name}.yaml"), version, strict=True)


def test_pods_have_no_privileges_and_few_neighbours():
    template = read("kubernetes/deployment.yaml")["spec"]["template"]
    pod, (container,) = template["spec"]["securityContext"], template["spec"]["containers"]
    assert pod["runAsNonRoot"] and pod["runAsUser"] > 0
    assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
    assert template["spec"]["automountServiceAccountToken"] is False
    rights = container["securityContext"]
    assert rights["readOnlyRootFilesystem"] and not rights["allowPrivilegeEscalation"]
    assert rights["capabilities"] == {"drop": ["ALL"]}
    assert all(v.get("readOnly") or v["mountPath"] == "/tmp" for v in container["volumeMounts"])
    assert "httpGet" in container["livenessProbe"]
    labels = template["metadata"]["labels"]
    policy = read("kubernetes/network-policy.yaml")["spec"]
    assert policy["podSelector"]["matchLabels"].items() <= labels.items()
    assert policy["policyTypes"] == ["Ingress", "Egress"] and policy["egress"] == []
    ports = {port["port"] for rule in policy["ingress"] for port in rule["ports"]}
    assert ports == {port["name"] for port in container["ports"]}
    budget = read("kubernetes/disruption-budget.yaml")["spec"]
    assert budget["selector"]["matchLabels"].items() <= labels.items()


def test_the_autoscaler_and_the_adapter_mean_the_same_metric():
    (metric,) = read("kubernetes/autoscaler.yaml")["spec"]["metrics"]
    (rule,) = read("kubernetes/prometheus-adapter.yaml")["rules"]["custom"]
    assert metric["pods"]["metric"]["name"] == rule["name"]["as"]
    (generated,) = read("kustomization.yaml")["configMapGenerator"]
    assert all((DEPLOY / file).exists() for file in generated["files"])


def test_the_flags_are_those_of_the_server():
    (container,) = read("kubernetes/deployment.yaml")["spec"]["template"]["spec"]["containers"]
    flags = container["args"] + read("docker-compose.yaml")["services"]["model-server"]["command"]
    known = {name for option in serve.params for name in option.opts}
    assert {flag.split("=")[0] for flag in flags} <= known
    of_the_embedded_server = {f"--{name}" for name in serve_flags.OWN}
    assert of_the_embedded_server <= known
    assert not {flag.split("=")[0] for flag in flags} & of_the_embedded_server


def test_the_address_that_is_open_to_others_is_named():
    for service in read("docker-compose.yaml")["services"].values():
        assert all(
            port.startswith("${LISTEN_ADDRESS:-127.0.0.1}:") for port in service.get("ports", ())
        )


def test_prometheus_reads_its_configuration_and_every_query(tmp_path):
    if not shutil.which("promtool"):
        pytest.skip("promtool is not installed; Debian has it with prometheus")
    queried = [
        {"record": f"query_{number}", "expr": query.replace("$__rate_interval", "1m")}
        for number, query in enumerate(queries())
    ]
    rules = tmp_path / "rules.yaml"
    rules.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": queried}]}))
    for command in (["config", DEPLOY / "prometheus" / "prometheus.yaml"], ["rules", rules]):
        checked = subprocess.run(["promtool", "check", *command], capture_output=True, text=True)
        assert checked.returncode == 0, checked.stderr


@pytest.mark.slow
def test_the_dashboard_shows_what_the_server_measures(server):
    dashboard = Dashboard.from_json(json.loads((DEPLOY / "grafana/dashboard.json").read_text()))
    assert len({panel.title for panel in dashboard.panels}) == len(dashboard.panels) > 0
    servers.predict(server.channel, "generate", inputs(["a"]))
    page = servers.page(server, config_files.METRICS_PATH)
    asked = {name for query in queries() for name in re.findall(r":tensorflow:[\w:]+", query)}
    shown = set(re.findall(r"^(:tensorflow:[\w:]+)[{ ]", page, re.M))
    assert asked - shown <= OF_THE_STOCK_SERVER and ":tensorflow:serving:request_count" in shown
