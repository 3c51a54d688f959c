"""deploy/: alerts and dashboard speak of metrics that exist, and whatever stops a role leaves it the time to drain."""

import json
import re
import subprocess
from pathlib import Path

import pytest
from support import metric_names
from support.documents import ROOT, Document
from support.programs import path_of

from app.settings import AppSettings

DEPLOY = ROOT / "deploy"
# How long all may take after TERM.
DRAIN_SECONDS = AppSettings.shutdown_grace_seconds + 3


def text_of(name: str) -> str:
    return (DEPLOY / name).read_text(encoding="utf-8")


ALERTS = [f"alert: {part}" for part in text_of("alerts.yml").split("- alert: ")[1:]]
DASHBOARD = json.loads(text_of("grafana/windlass.json"))
EXPRESSIONS = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", [])]


def expression_of(alert: str) -> str:
    # A scalar on the line of its key, or a block below it.
    found = re.search(r"expr: (?:\|\n((?: {10,}.*\n)+)|(.*)\n)", alert)
    assert found is not None, alert
    return found[1] or found[2]


def promtool(*arguments: object) -> None:
    tool = path_of("needs_prometheus").with_name("promtool")
    answer = subprocess.run([tool, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=60)
    assert answer.returncode == 0, answer.stdout + answer.stderr


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.split()[1])
def test_an_alert_leads_to_its_place_in_the_runbook(alert: str) -> None:
    file, _, anchor = re.findall(r"runbook: (\S+)", alert)[0].partition("#")
    assert anchor in Document(file).anchors()
    assert re.search(r"severity: (page|ticket)", alert)
    assert "summary: " in alert


@pytest.mark.parametrize(
    "expression", [*map(expression_of, ALERTS), *EXPRESSIONS], ids=lambda expression: expression[:60]
)
def test_alerts_and_panels_ask_for_metrics_that_exist(expression: str) -> None:
    asked = metric_names.of_an_expression(expression)
    assert asked or "up{" in expression
    assert asked <= metric_names.of_the_code()


@pytest.mark.needs_prometheus
def test_prometheus_accepts_its_configuration() -> None:
    promtool("check", "config", DEPLOY / "prometheus.yml")


@pytest.mark.needs_prometheus
def test_each_alert_fires_on_a_bad_day_and_none_on_a_quiet_one() -> None:
    promtool("test", "rules", ROOT / "tests/contract/alerts.yml")
    tested = (ROOT / "tests/contract/alerts.yml").read_text(encoding="utf-8")
    assert {alert.split()[1] for alert in ALERTS} == set(re.findall(r"alertname: (\w+)", tested))


@pytest.mark.needs_prometheus
def test_the_dashboards_queries_are_queries(tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:{number}", "expr": expression.replace("$__rate_interval", "5m")}
        for number, expression in enumerate(EXPRESSIONS)
    ]
    file = tmp_path / "rules.yml"
    # JSON is YAML.
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    promtool("check", "rules", file)


def test_prometheus_scrapes_the_ports_that_the_image_opens() -> None:
    scraped = re.findall(r"names: \[(\w+)\], type: A, port: (\d+)", text_of("prometheus.yml"))
    image = text_of("Dockerfile")
    assert dict(scraped) == {
        "web": re.findall(r"PORT=(\d+)", image)[0],
        "worker": re.findall(r"WORKER_METRICS_BIND_ADDR=0\.0\.0\.0:(\d+)", image)[0],
    }
    assert sorted(re.findall(r"EXPOSE (.+)", image)[0].split()) == sorted(port for _, port in scraped)


def test_the_image_runs_as_nobody_special_and_holds_no_secret() -> None:
    image = text_of("Dockerfile")
    assert re.findall(r"^USER (\d+):(\d+)$", image, re.MULTILINE) == [("10001", "10001")]
    assert not re.findall(r"(?:ENV|ARG) .*(?:TOKEN|SECRET|PASSWORD|DATABASE_URL)", image)


def test_compose_starts_what_it_should_after_what_it_needs() -> None:
    compose = text_of("compose.yaml")
    services = compose.split("\nservices:\n")[1].split("\nvolumes:\n")[0]
    assert re.findall(r"^  (\w+):$", services, re.MULTILINE) == [
        "postgres",
        "migrate",
        "web",
        "worker",
        "prometheus",
        "grafana",
    ]
    assert compose.count("migrate: {condition: service_completed_successfully}") == 2
    assert compose.count("postgres: {condition: service_healthy}") == 1


def test_compose_publishes_on_loopback_only_and_holds_no_secret() -> None:
    compose = text_of("compose.yaml")
    published = re.findall(r'^ {6}- "(.*:\d+)"$', compose, re.MULTILINE)
    assert len(published) == 3
    assert all(port.startswith("127.0.0.1:") for port in published)
    assert re.findall(r"(?:TOKEN|SECRET|PASSWORD): (.*)", compose) == ["${POSTGRES_PASSWORD:-}"] * 2


@pytest.mark.parametrize("role", ["web", "worker"])
def test_a_unit_starts_its_role_and_leaves_it_the_time_to_drain(role: str) -> None:
    unit = text_of(f"systemd/windlass-{role}.service")
    settings = dict(re.findall(r"^(\w+)=(.*)$", unit, re.MULTILINE))
    assert settings["ExecStart"].endswith(f"/windlass {role}")
    # To the first process alone: it tells the others itself.
    assert settings["KillMode"] == "mixed"
    assert float(settings["TimeoutStopSec"]) > DRAIN_SECONDS
    assert {"windlass-migrate.service"} <= set(settings["After"].split()) & set(settings["Wants"].split())


def test_compose_leaves_the_roles_the_time_to_drain() -> None:
    periods = re.findall(r"stop_grace_period: (\d+)s", text_of("compose.yaml").split("\nservices:\n")[0])
    assert [float(seconds) > DRAIN_SECONDS for seconds in periods] == [True]
