//! Members' records, as the administration writes them.

use crate::members::Members;
use pontoon_state::records::{Member, Record as _, Wish};
use pontoon_state::{Replica as _, Transaction};

/// Writes at `at` what member `id` is to be.
pub async fn wish(members: &Members, at: u64, id: u64, wish: Wish) {
    let name = id.to_string();
    let member = Member {
        wish,
        peer_address: members.address(id),
        api_address: String::new(),
        version: String::new(),
        since: String::new(),
    };
    let put = Transaction::default().put(Member::key(&name), member.encoded(&name));
    let done = members.at(at).propose(put).await.unwrap();
    done.committed().unwrap();
}
