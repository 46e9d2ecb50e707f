//! Which members' states agree. Pure.

use pontoon_state::Digest;
use std::collections::{BTreeMap, BTreeSet};

/// What the digests of several members at one revision say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// All that answered hold the same.
    Agreed,
    /// A majority of the voters holds `digest`; these members hold something else.
    Diverged {
        digest: Digest,
        members: BTreeSet<u64>,
    },
    /// They differ, and no digest has a majority of the voters: nobody can tell who is right.
    Undecided,
}

/// Judges `told`, the digests of members at one revision. A majority is one of `voters`, not of those that answered: two
/// of five members cannot convict a third.
pub(crate) fn judge(voters: &BTreeSet<u64>, told: &BTreeMap<u64, Digest>) -> Verdict {
    let mut camps: BTreeMap<Digest, usize> = BTreeMap::new();
    for (member, digest) in told {
        *camps.entry(*digest).or_default() += usize::from(voters.contains(member));
    }
    if camps.len() < 2 {
        return Verdict::Agreed;
    }
    let majority = camps
        .into_iter()
        .find(|(_, count)| *count > voters.len() / 2);
    match majority {
        None => Verdict::Undecided,
        Some((digest, _)) => Verdict::Diverged {
            digest,
            members: told
                .iter()
                .filter(|(_, found)| **found != digest)
                .map(|(member, _)| *member)
                .collect(),
        },
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn digest(of: u8) -> Digest {
        Digest::from_bytes(&[of; 32]).unwrap()
    }

    fn told(digests: &[(u64, u8)]) -> BTreeMap<u64, Digest> {
        digests
            .iter()
            .map(|(member, of)| (*member, digest(*of)))
            .collect()
    }

    #[test]
    fn the_minority_is_the_one_that_diverged() {
        let voters = BTreeSet::from([1, 2, 3]);
        assert_eq!(
            judge(&voters, &told(&[(1, 7), (2, 7), (3, 7)])),
            Verdict::Agreed
        );
        assert_eq!(judge(&voters, &told(&[(1, 7)])), Verdict::Agreed);
        assert_eq!(
            judge(&voters, &told(&[(1, 8), (2, 7), (3, 7)])),
            Verdict::Diverged {
                digest: digest(7),
                members: BTreeSet::from([1])
            }
        );
    }

    #[test]
    fn without_a_majority_nobody_is_convicted() {
        let voters = BTreeSet::from([1, 2, 3]);
        assert_eq!(judge(&voters, &told(&[(1, 7), (2, 8)])), Verdict::Undecided);
        let five = BTreeSet::from([1, 2, 3, 4, 5]);
        assert_eq!(
            judge(&five, &told(&[(1, 7), (2, 7), (3, 8)])),
            Verdict::Undecided
        );
    }

    #[test]
    fn a_learner_can_be_convicted_and_has_no_say() {
        let voters = BTreeSet::from([1, 2]);
        let (both, learners) = (
            told(&[(1, 7), (2, 7), (3, 8)]),
            told(&[(1, 7), (3, 8), (4, 8)]),
        );
        assert_eq!(
            judge(&voters, &both),
            Verdict::Diverged {
                digest: digest(7),
                members: BTreeSet::from([3])
            }
        );
        assert_eq!(judge(&voters, &learners), Verdict::Undecided);
    }
}
