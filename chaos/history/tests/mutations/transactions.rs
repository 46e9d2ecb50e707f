//! Lists over transactions.

use crate::{finds, random};
use pontoon_history::append::{self, Mop};
use pontoon_history::{Moment, Operation, Outcome, Verdict};
use rand::RngExt;
use rand::rngs::StdRng;
use std::collections::{BTreeMap, BTreeSet};

/// Transactions on five lists, one after another in effect, overlapping in time.
pub fn transactions(random: &mut StdRng) -> Vec<Operation<append::Call, append::Answer>> {
    let mut lists: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    (0..400_u64)
        .map(|number| {
            let mut call = Vec::new();
            let mut answer = Vec::new();
            let mut keys = BTreeSet::new();
            while keys.len() < 2 {
                keys.insert(random.random_range(0..5_u64));
            }
            for key in keys {
                call.push(Mop::Read { key });
                answer.push(lists.get(&key).cloned().unwrap_or_default());
                if random.random_ratio(1, 2) {
                    call.push(Mop::Append { key, value: number });
                    lists.entry(key).or_default().push(number);
                }
            }
            let outcome = if random.random_ratio(1, 20) {
                Outcome::Indeterminate("deadline".to_owned())
            } else {
                Outcome::Done(answer)
            };
            Operation {
                process: (number % 5) as u32,
                key: 0,
                call,
                invoked: Moment(number * 10),
                ended: Moment(number * 10 + 35),
                outcome,
            }
        })
        .collect()
}

fn transaction(
    number: u64,
    call: &[Mop],
    answer: &[&[u64]],
) -> Operation<append::Call, append::Answer> {
    Operation {
        process: number as u32,
        key: 0,
        call: call.to_vec(),
        invoked: Moment(10),
        ended: Moment(100),
        outcome: Outcome::Done(answer.iter().map(|list| list.to_vec()).collect()),
    }
}

#[test]
fn good_transactions_are_valid_by_both_judges() {
    let mut random = random();
    for _ in 0..10 {
        let history = transactions(&mut random);
        assert_eq!(append::cycles::check(&history), Verdict::Valid);
        assert_eq!(append::check_with_adya(&history), Verdict::Valid);
    }
}

#[test]
fn both_judges_find_what_no_serial_order_allows() {
    let (x, y) = (1, 2);
    let read = |key| Mop::Read { key };
    let append = |key, value| Mop::Append { key, value };
    let skew = [
        transaction(1, &[read(x), read(y), append(x, 1)], &[&[], &[]]),
        transaction(2, &[read(x), read(y), append(y, 2)], &[&[], &[]]),
        transaction(3, &[read(x), read(y)], &[&[1], &[2]]),
    ];
    let fractured = [
        transaction(1, &[append(x, 1), append(y, 1)], &[]),
        transaction(2, &[read(x), read(y)], &[&[1], &[]]),
        transaction(3, &[read(x), read(y)], &[&[1], &[1]]),
    ];
    let circular = [
        transaction(1, &[append(x, 1), read(y)], &[&[2]]),
        transaction(2, &[append(y, 2), read(x)], &[&[1]]),
    ];
    let mut stale = [
        transaction(1, &[append(x, 1)], &[]),
        transaction(2, &[read(x)], &[&[]]),
        transaction(3, &[read(x)], &[&[1]]),
    ];
    stale[1].invoked = Moment(101);
    stale[1].ended = Moment(102);
    let lost = [
        transaction(1, &[read(x), append(x, 1)], &[&[]]),
        transaction(2, &[read(x), append(x, 2)], &[&[]]),
        transaction(3, &[read(x)], &[&[1, 2]]),
    ];
    let cases: [(&str, &append::History); 5] = [
        ("G2", &skew),
        ("G-single", &fractured),
        ("G1c", &circular),
        ("G-single-realtime", &stale),
        ("G-single", &lost),
    ];
    for (kind, history) in cases {
        finds(&append::cycles::check(history), kind);
        finds(&append::check_with_adya(history), "adya");
    }
}

#[test]
fn both_judges_find_lists_that_contradict_each_other() {
    let read = |key| Mop::Read { key };
    let appends = transaction(1, &[Mop::Append { key: 1, value: 1 }], &[]);
    let second = transaction(2, &[Mop::Append { key: 1, value: 2 }], &[]);
    let mut aborted = appends.clone();
    aborted.outcome = Outcome::Failed("refused".to_owned());
    let cases = [
        (
            "orders-differ",
            vec![
                appends.clone(),
                second,
                transaction(3, &[read(1)], &[&[1, 2]]),
                transaction(4, &[read(1)], &[&[2, 1]]),
            ],
        ),
        (
            "aborted-read",
            vec![aborted, transaction(3, &[read(1)], &[&[1]])],
        ),
        (
            "element-twice",
            vec![appends.clone(), transaction(3, &[read(1)], &[&[1, 1]])],
        ),
    ];
    for (kind, history) in cases {
        finds(&append::cycles::check(&history), kind);
        finds(&append::check_with_adya(&history), "adya");
    }
    let nowhere = [appends, transaction(3, &[read(1)], &[&[1, 7]])];
    finds(&append::cycles::check(&nowhere), "value-from-nowhere");
}

#[test]
fn a_lost_append_is_found_even_if_no_list_shows_it() {
    let mut late = transaction(2, &[Mop::Read { key: 1 }], &[&[]]);
    (late.invoked, late.ended) = (Moment(200), Moment(210));
    let history = [
        transaction(1, &[Mop::Append { key: 1, value: 1 }], &[]),
        late,
    ];
    finds(&append::cycles::check(&history), "G-single-realtime");
}
