//! Namespaces, ConfigMaps and Secrets.

use super::{Sheet, annotations, header, map};
use crate::fields;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::Value;

pub(super) fn namespace(sheet: &mut Sheet, namespace: &Value) {
    sheet.field(0, "Name", fields::name(namespace));
    map(sheet, 0, "Labels", namespace, "/metadata/labels", "=");
    annotations(sheet, namespace);
    sheet.field(0, "Status", fields::text(namespace, "/status/phase"));
    let conditions = fields::list(namespace, "/status/conditions");
    if !conditions.is_empty() {
        sheet.line(0, "Conditions:");
        sheet.line(1, "Type\tStatus\tReason\tMessage");
        sheet.line(1, "----\t------\t------\t-------");
    }
    for condition in conditions {
        let text = |field: &str| fields::text(condition, field);
        sheet.line(
            1,
            &format!(
                "{}\t{}\t{}\t{}",
                text("/type"),
                text("/status"),
                text("/reason"),
                text("/message")
            ),
        );
    }
}

pub(super) fn config_map(sheet: &mut Sheet, object: &Value) {
    header(sheet, object);
    sheet.line(0, "");
    sheet.line(0, "Data");
    sheet.line(0, "====");
    for (key, value) in fields::entries(object, "/data") {
        sheet.line(0, &format!("{key}:"));
        sheet.line(0, "----");
        // Its own tabs are text, not columns.
        for line in fields::plain(value).lines() {
            sheet.line(0, &line.replace('\t', "    "));
        }
        sheet.line(0, "");
    }
    sheet.line(0, "");
    sheet.line(0, "BinaryData");
    sheet.line(0, "====");
    for (key, value) in fields::entries(object, "/binaryData") {
        sheet.line(0, &format!("{key}: {} bytes", size(value)));
    }
    sheet.line(0, "");
}

/// How large a Secret's values are, never what they are.
pub(super) fn secret(sheet: &mut Sheet, object: &Value) {
    header(sheet, object);
    sheet.line(0, "");
    sheet.line(0, &format!("Type:  {}", fields::text(object, "/type")));
    sheet.line(0, "");
    sheet.line(0, "Data");
    sheet.line(0, "====");
    for (key, value) in fields::entries(object, "/data") {
        sheet.field(0, key, &format!("{} bytes", size(value)));
    }
}

fn size(value: &Value) -> usize {
    BASE64_STANDARD
        .decode(fields::plain(value))
        .map_or(0, |bytes| bytes.len())
}
