//! What each node has and what of it is used: one column per resource, one row per slot.

use crate::requests::{Amounts, PODS, Requests};
use crate::slots::{Slot, TextMap};

/// The columns that every ledger starts with. Their free amounts also stand in [`Row`].
const BASIC: [&str; 4] = [PODS, "cpu", "memory", "ephemeral-storage"];

/// Scores count memory in these many bytes and clamp amounts, so that their arithmetic fits
/// `i64` with room to spare. Placement itself counts single bytes.
const SCORED_MEMORY_UNIT: i64 = 1024;
const MAX_SCORED: i64 = 1 << 40;

/// A whole resource of a node, in the unit of [`Ledger::used_after`].
pub const WHOLE: i64 = 10_000;
/// Shares are products with `WHOLE << SHARE_BITS` over the capacity: a multiplication in place of
/// a division per node and pod.
const SHARE_BITS: u32 = 48;

/// One resource on all nodes: the exact account.
#[derive(Debug, Clone)]
struct Column {
    name: String,
    capacity: Vec<i64>,
    /// Wide enough for any number of pods of any size.
    used: Vec<i128>,
    /// `capacity - used`, at the ends of its range clamped.
    free: Vec<i64>,
}

impl Column {
    fn new(name: &str, slots: usize) -> Self {
        Self {
            name: name.to_owned(),
            capacity: vec![0; slots],
            used: vec![0; slots],
            free: vec![0; slots],
        }
    }

    /// Returns what is free after.
    fn change(&mut self, slot: Slot, by: i128) -> i64 {
        self.used[slot] += by;
        self.settle(slot)
    }

    fn settle(&mut self, slot: Slot) -> i64 {
        let free = i128::from(self.capacity[slot]) - self.used[slot];
        let clamped = free.clamp(i128::from(i64::MIN), i128::from(i64::MAX));
        self.free[slot] = i64::try_from(clamped).expect("clamped into range");
        self.free[slot]
    }
}

/// What a search reads of one node, on one cache line.
#[derive(Debug, Clone, Copy, Default)]
#[repr(align(64))]
struct Row {
    /// Of the basic columns.
    free: [i64; 4],
    /// Cpu and memory as scoring counts them.
    used: [i64; 2],
    /// `WHOLE << SHARE_BITS` over the capacity; zero where the node does not say what it has.
    scale: [u64; 2],
}

/// A shape's requests with resources as column numbers.
#[derive(Debug, Clone, Default)]
pub struct Needs {
    /// Of the basic columns; the least number where nothing is asked for.
    basic: [i64; 4],
    /// Of the columns behind the basic ones.
    others: Vec<(usize, i64)>,
    /// Of all columns.
    amounts: Vec<(usize, i64)>,
    /// Resources that no node was ever seen to have.
    unknown: Vec<String>,
    /// Cpu in thousandths and memory in units of 1,024 bytes, as scoring counts them.
    pub scored: [i64; 2],
    /// Whether cpu or memory is asked for at all.
    pub weighs: bool,
}

impl Needs {
    /// What is asked for, in full: where it is equal, a node has room for both or for neither.
    pub fn demand(&self) -> (&[(usize, i64)], &[String]) {
        (&self.amounts, &self.unknown)
    }
}

/// All resources of all nodes.
#[derive(Debug, Clone)]
pub struct Ledger {
    columns: Vec<Column>,
    rows: Vec<Row>,
    by_name: TextMap<String, usize>,
}

impl Ledger {
    pub fn new() -> Self {
        let (columns, rows, by_name) = (Vec::new(), Vec::new(), TextMap::default());
        let mut ledger = Self {
            columns,
            rows,
            by_name,
        };
        for name in BASIC {
            ledger.add_column(name);
        }
        ledger
    }

    /// Makes room for one more slot.
    pub fn add_slot(&mut self) {
        for column in &mut self.columns {
            column.capacity.push(0);
            column.used.push(0);
            column.free.push(0);
        }
        self.rows.push(Row::default());
    }

    /// Whether a node with these resources brings one that has no column.
    pub fn lacks_column_for(&self, allocatable: &Amounts) -> bool {
        allocatable
            .0
            .keys()
            .any(|name| !self.by_name.contains_key(name))
    }

    /// Sets what a node has. If that adds a column, needs must be read anew, and what pods use of
    /// it charged again.
    pub fn set_capacity(&mut self, slot: Slot, allocatable: &Amounts) {
        for name in allocatable.0.keys() {
            if !self.by_name.contains_key(name) {
                self.add_column(name);
            }
        }
        for (at, column) in self.columns.iter_mut().enumerate() {
            column.capacity[slot] = allocatable.get(&column.name);
            let free = column.settle(slot);
            if at < BASIC.len() {
                self.rows[slot].free[at] = free;
            }
        }
        let capacities = [
            allocatable.get("cpu"),
            allocatable.get("memory") / SCORED_MEMORY_UNIT,
        ];
        self.rows[slot].scale = capacities.map(|capacity| match capacity.min(MAX_SCORED) {
            0 => 0,
            capacity => (WHOLE.unsigned_abs() << SHARE_BITS) / capacity.unsigned_abs(),
        });
    }

    fn add_column(&mut self, name: &str) {
        let slots = self.rows.len();
        self.by_name.insert(name.to_owned(), self.columns.len());
        self.columns.push(Column::new(name, slots));
    }

    /// Looks up the columns of what is requested.
    pub fn needs(&self, requests: &Requests) -> Needs {
        let mut needs = Needs {
            basic: [i64::MIN; 4],
            scored: [
                requests.scored_cpu,
                requests.scored_memory / SCORED_MEMORY_UNIT,
            ]
            .map(|one| one.min(MAX_SCORED)),
            weighs: requests.amounts.get("cpu") > 0 || requests.amounts.get("memory") > 0,
            ..Needs::default()
        };
        for (name, amount) in &requests.amounts.0 {
            let Some(column) = self.by_name.get(name).copied() else {
                needs.unknown.push(name.clone());
                continue;
            };
            needs.amounts.push((column, *amount));
            match needs.basic.get_mut(column) {
                Some(basic) => *basic = *amount,
                None => needs.others.push((column, *amount)),
            }
        }
        needs
    }

    /// Whether a node has what is needed.
    #[inline]
    pub fn fits(&self, slot: Slot, needs: &Needs) -> bool {
        let free = &self.rows[slot].free;
        let basic = (free[0] >= needs.basic[0])
            & (free[1] >= needs.basic[1])
            & (free[2] >= needs.basic[2])
            & (free[3] >= needs.basic[3]);
        basic
            && needs.unknown.is_empty()
            && needs
                .others
                .iter()
                .all(|(column, amount)| self.columns[*column].free[slot] >= *amount)
    }

    /// The parts of a node's cpu and memory that are used once a pod is added, in parts of [`WHOLE`];
    /// `None` for what the node does not say it has.
    #[inline]
    pub fn used_after(&self, slot: Slot, needs: &Needs) -> [Option<i64>; 2] {
        let row = &self.rows[slot];
        [0, 1].map(|at| {
            if row.scale[at] == 0 {
                return None;
            }
            let used = (row.used[at] + needs.scored[at]).unsigned_abs();
            let share = (u128::from(used) * u128::from(row.scale[at])) >> SHARE_BITS;
            Some(i64::try_from(share).unwrap_or(WHOLE).min(WHOLE))
        })
    }

    /// The resources that a node has too little of.
    pub fn lacking<'a>(&'a self, slot: Slot, needs: &'a Needs) -> impl Iterator<Item = &'a str> {
        let short = needs
            .amounts
            .iter()
            .filter(move |(column, amount)| self.columns[*column].free[slot] < *amount);
        let short = short.map(|(column, _)| self.columns[*column].name.as_str());
        short.chain(needs.unknown.iter().map(String::as_str))
    }

    /// Counts `needs` as used.
    pub fn charge(&mut self, slot: Slot, needs: &Needs) {
        self.change(slot, needs, 1);
    }

    /// Counts `needs`, charged before, as free again.
    pub fn release(&mut self, slot: Slot, needs: &Needs) {
        self.change(slot, needs, -1);
    }

    fn change(&mut self, slot: Slot, needs: &Needs, sign: i64) {
        let row = &mut self.rows[slot];
        for (at, amount) in &needs.amounts {
            let free = self.columns[*at].change(slot, i128::from(sign) * i128::from(*amount));
            if let Some(basic) = row.free.get_mut(*at) {
                *basic = free;
            }
        }
        for (used, scored) in row.used.iter_mut().zip(needs.scored) {
            *used += sign * scored;
        }
    }

    /// Forgets all use, before it is charged anew.
    pub fn clear_use(&mut self) {
        for (at, column) in self.columns.iter_mut().enumerate() {
            column.used.fill(0);
            for (slot, row) in self.rows.iter_mut().enumerate() {
                let free = column.settle(slot);
                if let Some(basic) = row.free.get_mut(at) {
                    *basic = free;
                }
                row.used = [0; 2];
            }
        }
    }

    /// The use of every resource on a node, by name.
    pub fn usage(&self, slot: Slot) -> impl Iterator<Item = (&str, i64, i128)> {
        self.columns.iter().map(move |column| {
            (
                column.name.as_str(),
                column.capacity[slot],
                column.used[slot],
            )
        })
    }
}
