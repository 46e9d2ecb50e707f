//! Services.

use super::{Related, Sheet, header, or_none};
use crate::fields;
use serde_json::Value;

pub(super) fn describe(sheet: &mut Sheet, service: &Value, related: &Related) {
    header(sheet, service);
    let text = |pointer: &str| fields::text(service, pointer);
    let selector: Vec<String> = fields::entries(service, "/spec/selector")
        .into_iter()
        .map(|(key, value)| format!("{key}={}", fields::plain(value)))
        .collect();
    sheet.field(0, "Selector", or_none(&selector.join(",")));
    sheet.field(0, "Type", text("/spec/type"));
    for (label, pointer) in [
        ("IP Family Policy", "/spec/ipFamilyPolicy"),
        ("External Name", "/spec/externalName"),
    ] {
        if !text(pointer).is_empty() {
            sheet.field(0, label, text(pointer));
        }
    }
    let joined = |pointer: &str| {
        let words: Vec<String> = fields::list(service, pointer)
            .iter()
            .map(fields::plain)
            .collect();
        words.join(",")
    };
    sheet.field(0, "IP Families", or_none(&joined("/spec/ipFamilies")));
    sheet.field(0, "IP", or_none(text("/spec/clusterIP")));
    sheet.field(0, "IPs", or_none(&joined("/spec/clusterIPs")));
    for port in fields::list(service, "/spec/ports") {
        let name = match fields::text(port, "/name") {
            "" => "<unset>",
            name => name,
        };
        let protocol = fields::text(port, "/protocol");
        let number = fields::integer(port, "/port").unwrap_or(0);
        sheet.line(0, &format!("Port:\t{name}\t{number}/{protocol}"));
        let target = port
            .get("targetPort")
            .map(fields::plain)
            .unwrap_or_else(|| number.to_string());
        sheet.field(0, "TargetPort", &format!("{target}/{protocol}"));
        if let Some(node_port) = fields::integer(port, "/nodePort") {
            sheet.line(0, &format!("NodePort:\t{name}\t{node_port}/{protocol}"));
        }
        sheet.field(0, "Endpoints", &endpoints(&related.slices, port));
    }
    sheet.field(0, "Session Affinity", text("/spec/sessionAffinity"));
    if !text("/spec/internalTrafficPolicy").is_empty() {
        sheet.field(
            0,
            "Internal Traffic Policy",
            text("/spec/internalTrafficPolicy"),
        );
    }
}

/// The addresses that are ready behind a port: three of them, and how many more.
fn endpoints(slices: &[Value], port: &Value) -> String {
    let mut addresses = Vec::new();
    for slice in slices {
        let ports = fields::list(slice, "/ports").iter();
        let numbers: Vec<i64> = ports
            .filter(|found| fields::text(found, "/name") == fields::text(port, "/name"))
            .filter_map(|found| fields::integer(found, "/port"))
            .collect();
        for endpoint in fields::list(slice, "/endpoints") {
            if endpoint
                .pointer("/conditions/ready")
                .and_then(Value::as_bool)
                == Some(false)
            {
                continue;
            }
            for address in fields::list(endpoint, "/addresses").iter().take(1) {
                addresses.extend(
                    numbers
                        .iter()
                        .map(|number| format!("{}:{number}", fields::plain(address))),
                );
            }
        }
    }
    const SHOWN: usize = 3;
    let more = addresses.len().saturating_sub(SHOWN);
    addresses.truncate(SHOWN);
    match (addresses.is_empty(), more) {
        (true, _) => "<none>".to_owned(),
        (false, 0) => addresses.join(","),
        (false, more) => format!("{} + {more} more...", addresses.join(",")),
    }
}
