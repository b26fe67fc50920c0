"""The rules that come with the project, by promtool's own tests."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.monitoring.conftest import PROMETHEUS, needs_promtool, promtool


def alerts() -> dict[str, dict[str, Any]]:
    groups = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def cases() -> list[dict[str, Any]]:
    tests = yaml.safe_load((PROMETHEUS / "rules_test.yml").read_text())["tests"]
    return [case for test in tests for case in test["alert_rule_test"]]


@needs_promtool
def test_the_configuration_and_its_rules_are_valid():
    done = promtool("check", "config", PROMETHEUS / "prometheus.yml")
    assert done.returncode == 0, done.stderr


@needs_promtool
def test_alerts_fire_when_they_should_and_only_then():
    done = promtool("test", "rules", PROMETHEUS / "rules_test.yml")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("alert", alerts())
def test_each_alert_has_a_case_for_and_one_against(alert):
    mine = [case for case in cases() if case["alertname"] == alert]
    assert any(case["exp_alerts"] for case in mine)
    assert any(not case["exp_alerts"] for case in mine)


@pytest.mark.parametrize("name", alerts())
def test_an_alert_says_what_is_wrong_and_what_to_do(name):
    alert = alerts()[name]
    assert alert["labels"]["severity"] in ("critical", "warning", "info")
    assert "{{ $labels.run }}" in alert["annotations"]["summary"]
    assert len(alert["annotations"]["description"].split()) > 15
