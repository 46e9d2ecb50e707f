//! Containers: what they are made of and how they do.

use super::{Sheet, moment};
use crate::fields;
use serde_json::Value;

/// A list of containers under a heading, with their statuses where a pod has them.
pub(super) fn list(
    sheet: &mut Sheet,
    level: usize,
    heading: &str,
    containers: &[Value],
    statuses: &[Value],
) {
    if containers.is_empty() {
        return;
    }
    sheet.line(level, &format!("{heading}:"));
    for container in containers {
        let name = fields::text(container, "/name");
        // kubectl puts a template's containers a single space deeper than their heading, and their fields where a
        // pod has them.
        let pad = if level > 0 { " " } else { "" };
        sheet.line(1, &format!("{pad}{name}:"));
        let status = fields::find(statuses, "name", name);
        describe(sheet, 2, container, status);
    }
}

fn describe(sheet: &mut Sheet, level: usize, container: &Value, status: Option<&Value>) {
    if let Some(status) = status {
        sheet.field(level, "Container ID", fields::text(status, "/containerID"));
    }
    sheet.field(level, "Image", fields::text(container, "/image"));
    if let Some(status) = status {
        sheet.field(level, "Image ID", fields::text(status, "/imageID"));
    }
    ports(sheet, level, fields::list(container, "/ports"));
    for (label, pointer) in [("Command", "/command"), ("Args", "/args")] {
        let words = fields::list(container, pointer);
        if !words.is_empty() {
            sheet.line(level, &format!("{label}:"));
            for word in words {
                for line in fields::plain(word).lines() {
                    sheet.line(level + 1, line);
                }
            }
        }
    }
    if let Some(status) = status {
        state(sheet, level, "State", status.get("state"));
        if status.pointer("/lastState/terminated").is_some() {
            state(sheet, level, "Last State", status.get("lastState"));
        }
        let ready = if fields::is_true(status, "/ready") {
            "True"
        } else {
            "False"
        };
        sheet.field(level, "Ready", ready);
        let restarts = fields::integer(status, "/restartCount").unwrap_or(0);
        sheet.field(level, "Restart Count", &restarts.to_string());
    }
    for (label, pointer) in [
        ("Limits", "/resources/limits"),
        ("Requests", "/resources/requests"),
    ] {
        let amounts = fields::entries(container, pointer);
        if !amounts.is_empty() {
            sheet.line(level, &format!("{label}:"));
            for (resource, amount) in amounts {
                sheet.field(level + 1, resource, &fields::plain(amount));
            }
        }
    }
    for (label, pointer) in [
        ("Liveness", "/livenessProbe"),
        ("Readiness", "/readinessProbe"),
        ("Startup", "/startupProbe"),
    ] {
        if let Some(found) = container.pointer(pointer) {
            sheet.field(level, label, &probe(found));
        }
    }
    environment(sheet, level, container);
    mounts(sheet, level, container);
}

fn ports(sheet: &mut Sheet, level: usize, ports: &[Value]) {
    let joined = |pointer: &str| {
        let shown: Vec<String> = ports
            .iter()
            .map(|port| {
                let protocol = match fields::text(port, "/protocol") {
                    "" => "TCP",
                    protocol => protocol,
                };
                let number = fields::integer(port, pointer).unwrap_or(0);
                match fields::text(port, "/name") {
                    "" => format!("{number}/{protocol}"),
                    name => format!("{number}/{protocol} ({name})"),
                }
            })
            .collect();
        if shown.is_empty() {
            "<none>".to_owned()
        } else {
            shown.join(", ")
        }
    };
    let plural = if ports.len() > 1 { "s" } else { "" };
    sheet.field(level, &format!("Port{plural}"), &joined("/containerPort"));
    sheet.field(level, &format!("Host Port{plural}"), &joined("/hostPort"));
}

fn state(sheet: &mut Sheet, level: usize, label: &str, state: Option<&Value>) {
    let Some(state) = state else {
        sheet.field(level, label, "Waiting");
        return;
    };
    let reason = |sheet: &mut Sheet, part: &Value| {
        for (label, pointer) in [("Reason", "/reason"), ("Message", "/message")] {
            if !fields::text(part, pointer).is_empty() {
                sheet.field(level + 1, label, fields::text(part, pointer));
            }
        }
    };
    if let Some(running) = state.get("running") {
        sheet.field(level, label, "Running");
        sheet.field(level + 1, "Started", &moment(running, "/startedAt"));
    } else if let Some(ended) = state.get("terminated") {
        sheet.field(level, label, "Terminated");
        reason(sheet, ended);
        let code = fields::integer(ended, "/exitCode").unwrap_or(0);
        sheet.field(level + 1, "Exit Code", &code.to_string());
        if let Some(signal) = fields::integer(ended, "/signal").filter(|signal| *signal > 0) {
            sheet.field(level + 1, "Signal", &signal.to_string());
        }
        sheet.field(level + 1, "Started", &moment(ended, "/startedAt"));
        sheet.field(level + 1, "Finished", &moment(ended, "/finishedAt"));
    } else {
        sheet.field(level, label, "Waiting");
        if let Some(waiting) = state.get("waiting") {
            reason(sheet, waiting);
        }
    }
}

/// A probe in one line, as kubectl writes it.
fn probe(probe: &Value) -> String {
    let port = |pointer: &str| {
        probe
            .pointer(pointer)
            .map(fields::plain)
            .unwrap_or_default()
    };
    let action = if probe.get("exec").is_some() {
        let words: Vec<String> = fields::list(probe, "/exec/command")
            .iter()
            .map(fields::plain)
            .collect();
        format!("exec [{}]", words.join(" "))
    } else if let Some(http) = probe.get("httpGet") {
        let scheme = match fields::text(http, "/scheme") {
            "" => "http".to_owned(),
            scheme => scheme.to_lowercase(),
        };
        let (host, path) = (fields::text(http, "/host"), fields::text(http, "/path"));
        format!("http-get {scheme}://{host}:{}{path}", port("/httpGet/port"))
    } else if probe.get("tcpSocket").is_some() {
        format!(
            "tcp-socket {}:{}",
            fields::text(probe, "/tcpSocket/host"),
            port("/tcpSocket/port")
        )
    } else if probe.get("grpc").is_some() {
        format!(
            "grpc <pod>:{} {}",
            port("/grpc/port"),
            fields::text(probe, "/grpc/service")
        )
    } else {
        "unknown".to_owned()
    };
    let number = |pointer: &str, default: i64| fields::integer(probe, pointer).unwrap_or(default);
    format!(
        "{action} delay={}s timeout={}s period={}s #success={} #failure={}",
        number("/initialDelaySeconds", 0),
        number("/timeoutSeconds", 1),
        number("/periodSeconds", 10),
        number("/successThreshold", 1),
        number("/failureThreshold", 3)
    )
}

fn environment(sheet: &mut Sheet, level: usize, container: &Value) {
    let sources = fields::list(container, "/envFrom");
    if !sources.is_empty() {
        sheet.line(level, "Environment Variables from:");
        for source in sources {
            let (kind, part) = if source.get("configMapRef").is_some() {
                ("ConfigMap", "/configMapRef")
            } else {
                ("Secret", "/secretRef")
            };
            let name = fields::text(source, &format!("{part}/name"));
            let optional = fields::is_true(source, &format!("{part}/optional"));
            sheet.line(level + 1, &format!("{name}\t{kind}\tOptional: {optional}"));
        }
    }
    let variables = fields::list(container, "/env");
    if variables.is_empty() {
        sheet.field(level, "Environment", "<none>");
        return;
    }
    sheet.line(level, "Environment:");
    for variable in variables {
        let name = fields::text(variable, "/name");
        let from = |kind: &str| variable.pointer(&format!("/valueFrom/{kind}"));
        let shown = if let Some(key) = from("secretKeyRef") {
            reference(key, "secret")
        } else if let Some(key) = from("configMapKeyRef") {
            reference(key, "config map")
        } else if let Some(field) = from("fieldRef") {
            let version = match fields::text(field, "/apiVersion") {
                "" => "v1",
                version => version,
            };
            format!(" ({version}:{})", fields::text(field, "/fieldPath"))
        } else if let Some(resource) = from("resourceFieldRef") {
            format!(" ({})", fields::text(resource, "/resource"))
        } else {
            fields::text(variable, "/value").replace('\n', "\\n")
        };
        sheet.field(level + 1, name, &shown);
    }
}

fn reference(key: &Value, what: &str) -> String {
    format!(
        "<set to the key '{}' in {what} '{}'>\tOptional: {}",
        fields::text(key, "/key"),
        fields::text(key, "/name"),
        fields::is_true(key, "/optional")
    )
}

fn mounts(sheet: &mut Sheet, level: usize, container: &Value) {
    let mounts = fields::list(container, "/volumeMounts");
    if mounts.is_empty() {
        sheet.field(level, "Mounts", "<none>");
        return;
    }
    sheet.line(level, "Mounts:");
    for mount in mounts {
        let mut flags = if fields::is_true(mount, "/readOnly") {
            "ro"
        } else {
            "rw"
        }
        .to_owned();
        if !fields::text(mount, "/subPath").is_empty() {
            flags.push_str(&format!(",path=\"{}\"", fields::text(mount, "/subPath")));
        }
        sheet.line(
            level + 1,
            &format!(
                "{} from {} ({flags})",
                fields::text(mount, "/mountPath"),
                fields::text(mount, "/name")
            ),
        );
    }
}
