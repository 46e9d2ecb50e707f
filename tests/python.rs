//! The Python `kubernetes` package, as an operator's script uses it.

use pontoon_tests::{Cluster, testdata};

#[test]
fn the_python_client_reads_writes_watches_and_understands_refusals() {
    let cluster = Cluster::start();
    let printed = cluster.python(&testdata("python_client.py"), &[]).ok();
    assert!(printed.ends_with("done\n"), "{printed}");
}
