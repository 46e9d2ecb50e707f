//! Sets.

use crate::finds;
use pontoon_history::{Moment, Operation, Outcome, Verdict, set};
use std::collections::BTreeSet;

fn set_operation(
    call: set::Call,
    at: u64,
    outcome: Outcome<set::Answer>,
) -> Operation<set::Call, set::Answer> {
    Operation {
        process: 0,
        key: 0,
        call,
        invoked: Moment(at),
        ended: Moment(at + 5),
        outcome,
    }
}

pub fn sets() -> Vec<Operation<set::Call, set::Answer>> {
    let mut history = Vec::new();
    let mut held = BTreeSet::new();
    for number in 0..100_u64 {
        let outcome = match number % 10 {
            3 => Outcome::Indeterminate("deadline".to_owned()),
            4 => Outcome::Failed("refused".to_owned()),
            _ => Outcome::Done(set::Answer::Added),
        };
        if number % 10 != 4 && number % 20 != 3 {
            held.insert(number);
        }
        history.push(set_operation(set::Call::Add(number), number * 10, outcome));
        if number % 7 == 0 {
            history.push(set_operation(
                set::Call::Read,
                number * 10 + 6,
                Outcome::Done(set::Answer::Holds(held.clone())),
            ));
        }
    }
    history.push(set_operation(
        set::Call::Read,
        5_000,
        Outcome::Done(set::Answer::Holds(held)),
    ));
    history
}

fn change_last_read(
    history: &mut [Operation<set::Call, set::Answer>],
    change: impl Fn(&mut BTreeSet<u64>),
) {
    let Some(Operation {
        outcome: Outcome::Done(set::Answer::Holds(held)),
        ..
    }) = history.last_mut()
    else {
        unreachable!()
    };
    change(held);
}

#[test]
fn a_set_that_loses_invents_or_forgets_is_found() {
    let (verdict, figures) = set::check(&sets());
    assert_eq!(verdict, Verdict::Valid);
    assert_eq!(
        (figures.acknowledged, figures.recovered, figures.vanished),
        (80, 5, 5)
    );
    for (element, kind) in [(10, "lost-element"), (13, "element-vanished")] {
        let mut history = sets();
        change_last_read(&mut history, |held| assert!(held.remove(&element)));
        finds(&set::check(&history).0, kind);
    }
    for (element, kind) in [(4, "failed-add-seen"), (1_000, "element-from-nowhere")] {
        let mut history = sets();
        change_last_read(&mut history, |held| assert!(held.insert(element)));
        finds(&set::check(&history).0, kind);
    }
    let unread: Vec<_> = sets()
        .into_iter()
        .filter(|one| one.call != set::Call::Read)
        .collect();
    assert!(matches!(set::check(&unread).0, Verdict::Unknown(_)));
}
