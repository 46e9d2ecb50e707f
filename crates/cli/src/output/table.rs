//! Tables as `kubectl get` prints them: the kind's own columns, computed here from the objects.

use crate::{fields, resources::Resource, session::Found};
use jiff::Timestamp;
use serde_json::Value;

/// kubectl's tabwriter: no column is narrower, and three spaces lie between two.
const MINIMUM: usize = 6;
const PADDING: usize = 3;

/// What a table shows beside the kind's own columns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Columns that are shown only when asked for.
    pub wide: bool,
    /// The namespace in front.
    pub namespace: bool,
    /// The type in front of names.
    pub kind: bool,
    /// All labels at the end.
    pub labels: bool,
    /// A column for each of these labels.
    pub label_columns: Vec<String>,
    /// Colours for what needs attention.
    pub colour: bool,
}

/// Rows of one kind. Columns widen as rows come, and never narrow: a watch prints row by row.
#[derive(Debug)]
pub(crate) struct Table {
    layout: Layout,
    headings: Vec<String>,
    shown: Vec<usize>,
    name: Option<usize>,
    widths: Vec<usize>,
}

impl Table {
    pub fn new(resource: &Resource, layout: Layout) -> Self {
        let columns = resource.builtin().map(|kind| kind.descriptor().columns);
        let (mut headings, mut shown, mut name) = (Vec::new(), Vec::new(), Some(0));
        if layout.namespace {
            headings.push("NAMESPACE".to_owned());
        }
        if let Some(columns) = columns {
            name = columns.iter().position(|column| column.format == "name");
            for (index, column) in columns.iter().enumerate() {
                if column.priority == 0 || layout.wide {
                    headings.push(column.name.to_uppercase());
                    shown.push(index);
                }
            }
        } else {
            headings.extend(["NAME".to_owned(), "AGE".to_owned()]);
            shown.extend([0, 1]);
        }
        for label in &layout.label_columns {
            let short = label.rsplit('/').next().unwrap_or(label);
            headings.push(short.to_uppercase());
        }
        if layout.labels {
            headings.push("LABELS".to_owned());
        }
        Self {
            widths: vec![0; headings.len()],
            layout,
            headings,
            shown,
            name,
        }
    }

    /// Rows, and the headings above them when asked for.
    pub fn rows(&mut self, found: &[Found], headings: bool, now: Timestamp) -> String {
        let mut rows: Vec<Vec<String>> = Vec::with_capacity(found.len() + 1);
        if headings {
            rows.push(self.headings.clone());
        }
        rows.extend(found.iter().map(|found| self.row(found, now)));
        for row in &rows {
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count() + PADDING).max(MINIMUM);
            }
        }
        let mut text = String::new();
        for (index, row) in rows.iter().enumerate() {
            let is_heading = headings && index == 0;
            self.write(row, is_heading, &mut text);
        }
        text
    }

    fn row(&self, found: &Found, now: Timestamp) -> Vec<String> {
        let cells = match found.resource.builtin() {
            Some(kind) => kind.cells(&found.value, now),
            None => generic(&found.value, now),
        };
        let mut row = Vec::with_capacity(self.headings.len());
        if self.layout.namespace {
            row.push(fields::namespace(&found.value).to_owned());
        }
        for &index in &self.shown {
            let cell = cells.get(index).map(fields::plain).unwrap_or_default();
            let cell = if self.layout.kind && Some(index) == self.name {
                format!("{}/{cell}", found.resource.qualified_kind())
            } else {
                cell
            };
            // A line end or a tab within a cell would break the table.
            row.push(cell.replace(['\n', '\t', '\r'], " "));
        }
        let labels = fields::entries(&found.value, "/metadata/labels");
        for wanted in &self.layout.label_columns {
            let value = labels.iter().find(|(key, _)| key == wanted);
            row.push(
                value
                    .map(|(_, value)| fields::plain(value))
                    .unwrap_or_default(),
            );
        }
        if self.layout.labels {
            let all: Vec<String> = labels
                .iter()
                .map(|(key, value)| format!("{key}={}", fields::plain(value)))
                .collect();
            row.push(if all.is_empty() {
                "<none>".to_owned()
            } else {
                all.join(",")
            });
        }
        row
    }

    fn write(&self, row: &[String], is_heading: bool, text: &mut String) {
        for (column, cell) in row.iter().enumerate() {
            let colour = if is_heading || !self.layout.colour {
                None
            } else {
                colour(&self.headings[column], cell)
            };
            match colour {
                Some(code) => text.push_str(&format!("\u{1b}[{code}m{cell}\u{1b}[0m")),
                None => text.push_str(cell),
            }
            if column + 1 < row.len() {
                let left = self.widths[column].saturating_sub(cell.chars().count());
                text.extend(std::iter::repeat_n(' ', left));
            }
        }
        text.push('\n');
    }
}

/// Red for what failed, yellow for what is on its way, green for what is well; the rest is left alone.
fn colour(heading: &str, cell: &str) -> Option<u8> {
    const RED: u8 = 31;
    const GREEN: u8 = 32;
    const YELLOW: u8 = 33;
    match heading {
        "STATUS" => Some(match cell {
            "Running" | "Ready" | "Active" | "Bound" => GREEN,
            "Completed" | "Succeeded" => return None,
            "Pending" | "ContainerCreating" | "PodInitializing" | "Terminating" => YELLOW,
            text if text.starts_with("Init:")
                && !text.contains("Err")
                && !text.contains("Crash") =>
            {
                YELLOW
            }
            _ => RED,
        }),
        "READY" => {
            let (ready, wanted) = cell.split_once('/')?;
            (ready != wanted).then_some(YELLOW)
        }
        "TYPE" if cell == "Warning" => Some(YELLOW),
        _ => None,
    }
}

/// Name and age, which every object has.
fn generic(object: &Value, now: Timestamp) -> Vec<Value> {
    let created = fields::time(object, "/metadata/creationTimestamp");
    vec![
        fields::name(object).into(),
        pontoon_api::kinds::duration::since(created, now).into(),
    ]
}

/// A table of plain text cells, with headings.
pub(crate) fn plain(headings: &[&str], rows: &[Vec<String>], with_headings: bool) -> String {
    let mut text = String::new();
    if with_headings {
        text.push_str(&headings.join("\t"));
        text.push('\n');
    }
    for row in rows {
        text.push_str(&row.join("\t"));
        text.push('\n');
    }
    super::sheet::align(&text, MINIMUM, PADDING)
}
