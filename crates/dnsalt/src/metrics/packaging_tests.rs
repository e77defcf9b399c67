//! What is packaged for Prometheus and Grafana, held against what is exported.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::tests::{exported, promtool};

fn packaging(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging").join(name)
}

/// Names of all series that either engine has.
fn series() -> BTreeSet<String> {
    let samples = |text: &String| {
        let names = text.lines().filter(|line| !line.starts_with('#'));
        names.map(|line| line.split(['{', ' ']).next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    exported().iter().flat_map(samples).collect()
}

/// Names of metrics in an expression; what stands in quotes is none.
fn named(expression: &str) -> Vec<String> {
    let code: String = expression.split('"').step_by(2).collect::<Vec<_>>().join(" ");
    let words = code.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':');
    let ours = |word: &&str| word.starts_with("dnsalt_") || word.starts_with("process_");
    words.filter(ours).map(str::to_owned).collect()
}

#[track_caller]
fn assert_known(expression: &str, series: &BTreeSet<String>) {
    for name in named(expression) {
        assert!(series.contains(&name), "{name} is not exported: {expression}");
    }
}

fn dashboard() -> Value {
    let text = std::fs::read_to_string(packaging("grafana/dnsalt.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Panels that show something: all but rows.
fn panels(dashboard: &Value) -> Vec<&Value> {
    let all = dashboard["panels"].as_array().unwrap().iter();
    all.filter(|panel| panel["type"] != "row").collect()
}

#[test]
fn every_panel_shows_what_there_is_and_says_what_it_is() {
    let (dashboard, series) = (dashboard(), series());
    let mut shown = BTreeSet::new();
    for panel in panels(&dashboard) {
        let title = panel["title"].as_str().unwrap();
        let described = panel["description"].as_str().is_some_and(|text| text.ends_with('.'));
        assert!(described, "{title}: no description");
        let unit = panel["fieldConfig"]["defaults"]["unit"].as_str();
        assert!(unit.is_some_and(|unit| !unit.is_empty()), "{title}: no unit");
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{title}");
        for target in targets {
            let expression = target["expr"].as_str().unwrap();
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{title}");
            assert!(expression.contains("$instance"), "{title}: {expression}");
            assert_known(expression, &series);
            shown.extend(named(expression));
        }
    }
    for wanted in [
        "dnsalt_protected",
        "dnsalt_port_entropy",
        "dnsalt_salt_queries_total",
        "dnsalt_nat_flows_total",
        "dnsalt_salt_replies_dropped_total",
        "dnsalt_salt_lockdowns_total",
        "dnsalt_salt_outstanding_queries",
        "dnsalt_salt_headroom_ratio",
        "dnsalt_conntrack_entries",
        "dnsalt_key_age_seconds",
        "dnsalt_problems",
    ] {
        assert!(shown.contains(wanted), "{wanted} is not shown");
    }
}

#[test]
fn the_dashboard_can_be_imported() {
    let dashboard = dashboard();
    assert!(dashboard["schemaVersion"].as_u64() >= Some(36));
    assert_eq!((&dashboard["uid"], &dashboard["id"]), (&"dnsalt".into(), &Value::Null));
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let variable = |name| variables.iter().find(|variable| variable["name"] == name).unwrap();
    assert_eq!(variable("datasource")["type"], "datasource");
    assert_eq!(variable("datasource")["query"], "prometheus");
    assert_known(variable("instance")["definition"].as_str().unwrap(), &series());
    let mut ids = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{}", panel["title"]);
    }
}

#[test]
fn no_panels_overlap() {
    let dashboard = dashboard();
    let mut taken = BTreeMap::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let place = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        let (x, y, w, h) = (place("x"), place("y"), place("w"), place("h"));
        assert!(w > 0 && h > 0 && x + w <= 24, "{}", panel["title"]);
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            let before = taken.insert(cell, &panel["title"]);
            assert_eq!(before, None, "{} is in the same place", panel["title"]);
        }
    }
}

#[test]
fn promtool_takes_the_expressions_of_the_dashboard() {
    let Some(promtool) = promtool() else { return };
    let dashboard = dashboard();
    let targets =
        panels(&dashboard).into_iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let asked = targets.map(|target| target["expr"].as_str().unwrap());
    let annotations = dashboard["annotations"]["list"].as_array().unwrap().iter();
    let marked = annotations.map(|annotation| annotation["expr"].as_str().unwrap());
    // As rules; JSON is YAML.
    let rule = |(number, expression): (usize, &str)| {
        let expression = expression.replace("$__rate_interval", "5m");
        serde_json::json!({ "record": format!("panel:{number}"), "expr": expression })
    };
    let rules: Vec<_> = asked.chain(marked).enumerate().map(rule).collect();
    let file = tempfile::NamedTempFile::with_suffix(".yml").unwrap();
    let groups = serde_json::json!({ "groups": [{ "name": "dashboard", "rules": rules }] });
    serde_json::to_writer(&file, &groups).unwrap();
    let ended = Command::new(promtool).args(["check", "rules"]).arg(file.path()).output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
}

/// The lines behind `expr:`, be they one or a block.
fn expressions(rules: &str) -> Vec<String> {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let lines: Vec<&str> = rules.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let Some(first) = line.trim_start().strip_prefix("expr:") else { continue };
        let behind = lines[at + 1..].iter().take_while(|next| indent(next) > indent(line));
        found.push(behind.fold(first.to_owned(), |all, next| all + "\n" + next));
    }
    found
}

#[test]
fn every_alert_asks_for_what_there_is_and_says_what_to_do() {
    let rules = std::fs::read_to_string(packaging("prometheus/dnsalt-alerts.yml")).unwrap();
    let series = series();
    let expressions = expressions(&rules);
    let alerts = rules.matches("- alert: ").count();
    assert!(alerts >= 9 && expressions.len() == alerts, "{alerts}");
    for expression in &expressions {
        assert_known(expression, &series);
    }
    for key in ["summary:", "description:", "runbook:", "severity:", "for:"] {
        assert_eq!(rules.matches(&format!(" {key}")).count(), alerts, "{key}");
    }
    let tests = std::fs::read_to_string(packaging("prometheus/dnsalt-alerts-test.yml")).unwrap();
    for alert in rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        assert!(tests.contains(&format!("alertname=\"{alert}\"")), "{alert} has no test");
    }
    for of_test in tests.lines().filter_map(|line| line.trim().strip_prefix("- series: ")) {
        // Its quotes are of YAML.
        assert_known(&of_test.replace('\'', " "), &series);
    }
}

#[test]
fn promtool_takes_the_rules_and_their_tests_pass() {
    let Some(promtool) = promtool() else { return };
    for (what, file) in [("check", "dnsalt-alerts.yml"), ("test", "dnsalt-alerts-test.yml")] {
        let ended = Command::new(&promtool)
            .args([what, "rules"])
            .arg(packaging("prometheus").join(file))
            .output()
            .unwrap();
        let said = [ended.stdout, ended.stderr].concat();
        assert!(ended.status.success(), "{what}: {}", String::from_utf8_lossy(&said));
    }
}
