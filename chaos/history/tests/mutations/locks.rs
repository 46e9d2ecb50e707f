//! Locks, and pods that users need.

use crate::finds;
use pontoon_history::availability::{self, Expectation, Run, Sight};
use pontoon_history::lock::{self, Deed};
use pontoon_history::{Moment, Verdict};

#[test]
fn a_write_of_a_holder_that_lost_the_lock_is_found() {
    let good = [
        (10, Deed::Take { holder: 1 }),
        (
            11,
            Deed::Write {
                holder: 1,
                token: 10,
            },
        ),
        (12, Deed::Take { holder: 2 }),
        (
            13,
            Deed::Write {
                holder: 2,
                token: 12,
            },
        ),
        (14, Deed::Release { token: 12 }),
    ];
    assert_eq!(lock::check(&good), Verdict::Valid);
    let with = |more: (u64, Deed)| lock::check(&[&good[..], &[more]].concat());
    finds(
        &with((
            15,
            Deed::Write {
                holder: 2,
                token: 12,
            },
        )),
        "unfenced-write",
    );
    finds(
        &with((16, Deed::Release { token: 10 })),
        "released-by-another",
    );
    finds(
        &with((13, Deed::Take { holder: 3 })),
        "revision-given-twice",
    );
    let paused = lock::check(
        &[
            &good[..4],
            &[(
                20,
                Deed::Write {
                    holder: 1,
                    token: 10,
                },
            )],
        ]
        .concat(),
    );
    finds(&paused, "unfenced-write");
}

fn sight(revision: u64, pod: &str, uid: &str, serves: bool, gone: bool) -> Sight {
    Sight {
        revision,
        at: Moment(revision * 10),
        owner: "web".to_owned(),
        pod: pod.to_owned(),
        uid: uid.to_owned(),
        serves,
        gone,
    }
}

#[test]
fn too_few_too_many_and_two_of_one_are_found() {
    let expected = |identity| Expectation {
        owner: "web".to_owned(),
        at_least: 2,
        at_most: 3,
        identity,
        excused: Vec::new(),
    };
    let rolled = [
        sight(1, "a", "1", true, false),
        sight(2, "b", "2", true, false),
        sight(3, "c", "3", true, false),
        sight(4, "a", "1", false, false),
        sight(5, "a", "1", false, true),
        sight(6, "d", "4", true, false),
    ];
    assert_eq!(
        availability::check(&[expected(false)], &rolled, &[]),
        Verdict::Valid
    );
    let with = |more: &[Sight]| [&rolled[..], more].concat();
    let fewer = with(&[
        sight(7, "b", "2", false, false),
        sight(8, "c", "3", false, false),
    ]);
    finds(
        &availability::check(&[expected(false)], &fewer, &[]),
        "below-minimum",
    );
    let mut excused = expected(false);
    excused.excused.push((Moment(70), Moment(80)));
    assert_eq!(availability::check(&[excused], &fewer, &[]), Verdict::Valid);
    let more = with(&[sight(7, "e", "5", true, false)]);
    finds(
        &availability::check(&[expected(false)], &more, &[]),
        "above-maximum",
    );
    let twice = with(&[sight(7, "b", "9", false, false)]);
    finds(
        &availability::check(&[expected(true)], &twice, &[]),
        "identity-twice",
    );
    let run = |uid: &str, from, to| Run {
        pod: "b".to_owned(),
        uid: uid.to_owned(),
        from: Moment(from),
        to: Moment(to),
    };
    assert_eq!(
        availability::check(
            &[expected(true)],
            &rolled,
            &[run("2", 1, 9), run("8", 9, 20)]
        ),
        Verdict::Valid
    );
    finds(
        &availability::check(
            &[expected(true)],
            &rolled,
            &[run("2", 1, 10), run("8", 9, 20)],
        ),
        "two-processes",
    );
    assert!(matches!(
        availability::check(&[expected(true)], &[], &[]),
        Verdict::Unknown(_)
    ));
}
