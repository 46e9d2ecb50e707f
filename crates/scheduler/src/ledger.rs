//! What each node has and what of it is used: one column per resource, one row per slot.

use crate::requests::{Amounts, PODS, Requests};
use crate::slots::{Slot, TextMap};

/// The columns that every ledger starts with.
const BASIC: [&str; 4] = [PODS, "cpu", "memory", "ephemeral-storage"];

/// Scores count memory in these many bytes and clamp amounts, so that their arithmetic fits
/// `i64` with room to spare. Placement itself counts single bytes.
const SCORED_MEMORY_UNIT: i64 = 1024;
const MAX_SCORED: i64 = 1 << 40;

/// One resource on all nodes.
#[derive(Debug)]
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

    fn change(&mut self, slot: Slot, by: i128) {
        self.used[slot] += by;
        self.settle(slot);
    }

    fn settle(&mut self, slot: Slot) {
        let free = i128::from(self.capacity[slot]) - self.used[slot];
        let clamped = free.clamp(i128::from(i64::MIN), i128::from(i64::MAX));
        self.free[slot] = i64::try_from(clamped).expect("clamped into range");
    }
}

/// One of the two resources that scoring weighs.
#[derive(Debug, Default)]
pub struct Scored {
    capacity: Vec<i64>,
    used: Vec<i64>,
}

impl Scored {
    /// The part of the node, in ten-thousandths, used once `more` is added; `None` where the
    /// node does not say what it has.
    #[inline]
    pub fn used_after(&self, slot: Slot, more: i64) -> Option<i64> {
        let capacity = self.capacity[slot];
        if capacity == 0 {
            return None;
        }
        Some((self.used[slot] + more).min(capacity) * 10_000 / capacity)
    }
}

/// A shape's requests with resources as column numbers.
#[derive(Debug, Clone, Default)]
pub struct Needs {
    amounts: Vec<(usize, i64)>,
    /// Resources that no node was ever seen to have.
    unknown: Vec<String>,
    /// Thousandths of a cpu.
    pub scored_cpu: i64,
    /// In units of 1,024 bytes.
    pub scored_memory: i64,
    /// Whether cpu or memory is asked for at all.
    pub weighs: bool,
}

/// All resources of all nodes.
#[derive(Debug)]
pub struct Ledger {
    columns: Vec<Column>,
    by_name: TextMap<String, usize>,
    /// Cpu as scoring sees it.
    pub cpu: Scored,
    /// Memory as scoring sees it.
    pub memory: Scored,
}

impl Ledger {
    pub fn new() -> Self {
        let mut ledger = Self {
            columns: Vec::new(),
            by_name: TextMap::default(),
            cpu: Scored::default(),
            memory: Scored::default(),
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
        for scored in [&mut self.cpu, &mut self.memory] {
            scored.capacity.push(0);
            scored.used.push(0);
        }
    }

    /// Whether a node with these resources brings one that has no column.
    pub fn lacks_column_for(&self, allocatable: &Amounts) -> bool {
        allocatable
            .0
            .keys()
            .any(|name| !self.by_name.contains_key(name))
    }

    /// Sets what a node has. Returns whether a column was added: then needs must be read anew,
    /// and what pods use of it charged again.
    pub fn set_capacity(&mut self, slot: Slot, allocatable: &Amounts) {
        for name in allocatable.0.keys() {
            if !self.by_name.contains_key(name) {
                self.add_column(name);
            }
        }
        for column in &mut self.columns {
            column.capacity[slot] = allocatable.get(&column.name);
            column.settle(slot);
        }
        self.cpu.capacity[slot] = allocatable.get("cpu").min(MAX_SCORED);
        self.memory.capacity[slot] =
            (allocatable.get("memory") / SCORED_MEMORY_UNIT).min(MAX_SCORED);
    }

    fn add_column(&mut self, name: &str) {
        let slots = self
            .columns
            .first()
            .map_or(0, |column| column.capacity.len());
        self.by_name.insert(name.to_owned(), self.columns.len());
        self.columns.push(Column::new(name, slots));
    }

    /// Looks up the columns of what is requested.
    pub fn needs(&self, requests: &Requests) -> Needs {
        let mut needs = Needs {
            scored_cpu: requests.scored_cpu.min(MAX_SCORED),
            scored_memory: (requests.scored_memory / SCORED_MEMORY_UNIT).min(MAX_SCORED),
            weighs: requests.amounts.get("cpu") > 0 || requests.amounts.get("memory") > 0,
            ..Needs::default()
        };
        for (name, amount) in &requests.amounts.0 {
            match self.by_name.get(name) {
                Some(column) => needs.amounts.push((*column, *amount)),
                None => needs.unknown.push(name.clone()),
            }
        }
        needs
    }

    /// Whether a node has what is needed.
    #[inline]
    pub fn fits(&self, slot: Slot, needs: &Needs) -> bool {
        needs.unknown.is_empty()
            && needs
                .amounts
                .iter()
                .all(|(column, amount)| self.columns[*column].free[slot] >= *amount)
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
        for (column, amount) in &needs.amounts {
            self.columns[*column].change(slot, i128::from(*amount));
        }
        self.cpu.used[slot] += needs.scored_cpu;
        self.memory.used[slot] += needs.scored_memory;
    }

    /// Counts `needs`, charged before, as free again.
    pub fn release(&mut self, slot: Slot, needs: &Needs) {
        for (column, amount) in &needs.amounts {
            self.columns[*column].change(slot, -i128::from(*amount));
        }
        self.cpu.used[slot] -= needs.scored_cpu;
        self.memory.used[slot] -= needs.scored_memory;
    }

    /// Forgets all use, before it is charged anew.
    pub fn clear_use(&mut self) {
        for column in &mut self.columns {
            column.used.fill(0);
            for slot in 0..column.capacity.len() {
                column.settle(slot);
            }
        }
        self.cpu.used.fill(0);
        self.memory.used.fill(0);
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
